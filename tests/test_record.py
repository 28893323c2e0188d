"""`stcodec record`: what is in its files, whatever becomes of the source, the disk and the
command."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import stcodec
from stcodec.bench.event_truth import Drawn, Scene, write
from stcodec.container.finishing import finish
from stcodec.container.records import VideoChunk
from stcodec.errors import DamagedFileError, OutputExistsError
from stcodec.flows.inspect import info
from stcodec.flows.record import record_steps
from stcodec.flows.recorded_file import RecordedFile
from stcodec.flows.recordings import Recordings
from stcodec.options import EncodeOptions, RecordOptions
from tests.conftest import run
from tests.media import clip, write_clip
from tests.recording import (
    FAST,
    MOST_INSIDE,
    PICTURE,
    Camera,
    Recorder,
    chunks_of,
    frames_so_far,
    mpegts,
    times_of,
    until,
    y4m,
)
from tests.test_container import HEADER


def test_a_file_becomes_files_by_time_and_nothing_is_lost(bee: Path, tmp_path: Path) -> None:
    done = run("record", bee, tmp_path / "c-%Y%m%d-%H%M%S.stp", "--every", "0:01", *FAST, "--json")
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    files = sorted(tmp_path.iterdir())
    assert [e["output"] for e in said if e["event"] == "written"] == [str(f) for f in files]
    assert said[-1]["event"] == "recorded"
    assert said[-1]["files"] == len(files)
    assert all(re.fullmatch(r"c-\d{8}-\d{6}\.stp", f.name) for f in files)
    stcodec.encode(bee, tmp_path / "whole.stp", model="dct", effort=0, threads=1)
    whole = info(tmp_path / "whole.stp")
    parts = [info(f) for f in files]
    assert sum(p.frames for p in parts) == whole.frames == said[-1]["frames"]
    assert sum(p.streams[0]["bytes"] for p in parts) == whole.streams[0]["bytes"]
    assert sum(p.duration for p in parts) == pytest.approx(whole.duration)
    assert all(times_of(f)[0] == 0 for f in files)
    assert all(p.complete and p.metadata["creation_time"].endswith("Z") for p in parts)
    assert run("verify", *files).returncode == 0


def test_what_was_recorded_is_readable_after_a_kill_and_made_complete_by_the_next(
    tmp_path: Path,
) -> None:
    pattern, back = tmp_path / "c-%Y%m%d-%H%M%S.stp", tmp_path / "back.y4m"
    with Recorder("-", pattern, "--every", "1h") as recorder:
        recorder.write(y4m(60))
        until(lambda: any(frames_so_far(f) >= 60 - MOST_INSIDE for f in tmp_path.iterdir()))
        assert recorder.end(signal.SIGKILL)[0] == -signal.SIGKILL
    (broken,) = tmp_path.iterdir()
    assert run("info", broken).returncode == 0
    # All but the pictures of the chunk that was not complete.
    assert run("decode", broken, back, "--salvage").returncode == 3
    raw = back.read_bytes()
    pictures = (len(raw) - raw.index(b"\n") - 1) // PICTURE
    assert pictures >= 60 - MOST_INSIDE
    other, copied = tmp_path / "other.stp", tmp_path / "c-20260101-000000.stp"
    for target in (other, copied):
        target.write_bytes(broken.read_bytes())
    for target in (other, broken):
        os.utime(target, (0, 0))
    with Recorder("-", pattern, "--every", "1h") as recorder:
        recorder.write(y4m(3))
        code, said = recorder.end()
    assert code == 0
    assert f"{broken}: an earlier recording had broken off; made complete, {pictures}" in said
    assert run("verify", broken).returncode == 0
    assert sum(len(c.pts) for c in chunks_of(broken)) == pictures
    # One that is not of the pattern is left alone, and one that somebody may be copying.
    assert run("verify", other).returncode == run("verify", copied).returncode == 3
    recordings = Recordings(pattern)
    with open(copied, "r+b"):
        os.utime(copied, (0, 0))
        assert sys.platform != "linux" or list(recordings.finish_broken(time.time())) == []
    assert list(recordings.finish_broken(time.time())) == [(copied, pictures)]


def test_a_recording_that_is_going_on_is_not_cut_off(tmp_path: Path) -> None:
    target, back = tmp_path / "a.stp", tmp_path / "back.y4m"
    with Recorder("-", target) as recorder:
        recorder.write(y4m(60))
        until(lambda: target.exists() and frames_so_far(target) >= 60 - MOST_INSIDE)
        assert "B, still being written)" in run("info", target).stdout
        for command in (["verify", target], ["decode", target, back]):
            done = run(*command)
            assert done.returncode == 3
            last = done.stderr.splitlines()[-1]
            assert last.startswith(f"stcodec: {target}: is still being written: ")
        assert run("decode", target, back, "--keep-partial").returncode == 3
        assert recorder.end()[0] == 0
    assert run("verify", target).returncode == 0
    target.write_bytes(target.read_bytes()[:-100])
    assert "B, cut off)" in run("info", target).stdout
    assert ": cut off at byte " in run("verify", target).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_usual_end(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "a.stp"
    with Recorder("-", target) as recorder:
        recorder.write(y4m(40))
        until(lambda: frames_so_far(target) >= 40 - MOST_INSIDE)
        time.sleep(1)  # pictures of a pipe are taken at their own speed
        code, said = recorder.end(number)
    assert code == 0
    assert f"{target}: " in said
    # The last one waits for the next, to know how long it is shown.
    assert sum(len(c.pts) for c in chunks_of(target)) in (39, 40)


def test_a_signal_before_anything_came_is_an_interrupt(tmp_path: Path) -> None:
    with Recorder("-", tmp_path / "a.stp") as recorder:
        recorder.write(y4m(1)[:20])
        time.sleep(3)
        code, said = recorder.end(signal.SIGINT)
    assert (code, said) == (130, "stcodec: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_goes_away_leaves_a_gap(tmp_path: Path) -> None:
    def whole() -> Iterator[bytes]:
        yield mpegts(20)

    def stalls() -> Iterator[bytes]:
        yield mpegts(40)
        time.sleep(30)

    target = tmp_path / "a.stp"
    with Camera([whole, stalls]) as camera:
        address = camera.address.replace("//", "//me:a@secret@")
        with Recorder(address, target, "--timeout", "1") as recorder:
            until(lambda: frames_so_far(target) == 60)
            code, said = recorder.end(signal.SIGTERM)
    assert code == 0
    assert "secret" not in said + target.read_bytes().decode("latin-1")
    lines = said.splitlines()
    assert [line for line in lines if "trying again" in line] == lines[:1] + lines[2:3]
    assert "is back after" in lines[1]
    assert "nothing has come for 1 s" in lines[2]
    times = times_of(target)
    steps = np.diff(times)
    # In the gap no picture is shown, and the time of the recording is that of the clock.
    assert np.count_nonzero(steps > 0.9) == 1
    assert steps[19] > 0.9
    chunks = chunks_of(target)
    ends = [c.pts[-1] + c.durations[-1] for c in chunks]
    (after,) = [c for c, end in zip(chunks[1:], ends, strict=False) if c.pts[0] > end]
    assert after.first
    assert run("verify", target).returncode == 0


def test_pictures_of_another_size_become_another_file(tmp_path: Path) -> None:
    """Even where OUT has one name only: what was recorded before stays."""
    turns = [lambda: iter([mpegts(20)]), lambda: iter([mpegts(18, (32, 64))])]
    with Camera(turns) as camera:
        done = run("record", camera.address, tmp_path / "a.stp", *FAST, "--give-up", "2.5s")
    assert done.returncode == 3
    found = {f.name: info(f) for f in tmp_path.iterdir()}
    assert {name: (i.width, i.height, i.frames) for name, i in found.items()} == {
        "a.stp": (64, 48, 20),
        "a-2.stp": (32, 64, 18),
    }


def test_a_source_that_stays_away_is_given_up(tmp_path: Path) -> None:
    def whole() -> Iterator[bytes]:
        yield mpegts(20)

    target = tmp_path / "a.stp"
    with Camera([whole]) as camera:
        done = run("record", camera.address, target, *FAST, "--give-up", "0.5s")
    assert done.returncode == 3
    assert re.search(r"given up after \d+ s\n$", done.stderr)
    assert sum(len(c.pts) for c in chunks_of(target)) == 20


def test_a_source_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    with Camera([]) as camera:
        done = run("record", camera.address, tmp_path / "a.stp", *FAST)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert camera.address in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_complete_stream_ends_the_recording(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "in.mkv", clip(20))

    def whole() -> Iterator[bytes]:
        yield film.read_bytes()

    with Camera([whole]) as camera:
        done = run("record", camera.address, tmp_path / "a.stp", *FAST)
    assert done.returncode == 0, done.stderr
    assert info(tmp_path / "a.stp").frames == 20


def test_a_full_disk_leaves_a_complete_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's."""

    target = tmp_path / "a.stp"
    with Recorder("-", target, largest=1500) as recorder:
        with contextlib.suppress(BrokenPipeError):
            for first in range(0, 400, 40):
                recorder.write(y4m(40, first=first))
        code, said = recorder.end()
    assert code == 1
    assert f"{target}: cannot be written (File too large)" in said
    assert sum(len(c.pts) for c in chunks_of(target)) >= 16
    assert run("verify", target).returncode == 0


