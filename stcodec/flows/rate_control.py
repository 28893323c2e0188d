"""How many bytes chunks will take at a quality, and the control of quality that spends a budget of
bytes on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

QUALITIES = 64
# Octaves of bytes per quality level, where only one quality has been measured or beyond those that
# have been.
_SLOPE = 0.1
# Levels by which control may leave the quality it set out with: a swing that can be seen costs more
# than a second pass.
_SWING = 4
# Chunks' worth of trust in the expectation against what the chunks so far have shown.
_TRUST = 8.0


@dataclass
class Rates:
    """What has been measured. chunks: (frames, starts a segment) of each chunk of the video; kinds:
    for chunks that start a segment (True) and others, quality -> bytes per frame; history: for each
    chunk, quality -> bytes."""

    chunks: list[tuple[int, bool]]
    kinds: dict[bool, dict[int, float]] = field(default_factory=lambda: {True: {}, False: {}})
    history: list[dict[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history = self.history or [{} for _ in self.chunks]

    def add_pass(self, qualities: Sequence[int], sizes: Sequence[int]) -> None:
        """Take the sizes (bytes) of all chunks, coded with these qualities."""
        for known, quality, size in zip(self.history, qualities, sizes, strict=True):
            known[quality] = float(size)

    def table(self) -> np.ndarray:
        """Expected bytes [chunks, 64] at each quality. Needs a pass, or a measurement of some
        kind."""
        per_kind = {}
        for first in (True, False):
            points = self.kinds[first] or self.kinds[not first]
            per_kind[first] = _curve(points) if points else np.ones(QUALITIES)
        rows = [
            _curve(known) if known else frames * per_kind[first]
            for known, (frames, first) in zip(self.history, self.chunks, strict=True)
        ]
        return np.array(rows)


def _curve(points: dict[int, float]) -> np.ndarray:
    """Bytes at qualities 0..63 from a few: the logarithm is linear in quality between them, and of
    a fixed slope beyond."""
    logs = {q: float(np.log2(max(1.0, size))) for q, size in sorted(points.items())}
    low, high = min(logs), max(logs)
    x = [low - QUALITIES, *logs, high + QUALITIES]
    y = [logs[low] - _SLOPE * QUALITIES, *logs.values(), logs[high] + _SLOPE * QUALITIES]
    return np.asarray(np.maximum.accumulate(2.0 ** np.interp(np.arange(QUALITIES), x, y)))


class Control:
    """Chooses the quality of chunk after chunk such that together they take `budget` bytes; `table`
    is that of `Rates`."""

    def __init__(self, table: np.ndarray, budget: float) -> None:
        self._table, self._budget = table, budget
        self._left = np.cumsum(table[::-1], axis=0)[::-1]
        self.qualities: list[int] = []
        self.sizes: list[int] = []
        self._expected = 0.0
        self.start = round(self._solve(0, budget))

    def _solve(self, chunk: int, budget: float) -> float:
        """The quality, 0..63, at which the chunks from `chunk` on are expected to take `budget`
        bytes."""
        return float(np.interp(budget, self._left[chunk], np.arange(QUALITIES)))

    def choose(self) -> int:
        """The quality of the next chunk."""
        chunk, spent = len(self.sizes), sum(self.sizes)
        trusted = _TRUST * float(self._table[:, self.start].mean())
        drift = (spent + trusted) / (self._expected + trusted)
        wanted = round(self._solve(chunk, max(0.0, self._budget - spent) / drift))
        return max(0, self.start - _SWING, min(QUALITIES - 1, self.start + _SWING, wanted))

    def coded(self, quality: int, size: int) -> None:
        """Take the size (bytes) of the chunk that has just been coded with `quality`."""
        self._expected += float(self._table[len(self.sizes), quality])
        self.qualities.append(quality)
        self.sizes.append(size)
