"""What programs read: every object of every command has a name and a version, failures too."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from stcodec.common.values import Progress
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.report import Reporter
from tests.conftest import run
from tests.media import clip, write_clip

FAST = ("--model", "dct", "--effort", "0", "--threads", "1")


def events(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    """The objects that a command prints."""
    done = run(*arguments, "--json")
    assert done.returncode == code, done.stderr
    said = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert {e["version"] for e in said} == {1}
    return said


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("json") / "in.mkv", clip(9))


@pytest.fixture(scope="module")
def coded(film: Path) -> Path:
    target = film.with_name("a.stp")
    assert run("encode", film, target, *FAST).returncode == 0
    return target


def test_each_command_names_its_version(film: Path, coded: Path, tmp_path: Path) -> None:
    target, back = tmp_path / "b.stp", tmp_path / "b.mkv"
    commands: list[tuple[list[object], str]] = [
        (["encode", film, target, *FAST], "encoded"),
        (["decode", target, back], "decoded"),
        (["info", target], "info"),
        (["verify", target], "verified"),
        (["sample", film, *FAST], "sampled"),
        (["compare", film, film, "--metrics", "psnr"], "compared"),
        (["concat", target, target, "-o", tmp_path / "c.stp"], "joined"),
        (["split", target, "-o", tmp_path / "p%d.stp", "--every", "1"], "part"),
    ]
    for arguments, event in commands:
        said = events(*arguments)
        assert said[-1]["event"] == event
        assert {e["event"] for e in said[:-1]} <= {"progress"}
    assert events("batch", film, "-o", tmp_path / "out", "--dry-run")[0]["event"] == "planned"


def test_verify_names_damaged_chunks(coded: Path, tmp_path: Path) -> None:
    whole = coded.read_bytes()
    assert events("verify", coded) == [
        {
            "event": "verified",
            "version": 1,
            "input": str(coded),
            "intact": True,
            "chunks": 2,
            "frames": 9,
            "damaged": [],
            "lost": [],
        }
    ]
    (tmp_path / "cut.stp").write_bytes(whole[: len(whole) // 2])
    said = events("verify", tmp_path / "cut.stp", code=3)
    assert said[-1]["event"] == "error"
    assert "cut.stp" in said[-1]["message"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["encode", "gone.mp4"], 3),
        (["encode", "FILM", "a.stp", "-q", "x"], 2),
        (["encode", "FILM", "a.stp", "--nonsense"], 2),
        (["encode", "FILM", "kept.stp"], 4),
        (["encode", "FILM", "a.stp", *FAST, "--min-psnr", "99"], 5),
        (["encode", "FILM", "-"], 2),
        (["decode", "kept.stp", "-"], 2),
        (["info", "kept.stp"], 3),
    ],
)
def test_a_failure_is_one_line_and_the_last_event(
    film: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    (tmp_path / "kept.stp").write_bytes(b"precious")
    names = {
        "FILM": str(film),
        "kept.stp": str(tmp_path / "kept.stp"),
        "a.stp": str(tmp_path / "a.stp"),
    }
    arguments = [names.get(a, a) for a in arguments]
    done = run(*arguments, "--json")
    assert done.returncode == code
    said = [json.loads(line) for line in done.stdout.splitlines()]
    *tried, error = done.stderr.splitlines()
    assert error == f"stcodec: {said[-1]['message']}"
    assert {"event": "error", "version": 1, "exit_code": code}.items() <= said[-1].items()
    assert [e["event"] for e in said[:-1]] == ["tried"] * len(tried)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.stp"]


def test_a_search_says_what_it_tried(film: Path, tmp_path: Path) -> None:
    *tried, done = events(
        "encode", film, tmp_path / "a.stp", *FAST, "--min-psnr", "35", "--progress", "none"
    )
    assert done["event"] == "encoded"
    found = min(e["quality"] for e in tried if e["psnr"] >= 35)
    assert events("info", tmp_path / "a.stp")[0]["quality"] == found
    assert all(math.isfinite(e["output_bytes"]) and e["vmaf"] is None for e in tried)


def test_progress_is_said_at_most_twice_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    names = {"input": "a", "output": "b"}
    with ProgressReport("encoding a", Reporter(as_json=True), "lines", names) as progress:
        for step in range(1, 13):
            now[0] = step / 8
            progress.update(Progress(8 * step, 96, 0))
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["frames"] for e in said] == [32, 64, 96]  # at 0.5, 1.0 and 1.5 seconds
    assert all(
        (e["event"], e["total"], e["input"], e["output"]) == ("progress", 96, "a", "b")
        for e in said
    )


@pytest.mark.parametrize(
    "said", [Reporter(as_json=False), Reporter(as_json=True, quiet=True)], ids=["people", "quiet"]
)
def test_no_progress_where_nobody_wants_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, said: Reporter
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with ProgressReport("encoding a", said, "none", {"input": "a"}) as progress:
        progress.update(Progress(8, 8, 0))
    assert capsys.readouterr().out == ""