def test_a_file_is_completed_wherever_it_was_cut(bee_stp: Path, tmp_path: Path) -> None:
    data, target = bee_stp.read_bytes(), tmp_path / "a.stp"
    frames = []
    for end in np.linspace(2000, len(data), 12).astype(int):
        target.write_bytes(data[:end])
        frames.append(finish(target))
        assert sum(len(c.pts) for c in chunks_of(target)) == frames[-1]
        assert info(target).frames == frames[-1]
    assert target.read_bytes() == data
    assert frames == sorted(frames)
    # A loss of power leaves zeros where blocks were not written yet.
    written = 3 * len(data) // 4
    target.write_bytes(data[:written] + bytes(len(data) - written))
    assert 0 < finish(target) < frames[-1]
    assert sum(len(c.pts) for c in chunks_of(target)) == info(target).frames
    # Damage that is no end is left as it is.
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    target.write_bytes(damaged)
    with pytest.raises(DamagedFileError):
        finish(target)
    assert target.read_bytes() == damaged


def test_a_taken_name_gets_a_number_and_another_file_stays(bee: Path, tmp_path: Path) -> None:
    pattern = tmp_path / "c-%Y%m%d.stp"
    assert run("record", bee, pattern, *FAST).returncode == 0
    (first,) = tmp_path.iterdir()
    before = first.read_bytes()
    assert run("record", bee, pattern, *FAST).returncode == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"{first.stem}-2.stp", first.name]
    assert first.read_bytes() == before
    target = tmp_path / "a.stp"
    target.write_bytes(b"mine")
    assert run("record", bee, target, *FAST).returncode == 4
    assert target.read_bytes() == b"mine"
    assert run("record", bee, target, *FAST, "-y").returncode == 0
    assert info(target).frames == 20


