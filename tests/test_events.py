"""When something happens in a video, against what was drawn into it."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest

import stcodec
from stcodec.bench.event_truth import Drawn, Scene, compared, measure, write
from stcodec.flows.activity import moments
from stcodec.flows.events import Activity, Event, find
from tests.conftest import run
from tests.media import read

FAST = {"model": "dct", "effort": 0, "threads": 1}
# Two objects, in pictures 40 to 72 and 136 to 168 of 208, far from each other.
OBJECTS = (
    Drawn(40, 72, (60, 20), (24, 16), (0, 2), 70),
    Drawn(136, 168, (120, 220), (20, 20), (-1, 0), -50),
)
SCENE = Scene("two", 208, OBJECTS)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera")
    write(folder / "a.y4m", SCENE, seed=3)
    stcodec.encode(folder / "a.y4m", folder / "a.stp", **FAST)
    return folder / "a.stp"


def events_of(path: Path) -> list[Event]:
    return [one for one in find(path, threads=1) if isinstance(one, Event)]


def test_events_are_what_was_drawn(camera: Path) -> None:
    found = events_of(camera)
    result = compared(SCENE, found, 1.0)
    assert (result.found, result.right, result.drawn, result.seen) == (2, 2, 2, 2)
    for event, one in zip(found, OBJECTS, strict=True):
        # To a chunk of 8 or 16 pictures: what is gone is new in the key frame at its end.
        assert one.start - 8 <= round(event.start * 25) <= one.start + 8
        assert one.end - 8 <= round(event.end * 25) <= one.end + 16
        assert one.start <= event.peak_frame < one.end + 8
        assert event.peak == pytest.approx(event.peak_frame / 25)
    assert events_of(camera.with_name("a.stp")) == found


@pytest.mark.parametrize(
    "scene",
    [
        Scene("noise", 48, (), noise=6),
        Scene("flicker", 48, (), flicker=0.08),
        Scene("lamp", 48, (), lamp=29),
        Scene("shake", 48, (), shake=3.0),
    ],
    ids=lambda scene: scene.name,
)
def test_light_noise_and_a_shaking_camera_are_no_events(scene: Scene) -> None:
    assert measure(scene, seed=4).found == 0


def test_every_moment_of_the_file_is_judged(camera: Path) -> None:
    seen = [one for one in find(camera, threads=1) if isinstance(one, Activity)]
    assert (seen[0].start, seen[-1].end) == (0.0, 208 / 25)
    assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(seen))
    assert sum(len(moment.times) for moment in moments(camera, threads=1)) == 208


def test_the_command_says_the_same_in_three_ways(camera: Path, tmp_path: Path) -> None:
    table, drawing = tmp_path / "e.csv", tmp_path / "e.png"
    done = run("events", camera, "--csv", table, "--plot", drawing, "--json")
    assert done.returncode == 0, done.stderr
    *said, last = [json.loads(line) for line in done.stdout.splitlines()]
    found = events_of(camera)
    assert [(e["event"], e["peak_frame"], tuple(e["box"])) for e in said] == [
        ("found", e.peak_frame, e.box) for e in found
    ]
    assert last == {
        "event": "watched", "version": 1, "input": str(camera), "events": 2, "duration": 8.32,
    }  # fmt: skip
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["peak_frame"]) for row in rows] == [e.peak_frame for e in found]
    assert {row["input"] for row in rows} == {str(camera)}
    with av.open(str(drawing)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000  # photographs, too

    plain = run("events", camera)
    assert plain.stdout.count("\n") == 2
    assert f"(picture {found[0].peak_frame})" in plain.stdout
    assert "2 events in 8.320 s" in plain.stderr
    assert run("events", camera, "--csv", table).returncode == 4


def test_events_are_cut_out_as_they_are(camera: Path, tmp_path: Path) -> None:
    done = run("events", camera, "--extract", tmp_path / "cut", "--json")
    assert done.returncode == 0, done.stderr
    parts = [e for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "part"]
    # A segment has 128 pictures: the first event lies in one, the second in the other.
    assert [(Path(p["output"]).name, p["frames"]) for p in parts] == [
        ("a-001.stp", 128),
        ("a-002.stp", 80),
    ]
    with stcodec.open(camera) as whole, stcodec.open(tmp_path / "cut" / "a-002.stp") as part:
        assert len(part) == 80
        for number in (0, 79):
            np.testing.assert_array_equal(part[number].planes[0], whole[128 + number].planes[0])
    assert run("verify", tmp_path / "cut" / "a-001.stp").returncode == 0
    assert run("events", camera, "--extract", tmp_path / "cut").returncode == 4


def test_pictures_of_events_and_segments(camera: Path, tmp_path: Path) -> None:
    done = run("keyframes", camera, tmp_path / "new" / "folder", "--json")
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["picture"] for e in made] == [e.peak_frame for e in events_of(camera)]
    _, pictures, _ = read(made[0]["output"])
    with stcodec.open(camera) as video:
        grey = video[made[0]["picture"]].planes[0].astype(float)
    assert abs(pictures[0].planes[0].astype(float) - grey).mean() < 3
    assert run("keyframes", camera, tmp_path, "--per", "segment", "--format", "jpg").returncode == 0
    assert sorted(p.name for p in tmp_path.glob("*.jpg")) == ["a-001.jpg", "a-002.jpg"]
    assert run("keyframes", camera, tmp_path, "--per", "segment", "--format", "jpg").returncode == 4


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("events", "none.stp"), 3, "none.stp"),
        (("events", "text.stp"), 3, "text.stp"),
        (("events",), 2, "FILE.stp"),
        (("events", "text.stp", "text.stp", "--plot", "a.png"), 2, "one file"),
        (("events", "text.stp", "--plot", "a.txt"), 2, "ending of a plot"),
        (("events", "-", "--extract", "cut"), 2, "standard input"),
        (("keyframes", "text.stp", "new"), 3, "text.stp"),
        (("keyframes", "-", "new"), 2, "a file is needed"),
    ],
)
def test_errors(tmp_path: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    (tmp_path / "text.stp").write_text("no video at all")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert text in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["text.stp"]


def test_damage_is_named(camera: Path, tmp_path: Path) -> None:
    whole = bytearray(camera.read_bytes())
    whole[len(whole) * 2 // 3] ^= 0x10
    (tmp_path / "bad.stp").write_bytes(whole)
    done = run("events", tmp_path / "bad.stp")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "bad.stp" in done.stderr
