"""The same input gives the same bytes, however many threads and cores there are."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

import stcodec
from tests import forked
from tests.media import clip, write_clip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with sound, and with pictures that decoders with many threads give out late."""
    path = tmp_path_factory.mktemp("same") / "in.mp4"
    frames = clip(24)
    return write_clip(path, frames, "libx264", audio="aac", options={"bf": "3", "preset": "fast"})


def test_threads(source: Path, tmp_path: Path) -> None:
    made = []
    for threads in (1, 2, 8):
        target = tmp_path / f"{threads}.stp"
        stcodec.encode(source, target, model="dct", quality=20, threads=threads)
        made.append(target.read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_cores(source: Path, tmp_path: Path) -> None:
    all_cores = os.sched_getaffinity(0)
    for name, cores in (("one", {min(all_cores)}), ("all", all_cores)):
        target = tmp_path / f"{name}.stp"
        on = functools.partial(os.sched_setaffinity, 0, cores)
        done = forked.finish(["encode", "--model", "dct", source, target], preexec_fn=on)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.stp").read_bytes() == (tmp_path / "all.stp").read_bytes()
