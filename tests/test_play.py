"""`stcodec play`, with scripts in place of the players."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import stcodec
from tests import forked
from tests.conftest import run


def player(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("name", ["ffplay", "mpv"])
def test_a_player_gets_what_decode_writes(
    bee_stp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    player(tmp_path, name, f"cat > {tmp_path}/got.y4m")
    stcodec.decode(bee_stp, tmp_path / "wanted.y4m", end=0.4)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("play", bee_stp, "--end", "0.4")
    assert done.returncode == 0, done.stderr
    assert "audio" in done.stderr
    assert (tmp_path / "got.y4m").read_bytes() == (tmp_path / "wanted.y4m").read_bytes()


def test_without_a_player_a_page_is_served(bee_stp: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    process = forked.popen(
        ["play", bee_stp],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"{bee_stp}: http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "no ffplay or mpv on PATH" in err


def test_a_player_that_is_closed_and_one_that_fails(
    bee_stp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    player(tmp_path, "ffplay", "head -c 100 > /dev/null")
    done = run("play", bee_stp, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    player(tmp_path, "ffplay", "exit 7")
    done = run("play", bee_stp)
    assert (done.returncode, done.stderr) == (1, "stcodec: ffplay failed with exit code 7\n")
    player(tmp_path, "ffplay", f"touch {tmp_path}/started")
    (tmp_path / "damaged.stp").write_bytes(bee_stp.read_bytes()[:700])
    done = run("play", tmp_path / "damaged.stp")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert not (tmp_path / "started").exists()


def test_an_interrupt_ends_the_player(bee_stp: Path, tmp_path: Path) -> None:
    player(
        tmp_path,
        "ffplay",
        # It has read something: who has started it knows of it by now.
        f"head -c 9 > /dev/null; echo $$ > {tmp_path}/pid.new; "
        f"mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60",
    )
    process = forked.popen(
        ["play", bee_stp],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": str(tmp_path)},
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    # Libraries are being loaded at this time, in which the exception can be lost: once is enough.
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
