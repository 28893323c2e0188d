"""How long pictures stay inside: between what goes into a pipe and what comes out of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from stcodec.codec.tree import LONGEST
from stcodec.encoder.temporal_filter import AHEAD
from tests.conftest import moving_picture

WIDTH, HEIGHT = 64, 48
HEAD = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 C420jpeg\n".encode()
PICTURE = len(b"FRAME\n") + WIDTH * HEIGHT * 3 // 2
# Besides the group of pictures that is coded together, the encoder looks at those after it; one
# picture waits for the next, which says how long it is shown.
MOST = LONGEST + AHEAD + 1


def picture(number: int, still: bool) -> bytes:
    planes = moving_picture(0 if still else number, WIDTH, HEIGHT)
    return b"FRAME\n" + b"".join(p.tobytes() for p in planes)


class Pipe:
    """`stcodec encode - - | stcodec decode - -`, and how many bytes have come out of it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "stcodec"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.encoder = subprocess.Popen(
            [*command, "encode", "-", "-", "--model", "dct", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.decoder = subprocess.Popen(
            [*command, "decode", "-", "-", "--quiet"],
            stdin=self.encoder.stdout,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self.encoder.stdout is not None
        self.encoder.stdout.close()
        self.bytes, self.head = 0, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.decoder.stdout is not None
        while data := os.read(self.decoder.stdout.fileno(), 1 << 16):
            self.bytes += len(data)
            self.head = (self.head + data)[:200]

    def write(self, data: bytes) -> None:
        assert self.encoder.stdin is not None
        self.encoder.stdin.write(data)
        self.encoder.stdin.flush()

    @property
    def pictures(self) -> int:
        return (self.bytes - self.head.find(b"\n") - 1) // PICTURE

    def settle(self, least: int) -> int:
        """Pictures that have come out, once there are so many; they come late where it fails."""
        deadline = time.monotonic() + 60
        while self.pictures < least and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.pictures


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    for process in (made.encoder, made.decoder):
        process.kill()
        process.wait()


@pytest.mark.parametrize("still", [False, True])
def test_pictures_in_flight_are_no_more_than_a_chunk(pipe: Pipe, still: bool) -> None:
    pipe.write(HEAD)
    sent = 0
    for more in (30, 1, 7, 40):
        pipe.write(b"".join(picture(sent + i, still) for i in range(more)))
        sent += more
        assert pipe.settle(sent - MOST) >= sent - MOST
    assert pipe.encoder.stdin is not None
    pipe.encoder.stdin.close()
    assert pipe.encoder.wait(60) == pipe.decoder.wait(60) == 0
    assert pipe.settle(sent) == sent


def test_an_interrupt_ends_an_encode_that_waits_for_its_input(pipe: Pipe) -> None:
    pipe.write(HEAD + b"".join(picture(i, False) for i in range(30)))
    assert pipe.settle(30 - MOST) >= 30 - MOST
    pipe.encoder.send_signal(signal.SIGINT)
    assert pipe.encoder.wait(30) == 130
    assert pipe.decoder.wait(30) == 3
