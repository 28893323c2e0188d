"""`stcodec record` of a camera that speaks RTSP: a real server on loopback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stcodec.flows.inspect import info
from tests.conftest import run
from tests.recording import Recorder, chunks_of, frames_so_far, times_of, until

SERVER = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"


@contextmanager
def camera(port: str = "0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server, and its port. The test is skipped where there is none on this machine."""
    try:
        server = subprocess.Popen(
            [PYTHON, SERVER, port], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError:
        pytest.skip(f"there is no {PYTHON}")
    try:
        assert server.stdout is not None and server.stderr is not None
        found = server.stdout.readline().strip()
        if not found:
            pytest.skip(f"GStreamer's RTSP server is not installed: {server.stderr.read()[-200:]}")
        yield server, found
    finally:
        server.kill()
        server.wait()


def test_a_camera_is_recorded_and_found_again_after_it_was_killed(tmp_path: Path) -> None:
    target = tmp_path / "a.stp"
    with camera() as (server, port):
        address = f"rtsp://127.0.0.1:{port}/cam"
        with Recorder(address, target, "--timeout", "2") as recorder:
            until(lambda: frames_so_far(target) > 8)
            server.kill()
            server.wait()
            with camera(port):
                until(lambda: "is back after" in recorder.said)
                before = frames_so_far(target)
                until(lambda: frames_so_far(target) > before)
                code, said = recorder.end(signal.SIGTERM)
    assert code == 0, said
    assert "trying again" in said
    assert "is back after" in said
    assert run("verify", target).returncode == 0
    found = info(target)
    assert (found.width, found.height) == (64, 48)
    assert [s["codec"] for s in found.streams] == ["pcm_mulaw"]
    assert found.streams[0]["bytes"] > 1000
    steps = np.diff(times_of(target))
    assert np.count_nonzero(steps > 0.4) == 1
    assert np.median(steps) == pytest.approx(0.04, abs=0.001)
    assert sum(c.first for c in chunks_of(target)) >= 2