def test_two_recorders_never_write_one_file(tmp_path: Path) -> None:
    target = tmp_path / "a.stp"
    with Recorder("-", target) as recorder:
        recorder.write(y4m(30))
        until(target.exists)
        film = write_clip(tmp_path / "in.mkv", clip(9))
        for options, code in (((), 4), (("-y",), 1)):
            done = run("record", film, target, *options, *FAST)
            assert done.returncode == code, done.stderr
        assert "another process is writing it" in done.stderr
        # Nor does one that has found nothing there a moment before.
        steps = record_steps(
            film,
            Recordings(target),
            EncodeOptions(model="dct", effort=0),
            RecordOptions(),
            threading.Event(),
        )
        with pytest.raises(OutputExistsError):
            list(steps)
        assert recorder.end()[0] == 0
    assert sum(len(c.pts) for c in chunks_of(target)) == 30


def test_a_device_takes_what_a_file_would() -> None:
    with RecordedFile(Path(os.devnull), False, HEADER, (), {}, {}) as file:
        for first in (0, 8):
            file.write(VideoChunk(True, tuple(range(first, first + 8)), (1,) * 8, b""))
        file.close()
        assert (file.frames, file.end) == (16, 16)


def test_a_file_is_played_at_its_own_speed(bee: Path, tmp_path: Path) -> None:
    for options, least in (((), 0.0), (("--realtime",), 0.75)):
        start = time.monotonic()
        done = run("record", bee, tmp_path / "a.stp", "-y", "--json", *options, *FAST)
        assert done.returncode == 0
        assert time.monotonic() - start >= least
        assert json.loads(done.stdout.splitlines()[-1])["frames"] == 20
    done = run("record", bee, tmp_path / "a.stp", "-y", "--duration", "0.4s", *FAST)
    assert done.returncode == 0
    assert 8 <= info(tmp_path / "a.stp").frames <= 13


