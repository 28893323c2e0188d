"""Intra and key frames without what their neighbours in time do not share: noise, which nothing
predicts from.

What such a frame has alone costs bits there and again in every frame that is predicted from it. So
each of its blocks is mixed with what the pictures before and after show of it, along motion, the
more the better they agree (motion-compensated temporal filtering before coding, as in the encoders
of VVC and AV1: Wennersten, Enhorn and others, "Encoder-side temporal filtering", JVET-O0549). Only
the pictures that are coded are others; what is measured is not. Nothing here is normative.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from stcodec.codec.compensation import (
    CHROMA_PHASES,
    CHROMA_TAPS,
    LUMA_PHASES,
    LUMA_TAPS,
    filter_taps,
)
from stcodec.codec.motion import Fields
from stcodec.codec.tree import Step
from stcodec.common.values import Planes
from stcodec.encoder import filter_kernels, tuning

AHEAD = len(tuning.FILTER_WEIGHTS)
"""How far pictures are looked at before a key frame and after it."""


def distances() -> list[int]:
    """How far before and after a key frame pictures lie that are mixed with it."""
    return [1 + i for i, weight in enumerate(tuning.FILTER_WEIGHTS) if weight]


def towards(
    frame: int, steps: Sequence[Step], fields: Mapping[int, Fields]
) -> dict[int, np.ndarray]:
    """Of the frames of a chunk near an intra or key frame that are predicted from it: vectors, as
    `filtered` wants them. fields: of each predicted frame."""
    found, wanted = {}, distances()
    for step in steps:
        for user, pair in zip(step.frames, step.references, strict=True):
            if frame in pair and abs(user - frame) in wanted and user in fields:
                vectors = fields[user].vectors[0, pair.index(frame)]
                found[user] = vectors.cpu().numpy()
    return found


def filtered(
    pictures: Sequence[Planes],
    frame: int,
    near: Mapping[int, np.ndarray],
    bit_depth: int,
    step: float,
    weight: float = 1.0,
) -> Planes:
    """A picture mixed with others near it.

    near: of some pictures by number, vectors int16 [2, H / 8, W / 8] by which their 8x8 blocks have
    moved to where they are in this one; step: quantisation step, in units of 1 / 255 of the peak;
    weight: of the others, as a factor.
    """
    spread = tuning.FILTER_SPREAD * math.log2(max(step, 1.0) / tuning.FILTER_LEAST_STEP)
    if spread <= 0 or not near:
        return pictures[frame]
    scale = 255.0 / ((1 << bit_depth) - 1)
    alike = np.exp(-((np.arange(256) / spread) ** 2) / 2).astype(np.float32)
    error = spread * spread / tuning.FILTER_ERROR
    own = _floats(pictures[frame], scale)
    totals, counts = (
        filter_kernels.Planes(*(plane._replace(samples=f(plane.samples)) for plane in own))
        for f in (np.copy, np.ones_like)
    )
    room = filter_kernels.room()
    for number, vectors in near.items():
        most = weight * tuning.FILTER_WEIGHTS[abs(number - frame) - 1]
        weights = filter_kernels.Weights(most, alike, error)
        other = _floats(pictures[number], scale)
        filter_kernels.mix(own, other, vectors, weights, _taps(), totals, counts, room)
    y, u, v = (
        _rounded(a.samples / b.samples / scale, plane, (1 << bit_depth) - 1)
        for a, b, plane in zip(totals, counts, pictures[frame], strict=True)
    )
    return y, u, v


def _floats(planes: Planes, scale: float) -> filter_kernels.Planes:
    """Samples as float32 in [0, 255]."""
    flat = (np.multiply(p, np.float32(scale), dtype=np.float32).reshape(-1) for p in planes)
    shaped = (filter_kernels.Plane(a, *p.shape) for a, p in zip(flat, planes, strict=True))
    return filter_kernels.Planes(*shaped)


def _rounded(samples: np.ndarray, like: np.ndarray, peak: int) -> np.ndarray:
    """Flat samples as integers up to a peak, of the shape and kind of others."""
    return np.rint(samples).clip(0, peak).astype(like.dtype).reshape(like.shape)


@functools.cache
def _taps() -> filter_kernels.Taps:
    luma, chroma = filter_taps(LUMA_TAPS, LUMA_PHASES), filter_taps(CHROMA_TAPS, CHROMA_PHASES)
    return filter_kernels.Taps(luma.numpy().reshape(-1), chroma.numpy())


def warm_up() -> None:
    """Compile the loops, or load what was compiled before."""
    planes = tuple(np.zeros(size, np.uint8) for size in ((16, 16), (8, 8), (8, 8)))
    filtered([planes, planes], 0, {1: np.zeros((2, 2, 2), np.int16)}, 8, 99.0)  # type: ignore[list-item]
