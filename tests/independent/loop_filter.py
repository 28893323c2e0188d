"""The adaptive loop filter of docs/format.md."""

from __future__ import annotations

import math

import numpy as np

from .container import require
from .entropy import Reader
from .model import Model

_TAPS = [(y, x) for y in range(4) for x in range(-3, 4) if abs(y) + abs(x) <= 3 and (y, x) > (0, 0)]
_CHANGE = [28] * 108
Change = np.ndarray | None


def read(reader: Reader, model: Model, kept: list[np.ndarray]) -> list[Change]:
    """What a frame adds to the weights of luma and of chroma; None: not filtered."""
    found: list[Change] = []
    for before in kept:
        how = int(reader.call(np.array([20]), model.tables)[0])
        require(-1 <= how <= 1, "state of a filter")
        change = before
        if how == -1:
            change = before + reader.call(np.array(_CHANGE), model.tables).reshape(3, 3, 12)
            require(int(np.abs(change).max()) <= 4096, "weights of a filter")
        found.append(None if how == 1 else change)
    return found


def weights(model: Model, planes: int, kind: int, quality: float, change: np.ndarray) -> np.ndarray:
    """Of one frame, [node, direction, tap]."""
    own = model["loop_filter.start"][planes, min(kind, 2)].reshape(3, 3, 3, 12)
    z = min(max((quality - 4) / 18, 0), 2)
    k = min(int(z), 1)
    return (own[k] * (1 - (z - k)) + own[k + 1] * (z - k)) / 256 + change / 64


def filtered(plane: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """A plane from 0 to 1, block by block."""
    rows, columns = plane.shape
    wide = np.pad(plane, 3, mode="edge")
    out = np.empty(plane.shape)
    for y in range(0, rows, 4):
        for x in range(0, columns, 4):
            block = wide[y : y + 10, x : x + 10]
            taps = _mixed(block, filters)
            own = block[3:7, 3:7]
            more = np.zeros((4, 4))
            for weight, (dy, dx) in zip(taps, _TAPS, strict=True):
                one = block[3 + dy : 7 + dy, 3 + dx : 7 + dx]
                other = block[3 - dy : 7 - dy, 3 - dx : 7 - dx]
                more += weight * (one + other - 2 * own)
            out[y : y + 4, x : x + 4] = own + more
    return np.clip(out, 0, 1)


def _mixed(block: np.ndarray, filters: np.ndarray) -> list[float]:
    """The weights of a block, which is given with three samples around it."""
    middle = block[2:8, 2:8]

    def size(dy: int, dx: int) -> float:
        one = block[2 + dy : 8 + dy, 2 + dx : 8 + dx]
        other = block[2 - dy : 8 - dy, 2 - dx : 8 - dx]
        return float(np.abs(2 * middle - one - other).sum()) * 255 / 36

    h, v, d, r = size(0, 1), size(1, 0), size(1, 1), size(1, -1)
    fraction, exponent = math.frexp(h + v + 0.25)
    z = min(max((exponent - 1 + 2 * fraction - 1 + 1) / 3, 0), 2)
    s = min(2 * abs(h - v) / (h + v + 0.1), 1)
    t = min(2 * abs(d - r) / (d + r + 0.1), 1)
    s, t = s / max(s + t, 1), t / max(s + t, 1)
    mixed = [0.0] * 12
    for node in range(3):
        near = max(1 - abs(z - node), 0)
        for tap, (dy, dx) in enumerate(_TAPS):
            straight = _number(dx, dy) if v > h else tap
            slanted = _number(dy, -dx) if r > d else tap
            own = filters[node]
            mixed[tap] += near * (1 - s - t) * own[0, tap]
            mixed[tap] += near * (s * own[1, straight] + t * own[2, slanted])
    return mixed


def _number(dy: int, dx: int) -> int:
    return _TAPS.index(max((dy, dx), (-dy, -dx)))