def test_events_are_told_to_people_and_to_a_command(tmp_path: Path) -> None:
    drawn = Drawn(136, 168, (120, 220), (20, 20), (-1, 0), 70)
    write(tmp_path / "in.y4m", Scene("one", 208, (drawn,)), 3)
    tell = tmp_path / "tell.py"
    tell.write_text(
        "import os, sys\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as f:\n"
        "    f.write(' '.join(sys.argv[1:]) + '|' + '|'.join(\n"
        "        os.environ.get('STCODEC_' + n, '') for n in ('EVENT', 'FILE', 'START', 'END')))\n"
        "    f.write('\\n')\n"
    )
    # A name that a shell would make much of.
    target = tmp_path / "a $(touch pwned) ;.stp"
    done = run(
        *("record", tmp_path / "in.y4m", target, "--events", "--json", *FAST),
        *("--on-event", f"python3 {tell} 'a b' $HOME"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    (begin,) = [e for e in said if e["event"] == "happens"]
    (over,) = [e for e in said if e["event"] == "found"]
    assert begin["start"] == over["start"] < over["end"]
    assert 128 <= round(over["start"] * 25) <= 144
    told = [line.split("|") for line in (tmp_path / "told").read_text().splitlines()]
    assert [t[:2] for t in told] == [["a b $HOME", "begin"], ["a b $HOME", "end"]]
    assert {t[2] for t in told} == {str(target)}
    assert [float(t[3]) for t in told] == [pytest.approx(over["start"], abs=0.001)] * 2
    assert float(told[1][4]) == pytest.approx(over["end"], abs=0.001)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-", "a.stp", "--every", "10m"], "the same name"),
        (["-", "a-%H.stp", "--every", "10m"], "the same name"),
        (["-", "a-%H%M.stp", "--keep", "7d"], "needs the date"),
        (["-", "a-%B.stp"], "%B is none of"),
        (["-", "a-%Y-%Y%m%d.stp"], "%Y comes twice"),
        (["-", "%Y/a-%d.stp"], "the file's name alone"),
        (["-", "-"], "encode - -"),
        (["-", "a.stp", "--normal", "b.json"], "--events"),
        (["-", "a.stp", "--source-option", "a"], "KEY=VALUE"),
        (["-", "a.stp", "--every", "soon"], "no time"),
        (["-", "a.mp4"], "a.mp4"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("record", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(itertools.chain(tmp_path.iterdir())) == []


def test_a_stream_opens_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(mpegts(20))

    def playlist() -> Iterator[bytes]:
        yield (
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n"
            f"file://{secret}\n#EXT-X-ENDLIST\n"
        ).encode()

    with Camera([playlist] * 3) as camera:
        address = camera.address.replace("cam.ts", "cam.m3u8")
        done = run("record", address, tmp_path / "a.stp", *FAST, "--timeout", "2")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["secret.ts"]
