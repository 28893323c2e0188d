"""`encode --resume`: whenever an encode is broken off, the next one ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import stcodec
from stcodec.common.leftovers import broken_output
from stcodec.errors import StcodecError, UsageError
from stcodec.flows import inspect
from stcodec.options import EncodeOptions, default
from tests import forked
from tests.conftest import run
from tests.media import frame_of, write_clip

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of 12 pictures, with sound."""
    rng = np.random.default_rng(1)
    frames = []
    for level in (40, 200, 90, 230):
        scene = np.full((HEIGHT, WIDTH), level)
        noise = rng.integers(-9, 9, (HEIGHT, WIDTH))
        for i in range(12):
            luma = np.roll(scene + noise, 2 * i, 1).clip(0, 255).astype(np.uint8)
            chroma = np.full((HEIGHT // 2, WIDTH // 2), 90, np.uint8)
            frames.append(frame_of([luma, chroma, chroma]))
    path = tmp_path_factory.mktemp("resume") / "in.mkv"
    return write_clip(path, frames, audio="aac")


@pytest.fixture(scope="module")
def unbroken(clip: Path) -> bytes:
    path = clip.with_name("unbroken.stp")
    stcodec.encode(clip, path, model="dct", quality=20)
    found = inspect.info(path)
    assert (found.segments, found.chunks) == (4, 8)
    return path.read_bytes()


def left(folder: Path) -> list[Path]:
    return [folder / name for name in os.listdir(folder) if name.startswith(".")]


def resume(clip: Path, target: Path, **options: object) -> None:
    stcodec.encode(clip, target, **{"model": "dct", "quality": 20, "resume": True, **options})  # type: ignore[arg-type]


def broken_at(clip: Path, target: Path, chunks: int, **options: object) -> None:
    """Encode so many chunks, then press Ctrl-C."""
    seen = 0

    def count(progress: object) -> None:
        nonlocal seen
        seen += 1
        if seen == chunks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(clip, target, progress=count, **options)


def test_again_and_again(clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    """Each time a little farther; the last time in what is copied, and behind the last chunk."""
    target = tmp_path / "a.stp"
    for chunks in (1, 3, 4, 6, 2, 8):
        broken_at(clip, target, chunks)
        assert not target.exists() and left(tmp_path)
    resume(clip, target)
    assert target.read_bytes() == unbroken
    assert os.listdir(tmp_path) == ["a.stp"]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_killed_encode_that_was_not_meant_to_be_resumed(
    clip: Path, unbroken: bytes, tmp_path: Path, share: float
) -> None:
    """Also where its last bytes are not on the disk."""
    target = tmp_path / "a.stp"
    process = forked.popen(
        ["encode", "--model", "dct", "-q", 20, clip, target],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if any(p.stat().st_size > share * len(unbroken) for p in left(tmp_path)):
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in left(tmp_path):
        data = path.read_bytes()
        path.write_bytes(data[:-3] + bytes(3))
    target.unlink(missing_ok=True)  # it may have been too quick for us
    resume(clip, target)
    assert target.read_bytes() == unbroken
    assert os.listdir(tmp_path) == ["a.stp"]


KILLED = """
import os, signal, sys
from stcodec.common.files import Overwrite, open_output
with open_output(sys.argv[1], Overwrite.YES, "key", keep=True) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_left_of_what_a_link_leads_to(tmp_path: Path) -> None:
    """The hidden file lies beside the real one, and is found by the link, too."""
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.stp", tmp_path / "link.stp"
    real.write_bytes(b"old")
    link.symlink_to(real)
    killed = subprocess.run([sys.executable, "-c", KILLED, link], check=False)
    assert killed.returncode == -signal.SIGKILL
    for name in (link, real):
        with broken_output(name, "key") as broken:
            assert broken.stream is not None and broken.stream.read() == b"half"
    with broken_output(link, "other") as broken:
        assert broken.stream is None
    with broken_output(link, "key") as broken:
        broken.discard()
    assert os.listdir(tmp_path / "disk") == ["real.stp"] and real.read_bytes() == b"old"


def test_an_encode_onto_a_link_is_resumed(clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.stp", tmp_path / "link.stp"
    real.write_bytes(b"old")
    link.symlink_to(real)
    broken_at(clip, link, 4, overwrite=True)
    [_] = left(tmp_path / "disk")
    resume(clip, link, overwrite=True)
    assert link.is_symlink() and real.read_bytes() == unbroken
    assert os.listdir(tmp_path / "disk") == ["real.stp"] and left(tmp_path) == []


def test_only_what_is_the_same_encode(clip: Path, unbroken: bytes, tmp_path: Path) -> None:
    target = tmp_path / "a.stp"
    broken_at(clip, target, 4)
    [old] = left(tmp_path)
    resume(clip, target, quality=21)
    assert target.read_bytes() != unbroken and left(tmp_path) == [old]
    target.unlink()
    other = tmp_path / "in.mkv"
    other.write_bytes(clip.read_bytes())  # the same bytes at another time
    os.utime(other, (1, 1))
    resume(other, target)
    assert target.read_bytes() == unbroken and left(tmp_path) == [old]
    target.unlink()
    # What claims to be the same, and is not: never an output of two videos.
    stcodec.encode(clip, tmp_path / "b.stp", model="dct", quality=20, start=0.2)
    old.write_bytes((tmp_path / "b.stp").read_bytes())
    with pytest.raises(StcodecError, match="is not what this encode would have written"):
        resume(clip, target)
    assert not target.exists()


def test_what_cannot_be_resumed(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        resume(
            clip, tmp_path / "a.stp", target_size=10_000, quality=default(EncodeOptions, "quality")
        )
    assert run("encode", "--resume", "-", tmp_path / "a.stp").returncode == 2
    assert os.listdir(tmp_path) == []
