"""A model's loop filters, fitted to pictures that the codec has made without and with them.

Weights by least squares, for which each picture counts as much as another: its squared errors are
taken relative to what they are without a filter. Two rounds: with filters in the loop, pictures
have less left to filter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from stcodec.codec.loop_filter import (
    GROUPS,
    KNOTS,
    PLANES,
    START_UNIT,
    bounded,
    place_of,
)
from stcodec.codec.loop_filter_classes import CLASSES, TAPS
from stcodec.codec.model_files import Model
from stcodec.codec.patches import CHUNK_FRAMES, Frames
from stcodec.codec.tree import LEAF
from stcodec.common.values import Planes
from stcodec.encoder import filter_fit
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings

_RIDGE = 1e-4  # against the mean of the diagonal
_WEIGHTS = CLASSES * TAPS


class Equations:
    """Normal equations of the weights at all knots, by planes and group."""

    def __init__(self) -> None:
        size = len(KNOTS) * _WEIGHTS
        self.squares = np.zeros((PLANES, GROUPS, size, size))
        self.moments = np.zeros((PLANES, GROUPS, size))
        self.pictures = 0

    def add(self, kind: int, quality: float, picture: Frames, source: Frames) -> None:
        """A decoded picture before its filters, of a kind and a quality of its own."""
        if kind == LEAF:
            return
        group, near = min(kind, GROUPS - 1), np.zeros(len(KNOTS))
        knot, part = place_of(quality)
        near[knot : knot + 2] = 1 - part, part
        made, wanted = tuple(picture), tuple(source)
        for planes, some in enumerate((slice(0, 1), slice(1, 3))):
            pairs = list(zip(made[some], wanted[some], strict=True))
            error = 255.0**2 * sum(float((a - b).square().sum()) for a, b in pairs)
            if error > 0:
                a, b, share = filter_fit.equations(made[some], wanted[some])
                error *= share
                self.squares[planes, group] += np.kron(np.outer(near, near), a / error)
                self.moments[planes, group] += np.kron(near, b / error)
        self.pictures += 1

    def solved(self) -> tuple[np.ndarray, np.ndarray]:
        """Filters int16, see `loop_filter.LoopFilter`; and which part of the squared error they
        save, [PLANES, GROUPS], summed over pictures."""
        shape = PLANES, GROUPS, len(KNOTS), CLASSES, TAPS
        weights, saved = np.zeros(shape, np.int16), np.zeros(shape[:2])
        for place in np.ndindex(PLANES, GROUPS):
            a, b = self.squares[place], self.moments[place]
            ridge = _RIDGE * np.trace(a) / len(a) + 1e-12
            found = np.linalg.solve(a + ridge * np.eye(len(a)), b).reshape(shape[2:])
            weights[place] = np.rint(START_UNIT * bounded(found))
            used = weights[place].reshape(-1) / START_UNIT
            saved[place] = used @ (2 * b - a @ used)
        return weights, saved


def fit_filters(
    model: Model,
    clips: Sequence[Sequence[Planes]],
    qualities: Sequence[int],
    rounds: int = 2,
    log: Callable[[str], None] = print,
) -> Model:
    """The model with filters that are fitted to `clips` (each a list of pictures, 8-bit), of which
    clip i is coded at qualities[i % len(qualities)]; its id and hash are placeholders."""
    model = dataclasses.replace(model, filter_start=None)
    for number in range(rounds):
        equations = Equations()
        for i, clip in enumerate(clips):
            height, width = clip[0][0].shape
            settings = CodecSettings(quality=qualities[i % len(qualities)])
            encoder = ChunkEncoder(model, width, height, 8, settings, on_picture=equations.add)
            for start in range(0, len(clip), CHUNK_FRAMES):
                encoder.encode(clip[start : start + CHUNK_FRAMES], start == 0)
        filters, saved = equations.solved()
        model = dataclasses.replace(model, filter_start=filters)
        parts = 100 * saved.sum(1) / max(1, equations.pictures)
        log(
            f"round {number + 1}: {equations.pictures} pictures, squared error "
            f"{-parts[0]:+.2f} % (luma) and {-parts[1]:+.2f} % (chroma)"
        )
    return model
