"""Which encoders work on this machine, found by trying."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from stcodec.common.values import Picture, VideoInfo
from stcodec.errors import StcodecError
from stcodec.media.encoders import Listed, candidates
from stcodec.media.writer import FORMATS, MediaWriter

# Encoders of graphics cards want some size.
_WIDTH, _HEIGHT = 256, 192
_CRF, _PRESET = 23.0, "veryfast"


def working() -> Iterator[tuple[Listed, tuple[str, ...]]]:
    """Each video encoder that writes a video here, and the endings of the files that take it."""
    endings = sorted({format: ending for ending, format in reversed(FORMATS.items())}.values())
    with tempfile.TemporaryDirectory(prefix="stcodec.") as folder:
        for encoder in candidates():
            taken = [
                ending
                for ending in endings
                if ending != ".y4m" and _writes(encoder.name, Path(folder, f"a{ending}"))
            ]
            if taken:
                yield encoder, tuple(taken)


def _writes(codec: str, path: Path) -> bool:
    info = VideoInfo(
        _WIDTH, _HEIGHT, 8, Fraction(1, 25), Fraction(25), Fraction(1), 0, 1, 2, 2, 2, 0, None, 2
    )
    chroma = np.full((_HEIGHT // 2, _WIDTH // 2), 128, np.uint8)
    try:
        writer = MediaWriter(path, info, (), {}, FORMATS[path.suffix], codec, _CRF, _PRESET)
        for number in range(2):
            luma = np.full((_HEIGHT, _WIDTH), 60 + number, np.uint8)
            writer.write(Picture((luma, chroma, chroma), number, 1))
        writer.close()
    except StcodecError:
        return False
    return path.stat().st_size > 0
