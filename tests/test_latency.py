"""How long pictures stay inside: between what goes into a pipe and what comes out of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stcodec.codec.tree import LONGEST
from stcodec.encoder.temporal_filter import AHEAD
from tests import forked
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

    def __init__(self, folder: Path) -> None:
        names = [str(folder / name) for name in ("in", "between", "out", "said")]
        for name in names[:3]:
            os.mkfifo(name)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.encoder = forked.start(
            ["encode", "-", "-", "--model", "dct", "--quiet"],
            environment,
            (names[0], names[1], names[3]),
        )
        self.decoder = forked.start(
            ["decode", "-", "-", "--quiet"], environment, (names[1], names[2], names[3])
        )
        self.input = open(names[0], "wb", buffering=0)  # noqa: SIM115
        self.output = open(names[2], "rb", buffering=0)  # noqa: SIM115
        self.bytes, self.head = 0, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self.output.read(1 << 16):
            self.bytes += len(data)
            self.head = (self.head + data)[:200]

    def write(self, data: bytes) -> None:
        self.input.write(data)

    @property
    def pictures(self) -> int:
        return (self.bytes - self.head.find(b"\n") - 1) // PICTURE

    def end(self, name: str) -> int:
        """The exit code of one of the two."""
        process = getattr(self, name)
        process.join(150)
        return process.exitcode

    def settle(self, least: int) -> int:
        """Pictures that have come out, once there are so many; they come late where it fails."""
        deadline = time.monotonic() + 150
        while self.pictures < least and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.pictures


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path)
    yield made
    made.input.close()
    for process in (made.encoder, made.decoder):
        process.kill()
        process.join()


@pytest.mark.parametrize("still", [False, True])
def test_pictures_in_flight_are_no_more_than_a_chunk(pipe: Pipe, still: bool) -> None:
    pipe.write(HEAD)
    sent = 0
    for more in (30, 1, 7, 40):
        pipe.write(b"".join(picture(sent + i, still) for i in range(more)))
        sent += more
        assert pipe.settle(sent - MOST) >= sent - MOST
    pipe.input.close()
    assert (pipe.end("encoder"), pipe.end("decoder")) == (0, 0)
    assert pipe.settle(sent) == sent


def test_an_interrupt_ends_an_encode_that_waits_for_its_input(pipe: Pipe) -> None:
    pipe.write(HEAD + b"".join(picture(i, False) for i in range(30)))
    assert pipe.settle(30 - MOST) >= 30 - MOST
    os.kill(pipe.encoder.pid, signal.SIGINT)
    assert (pipe.end("encoder"), pipe.end("decoder")) == (130, 3)
