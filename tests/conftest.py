"""Shared clips and helpers; independent reading of outputs is by plain PyAV."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

from tests import forked

# The same examples on every run and every machine, however busy it is.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")

# As the command does: threads that spin while they wait make tests that run side by side several
# times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

DATA = Path(__file__).parent / "data"

# What a shell starts in the background ignores interrupts, and so would the commands that are
# interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command that ends passes over signals, which what is started after it would do, too."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """All loops, so that no test waits for the compiler, or reads that it does; by the first of
    the processes that run tests, while the others wait for it."""
    from stcodec.encoder import choice
    from stcodec.flows.compiling import compile_once
    from stcodec.options import EncodeOptions

    compile_once(EncodeOptions())
    choice.warm_up()


@pytest.fixture(scope="session")
def bee() -> Path:
    """20 frames at 160x90 with AAC audio."""
    return DATA / "bee.mp4"


@pytest.fixture(scope="session")
def bee_stp(bee: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bee, encoded once for all tests that only read it."""
    import stcodec

    target = tmp_path_factory.mktemp("bee") / "bee.stp"
    stcodec.encode(bee, target, quality=30)
    return target


def run(
    *arguments: object, timeout: float = 120, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own, in the folder `cwd`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return forked.run([*map(str, arguments)], environment, timeout, cwd)


def moving_picture(t: int, width: int, height: int, depth: int = 8) -> list[np.ndarray]:
    """Planes of a textured picture that pans by 1.5 samples a frame."""
    peak = (1 << depth) - 1
    dtype = np.uint8 if depth == 8 else np.uint16
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x = x + 1.5 * t
    luma = 0.5 + 0.25 * np.sin(x / 5) * np.cos(y / 7) + 0.2 * np.sin((x + y) / 23)
    chroma = [0.5 + 0.2 * np.sin((x[::2, ::2] + k * y[::2, ::2]) / 19) for k in (1, -1)]
    return [np.round(p * peak).astype(dtype) for p in (luma, *chroma)]


def interrupt(*arguments: object, when: Callable[[], object]) -> None:
    """Run the command, press Ctrl-C as soon as `when` is true, and see it end with code 130."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = forked.popen([*arguments], stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 60
    while not (ready := when()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ready and process.poll() is None, "it ended, or came to nothing, before the interrupt"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def make_video(
    path: Path,
    *,
    width: int = 64,
    height: int = 48,
    frames: int = 12,
    pts: Callable[[int], int] = lambda i: i,
    time_base: Fraction = Fraction(1, 25),
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    prepare: Callable[[object], None] | None = None,
) -> list[list[np.ndarray]]:
    """Write a synthetic clip with PyAV; returns its planes (4:2:0 formats)."""
    depth = 10 if "10" in pix_fmt else 8
    written = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        if prepare is not None:
            prepare(stream)
        for i in range(frames):
            planes = moving_picture(i, width, height, depth)
            source = "yuv420p10le" if depth == 10 else "yuv420p"
            frame = av.VideoFrame(width, height, source)
            for plane, samples in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
                rows[:, : samples.shape[1]] = samples
                plane.update(rows)
            if pix_fmt != source:
                frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts(i), time_base
            container.mux(stream.encode(frame))
            written.append(planes)
        container.mux(stream.encode(None))
    return written


def read_times(path: Path) -> list[Fraction]:
    """Presentation times of all pictures in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """PSNR in dB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(peak**2 / max(error, 1e-9)))
