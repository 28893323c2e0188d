"""What becomes of inputs: their times are kept, or they are removed; and one shape of commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import av
import pytest

import stcodec
from stcodec.batch.plan import make_plan
from stcodec.errors import StcodecError
from stcodec.flows import inspect, sources
from tests.conftest import DATA, run
from tests.media import clip, write_clip

FAST = ("--model", "dct", "--effort", 0, "--progress", "none")
LONG_AGO = 1_000_000_000_123_456_789


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = write_clip(tmp_path / "film.mp4", clip(9), codec="libx264")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_times_are_kept_there_and_back(film: Path, tmp_path: Path) -> None:
    coded, back = tmp_path / "a.stp", tmp_path / "b.mp4"
    assert run("encode", film, "-o", coded, "--keep-time", *FAST).returncode == 0
    assert run("decode", coded, "--output", back, "--keep-time").returncode == 0
    assert coded.stat().st_mtime_ns == back.stat().st_mtime_ns == LONG_AGO
    done = run("decode", coded, "-", "--keep-time")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--keep-time needs files" in done.stderr


def test_a_source_is_removed_when_its_output_was_decoded(film: Path, tmp_path: Path) -> None:
    done = run("encode", film, "--remove-source", "--json", *FAST)
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout.splitlines()[-1])
    assert (event["removed"], event["untouched"]) == (True, True)
    assert names(tmp_path) == ["film.stp"]
    # Where something is not kept as it was, the source stays.
    picky = write_clip(tmp_path / "p.mkv", [f.reformat(format="yuv444p") for f in clip(3)])
    done = run("encode", picky, "--remove-source", *FAST)
    assert done.returncode == 0 and "the source is kept" in done.stderr
    assert names(tmp_path) == ["film.stp", "p.mkv", "p.stp"]
    other = write_clip(tmp_path / "o.mkv", clip(3), audio="flac")
    for asked in (["--scale", "32:-2"], ["--no-audio"], ["--audio", "aac"]):
        done = run("encode", other, "--remove-source", "-y", *asked, *FAST)
        assert done.returncode == 0 and other.exists(), done.stderr
    for more in (["--start", "0.1"], ["-o", "-"]):
        assert run("encode", picky, "--remove-source", *more, *FAST).returncode == 2
    assert picky.exists()


def test_a_source_stays_where_its_output_does_not_decode(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = inspect.ChunkReport(0, 0, "wrong")
    monkeypatch.setattr(inspect, "verify", lambda *a, **k: iter([report]))
    with pytest.raises(StcodecError, match=r"chunk 0: wrong.*its source is kept"):
        stcodec.encode(film, tmp_path / "a.stp", model="dct", remove_source=True)
    monkeypatch.setattr(inspect, "verify", lambda *a, **k: iter([inspect.ChunkReport(0, 3, None)]))
    with pytest.raises(StcodecError, match="3 pictures instead of 9"):
        sources.prove(tmp_path / "a.stp", 9)
    assert film.exists()


def test_only_what_was_encoded_is_removed(film: Path, tmp_path: Path) -> None:
    before = sources.signature(film)
    link = tmp_path / "link.mp4"
    link.symlink_to(film)
    assert "link" in (sources.remove(link, sources.signature(link), True) or "")
    assert "not all of it" in (sources.remove(film, before, False) or "")
    film.write_bytes(film.read_bytes() + b"more")
    assert "changed" in (sources.remove(film, before, True) or "")
    assert names(tmp_path) == ["film.mp4", "link.mp4"]
    assert sources.remove(film, sources.signature(film), True) is None
    assert names(tmp_path) == ["link.mp4"]


def test_a_decode_has_not_the_name_of_its_source(film: Path, tmp_path: Path) -> None:
    kept = film.read_bytes()
    assert run("encode", film, *FAST).returncode == 0
    assert run("decode", tmp_path / "film.stp", "-y").returncode == 0
    assert names(tmp_path) == ["film.decoded.mp4", "film.mp4", "film.stp"]
    assert film.read_bytes() == kept
    with av.open(str(tmp_path / "film.decoded.mp4")) as container:
        assert len(list(container.decode(video=0))) == 9


def test_names_of_a_batch(tmp_path: Path) -> None:
    for name in ("a/film.mp4.stp", "a/film.mov.stp", "film.stp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def targets(*inputs: Path, output: Path) -> list[str]:
        found = make_plan(
            [str(i) for i in inputs], str(output), decode=True, ending=".mp4", recursive=True
        )
        return [task.target for task in found.tasks]

    assert targets(tmp_path / "a", output=tmp_path / "b") == ["film.mov.mp4", "film.mp4.mp4"]
    # What lies beside may be what it was made of.
    assert targets(tmp_path, output=tmp_path)[0] == "film.decoded.mp4"
    assert targets(tmp_path / "film.stp", output=tmp_path) == ["film.decoded.mp4"]


def test_one_output_and_the_next_step(bee_stp: Path, tmp_path: Path) -> None:
    for arguments in (("decode", bee_stp), ("encode", DATA / "bee.mp4")):
        done = run(*arguments, tmp_path / "a.stp", "-o", tmp_path / "b.stp")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "two outputs are named" in done.stderr
    assert run("keyframes", bee_stp).returncode == 2
    pictures = tmp_path / "pictures"
    assert run("keyframes", bee_stp, "-o", pictures, "--per", "segment").returncode == 0
    assert len(names(pictures)) == 1
    done = run("encode", DATA / "bee.mp4", tmp_path / "out.mp4")
    assert f"name it {tmp_path / 'out.stp'}" in done.stderr


def test_many_files_are_looked_at_and_the_worst_counts(bee_stp: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.stp"
    cut.write_bytes(bee_stp.read_bytes()[:-900])
    done = run("verify", bee_stp, cut, tmp_path / "gone.stp", bee_stp, "--json")
    assert done.returncode == 3
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in said] == [
        *("verified", "verified", "failed", "failed", "verified", "error"),
    ]
    assert [e["intact"] for e in said if e["event"] == "verified"] == [True, False, True]
    assert [e["exit_code"] for e in said if e["event"] == "failed"] == [3, 3]
    assert done.stderr.splitlines()[-1] == "stcodec: 2 of 4 files failed"
    done = run("info", bee_stp, tmp_path / "gone.stp", bee_stp)
    assert (done.returncode, done.stdout.count("160 x 90")) == (3, 2)
    assert run("verify", bee_stp, bee_stp).returncode == 0
    both = run("info", bee_stp, bee_stp, "--json")
    paths = [json.loads(line)["path"] for line in both.stdout.splitlines()]
    assert paths == [str(bee_stp)] * 2
    assert run("info", "-", "-").returncode == 2


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_batch_removes_keeps_times_and_names_in_full(film: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("IMG_1.MOV", "IMG_1.MP4"):
        os.link(film, folder / name)
    done = run("batch", folder, "-o", out, *FAST[:4])
    assert done.returncode == 2 and "--names full" in done.stderr
    # Sources go when their outputs have names; then the same command has nothing left to do.
    second = ("batch", folder, "-o", out, "--names", "full", "--remove-source", "--keep-time")
    done = run(*second, "--jobs", 1, "--json", *FAST[:4])
    assert done.returncode == 0, done.stderr
    assert names(out) == ["IMG_1.MOV.stp", "IMG_1.MP4.stp"]
    assert {(out / name).stat().st_mtime_ns for name in names(out)} == {LONG_AGO}
    assert [e["removed"] for e in events(done.stdout) if e["event"] == "encoded"] == [True, True]
    assert names(folder) == []
    for more in ((), ("--resume",)):
        again = run(*second, *more, "--json", *FAST[:4])
        assert again.returncode == 0, again.stderr
        assert [e["event"] for e in events(again.stdout)] == [
            *("batch", "skipped", "skipped", "batch_ended"),
        ]
    coded = out / "IMG_1.MOV.stp"
    coded.write_bytes(coded.read_bytes()[:-1])
    lost = run(*second, "--json", *FAST[:4])
    assert lost.returncode == 1
    [failed] = [e for e in events(lost.stdout) if e["event"] == "failed"]
    assert "its source was removed" in failed["message"]
    assert run(*second, "--part", "1/2", *FAST[:4]).returncode == 2


def test_what_would_grow_is_skipped_by_a_batch(film: Path, tmp_path: Path) -> None:
    options = {"crf": "51", "preset": "veryslow"}
    write_clip(tmp_path / "small.mp4", clip(3), codec="libx264", options=options)
    command = ("batch", tmp_path, "-o", tmp_path / "out", "-q", 63, "--no-larger", *FAST[:4])
    for kinds in (["started", "skipped"], ["skipped"]):
        done = run(*command, "--json")
        assert done.returncode == 0, done.stderr
        said = [e for e in events(done.stdout) if e.get("input", "").endswith("small.mp4")]
        assert [e["event"] for e in said] == kinds
        assert "larger" in said[-1]["message"] or "more than" in said[-1]["message"]
