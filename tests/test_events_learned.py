"""What is unusual for a camera, after recordings that show what is usual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import stcodec
from stcodec.bench.event_truth import RATE, Drawn, Scene, write
from tests.conftest import run

LENGTH = 112


def passing(start: int, left_to_right: bool = True, y: int = 80) -> Drawn:
    """A car in the lane of a road."""
    x, step = (-24, 8) if left_to_right else (320, -8)
    return Drawn(start, start + 43, (y, x), (24, 24), (0, step), 60)


def recorded(folder: Path, name: str, *drawn: Drawn, hour: int | None = None) -> Path:
    source, target = folder / f"{name}.y4m", folder / f"{name}.stp"
    write(source, Scene(name, LENGTH, drawn), seed=7)
    stcodec.encode(source, target, model="dct", effort=0, threads=1)
    return target


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings of a road with one way, and with what was learned from them."""
    folder = tmp_path_factory.mktemp("road")
    history = [
        recorded(folder, f"history{n}", passing(8 + 5 * n), passing(60 + 3 * n)) for n in range(2)
    ]
    done = run("events", "--learn", *history, "-o", folder / "road.json", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["event"], said["inputs"], said["hours"]) == ("learned", [*map(str, history)], [])
    return folder


def spans(road: Path, name: str, *drawn: Drawn) -> list[tuple[int, int]]:
    """The pictures of the events of a recording, by what was learned."""
    coded = recorded(road, name, *drawn)
    done = run("events", coded, "--normal", road / "road.json", "--json", "--gap", "0.4")
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    found = [e for e in said if e["event"] == "found"]
    return [(round(e["start"] * RATE), round(e["end"] * RATE)) for e in found]


def test_what_always_happens_is_no_event(road: Path) -> None:
    assert spans(road, "usual", passing(20)) == []


def test_the_wrong_way_is_an_event(road: Path) -> None:
    found = spans(road, "wrong", passing(24, left_to_right=False))
    assert found
    assert 16 <= found[0][0] <= 40
    assert found[-1][1] <= 24 + 43 + 8


def test_another_place_is_an_event(road: Path) -> None:
    ((start, end),) = spans(road, "beside", passing(30, y=150))
    assert 22 <= start <= 38
    assert 65 <= end <= 89


def test_what_does_not_fit_is_refused(road: Path, bee_stp: Path, tmp_path: Path) -> None:
    spans(road, "any", passing(20))
    other = tmp_path / "other.json"
    values = json.loads((road / "road.json").read_text())
    values["hours"]["any"]["spread"]["1"][0][0] = 0
    other.write_text(json.dumps(values))
    for arguments, code, text in (
        (("events", bee_stp, "--normal", road / "road.json"), 2, "160x90"),
        (("events", bee_stp, "--normal", bee_stp), 3, "bee.stp: not what events --learn writes"),
        (("events", bee_stp, "--normal", other), 3, "other.json: not what events --learn writes"),
        (("events", "--learn", bee_stp), 2, "-o"),
        (("events", "--learn", bee_stp, road / "any.stp", "-o", tmp_path / "x.json"), 2, "160x"),
        (("events", "--learn", road / "any.stp", "-o", road / "road.json"), 4, "exists"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert text in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["other.json"]
