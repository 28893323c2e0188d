"""What a person sees: progress, notes, and never a file that grew in silence."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest

import stcodec
from stcodec.common.values import Progress
from stcodec.errors import TargetError
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.report import Reporter
from tests import forked
from tests.conftest import run
from tests.media import clip, write_clip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("output") / "in.mp4", clip(17, 32, 32), "libx264")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that no codec makes smaller: a few flat pictures at the lowest quality."""
    options = {"crf": "51", "preset": "veryslow"}
    return write_clip(
        tmp_path_factory.mktemp("small") / "in.h264", clip(3, 64, 48), "libx264", options=options
    )


def test_a_larger_output_is_said_and_can_be_refused(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.stp"
    notes = stcodec.encode(small, target, quality=63, model="dct").notes
    assert target.stat().st_size > small.stat().st_size
    assert [
        n
        for n in notes
        if "larger" in n and str(target.stat().st_size) in n and str(small.stat().st_size) in n
    ]
    target.unlink()
    with pytest.raises(TargetError, match=str(small.stat().st_size)):
        stcodec.encode(small, target, quality=63, model="dct", no_larger=True)
    assert list(tmp_path.iterdir()) == []
    assert (
        stcodec.encode(
            small, target, quality=0, model="dct", no_larger=True, overwrite=True
        ).output_bytes
        <= small.stat().st_size
    )


def test_a_pipe_that_grows_is_said_too(small: Path, tmp_path: Path) -> None:
    options = ("--model", "dct", "-q", 63, "--json")
    with subprocess.Popen(["cat", str(small)], stdout=subprocess.PIPE) as feeder:
        command = ["encode", "-", tmp_path / "a.stp", *options]
        done = forked.finish(command, stdin=feeder.stdout, text=True)
    assert done.returncode == 0, done.stderr
    assert "larger than the input" in done.stderr
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["input_bytes"] == small.stat().st_size
    assert any("larger" in n for n in event["notes"])


def test_progress_as_lines_or_not_at_all(source: Path, tmp_path: Path) -> None:
    shown = run("encode", source, tmp_path / "a.stp", "--model", "dct", "--progress", "lines")
    assert "17/17 frames" in shown.stderr.splitlines()[-2]
    quiet = run("decode", tmp_path / "a.stp", tmp_path / "a.mkv", "--progress", "none")
    assert len(quiet.stderr.splitlines()) == 1
    assert (
        run("decode", tmp_path / "a.stp", tmp_path / "b.mkv", "--progress", "loud").returncode == 2
    )


def on_a_terminal(*arguments: object, no_color: bool) -> bytes:
    """What a command shows on a terminal."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | (
        {"NO_COLOR": "1"} if no_color else {}
    )
    process = forked.popen(
        [*arguments],
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=inner,
        env={**environment, "LANG": "C.UTF-8"},
    )
    os.close(inner)
    seen = b""
    while True:
        try:
            part = os.read(outer, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert process.wait(120) == 0
    os.close(outer)
    return seen


def test_a_terminal_gets_a_bar_without_colour(source: Path, tmp_path: Path) -> None:
    seen = on_a_terminal("encode", source, tmp_path / "a.stp", "--model", "dct", no_color=True)
    assert b"%|" in seen
    assert b"\x1b[3" not in seen
    assert "█".encode() not in seen


def test_modes_of_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    def show(mode: str, quiet: bool = False) -> str:
        with ProgressReport("encoding a", Reporter(quiet=quiet), mode) as progress:
            for frames in (8, 16, 24, 32):
                progress.update(Progress(frames, 32, 0))
        return capsys.readouterr().err

    assert show("none") == ""
    assert show("bar", quiet=True) == show("lines", quiet=True) == ""
    lines = show("lines").splitlines()
    assert lines[-1].startswith("encoding a: 32/32 frames")
    assert 2 <= len(lines) <= 4
    assert 1 <= len(show("auto").splitlines()) <= 3
    assert "%|" in show("bar")


def test_speed_is_measured_from_the_first_news_of_each_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a search tried before took time, but is no encoding."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressReport("encoding a", Reporter(), "lines") as progress:
        for seconds, frames in ((1000, 8), (1010, 18), (2000, 8), (2010, 28)):
            now[0] = seconds
            progress.update(Progress(frames, 38, 0))
    assert capsys.readouterr().err.splitlines()[:4] == [
        "encoding a: 8/38 frames",
        "encoding a: 18/38 frames, 1.0 frames/s, 20 s left",
        "encoding a: 8/38 frames",
        "encoding a: 28/38 frames, 2.0 frames/s, 5 s left",
    ]


def test_a_full_device_is_named(source: Path, tmp_path: Path) -> None:
    done = run(
        "encode", source, "/dev/full", "--model", "dct", "--effort", "0", "--progress", "none"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("stcodec: /dev/full: ")


def test_a_pipe_or_device_without_an_ending_takes_raw_video(bee_stp: Path, tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", tmp_path / "got"
    os.mkfifo(pipe)
    with open(got, "wb") as file, subprocess.Popen(["cat", pipe], stdout=file):
        assert run("decode", bee_stp, pipe).returncode == 0
    assert got.read_bytes().count(b"FRAME\n") == 20
    assert pipe.is_fifo()


def test_standard_output_by_its_other_names(source: Path, bee_stp: Path, tmp_path: Path) -> None:
    """Behind `> file` is a file, which is there already; behind `>> file` it is not empty."""
    encode = ["encode", source, "--model", "dct", "--effort", "0", "--quiet"]
    for arguments in (encode, ["decode", bee_stp], ["concat", bee_stp, bee_stp, "-o"]):
        expected = forked.finish([*arguments, "-"]).stdout
        assert len(expected) > 500
        for name in ("/dev/stdout", "/dev/fd/1"):
            got = tmp_path / "got"
            got.write_bytes(b"before")
            with open(got, "ab") as file:
                done = forked.finish([*arguments, name], stdout=file)
            assert done.returncode == 0, done.stderr
            assert got.read_bytes() == b"before" + expected
    assert forked.finish([*encode, "--json", "/dev/stdout"]).returncode == 2


def test_without_arguments_the_help_is_shown() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: stcodec ")
    assert "\n  verify " in done.stderr


def test_a_pipe_that_has_a_name_is_read_once(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mkv", clip(20)).read_bytes()
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(data), daemon=True)
    feeder.start()
    result = stcodec.encode(pipe, tmp_path / "a.stp", model="dct")
    assert result.frames == 20
    with pytest.raises(stcodec.UsageError, match="--resume needs files"):
        stcodec.encode(pipe, tmp_path / "b.stp", resume=True)


@pytest.mark.parametrize("named", [True, False])
def test_an_interrupt_while_a_pipe_is_silent_ends_the_command(named: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.y4m"
    os.mkfifo(pipe)
    process = forked.popen(
        ["encode", pipe if named else "-", "out.stp"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL if named else subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # A video that stops coming after some pictures.
    with open(pipe, "wb") if named else process.stdin as feed:  # type: ignore[union-attr]
        feed.write(
            b"YUV4MPEG2 W96 H64 F25:1 Ip A1:1 C420jpeg\n"
            + (b"FRAME\n" + bytes(96 * 64 * 3 // 2)) * 40
        )
        feed.flush()
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["pipe.y4m"]
