"""Motion over more than a vector can say, as in videos of 8K."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stcodec
from tests.conftest import psnr
from tests.media import frame_of, read, write_clip


def test_what_moves_further_than_vectors_reach_is_coded(tmp_path: Path) -> None:
    """A slope that moves by 1200 samples a picture: each block finds it a little further away than
    the one before."""
    x, grey = np.arange(8192), np.full((16, 4096), 128, np.uint8)
    rows = [np.abs((x + 1200 * i) % 16384 - 8192) / 32 for i in range(17)]
    planes = [np.broadcast_to(np.minimum(row, 255).astype(np.uint8), (32, 8192)) for row in rows]
    source = write_clip(tmp_path / "in.mkv", [frame_of((p, grey, grey)) for p in planes])
    stcodec.encode(source, tmp_path / "in.stp", model="dct", effort=0)
    stcodec.decode(tmp_path / "in.stp", tmp_path / "out.y4m")
    _, pictures, _ = read(tmp_path / "out.y4m")
    assert len(pictures) == len(planes)
    assert min(psnr(p.planes[0], q) for p, q in zip(pictures, planes, strict=True)) > 35
