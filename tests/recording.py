"""Helpers of the tests of `record`: sources that come, stall and go, and the command beside
them."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av

from stcodec.container import records, stp
from stcodec.errors import DamagedFileError
from tests import forked
from tests.conftest import moving_picture
from tests.media import clip

FAST = ("--model", "dct", "--effort", "0", "--threads", "1")
WIDTH, HEIGHT = 64, 48
# A group of 16, two after it, and two that wait for the next to know how long they are shown.
MOST_INSIDE = 20
PICTURE = len(b"FRAME\n") + WIDTH * HEIGHT * 3 // 2


def y4m(count: int, width: int = WIDTH, height: int = HEIGHT, first: int = 0) -> bytes:
    """A raw video at 25 pictures a second; without a head where it goes on after `first`."""
    head = b"" if first else f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode()
    pictures = (moving_picture(i, width, height) for i in range(first, first + count))
    return head + b"".join(b"FRAME\n" + b"".join(p.tobytes() for p in one) for one in pictures)


def mpegts(count: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A stream of so many pictures, as a camera sends it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as out:
        stream = out.add_stream("mpeg2video", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for number, frame in enumerate(clip(count, *size)):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


class Camera:
    """An HTTP server; each connection is served by the next of `turns`, which gives pieces of
    bytes. Then nothing is there any more. A context manager."""

    def __init__(self, turns: Sequence[Callable[[], Iterator[bytes]]]) -> None:
        left = list(turns)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not left:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                for piece in left.pop(0)():
                    self.wfile.write(piece)
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/cam.ts"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class Recorder:
    """`stcodec record` in a process of its own, whose input is a pipe. A context manager, which
    leaves no process behind. largest: bytes that a file may have."""

    def __init__(self, *arguments: object, largest: int | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        names = [os.path.join(self._folder.name, name) for name in ("in", "out", "err")]
        os.mkfifo(names[0])
        self._said = Path(names[2])
        self.process = forked.start(
            ["record", *map(str, arguments), *FAST],
            {**os.environ, "OMP_NUM_THREADS": "1"},
            (names[0], names[1], names[2]),
            largest=largest,
        )
        self._pipe = open(names[0], "wb", buffering=0)  # noqa: SIM115

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()
        self._folder.cleanup()

    def write(self, data: bytes) -> None:
        self._pipe.write(data)

    @property
    def said(self) -> str:
        """What it has said on stderr."""
        return self._said.read_text()

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Its exit code and what it said on stderr, after a signal, or at the end of its input."""
        if number is not None:
            os.kill(self.process.pid, number)
        else:
            self._pipe.close()
        self.process.join(150)
        return self.process.exitcode, self._said.read_text()


def until(true: Callable[[], object], seconds: float = 150.0) -> None:
    """Wait for something; AssertionError where it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.02)


def frames_so_far(path: Path) -> int:
    """Pictures of a file that is being written."""
    found = 0
    with contextlib.suppress(OSError, DamagedFileError), open(path, "rb") as stream:
        for item in stp.Reader(stream):
            found += len(item.pts) if isinstance(item, records.VideoChunk) else 0
    return found


def chunks_of(path: Path) -> list[records.VideoChunk]:
    """All chunks of a complete file."""
    with open(path, "rb") as stream:
        reader = stp.Reader(stream)
        found = [item for item in reader if isinstance(item, records.VideoChunk)]
        assert reader.complete
    return found


def times_of(path: Path) -> list[float]:
    """When pictures are shown, in seconds."""
    with open(path, "rb") as stream:
        base = stp.Reader(stream).base
    return [float(pts * base) for chunk in chunks_of(path) for pts in chunk.pts]
