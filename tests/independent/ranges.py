"""The adaptive range decoder of docs/format.md."""

from __future__ import annotations

import numpy as np

from .container import require

SETS, CONTEXTS = 4, 211


class Contexts:
    """Probabilities of a 1 and how much is known of each, set by set: those of a segment."""

    def __init__(self, probabilities: np.ndarray, trust: np.ndarray) -> None:
        require(probabilities.shape == trust.shape == (SETS, CONTEXTS), "contexts of motion")
        require(probabilities.min() >= 48 and probabilities.max() <= 65488, "probabilities")
        require(trust.min() >= 0 and trust.max() <= 96, "trust")
        self.p: list[list[int]] = probabilities.tolist()
        self.n: list[list[int]] = trust.tolist()


class RangeDecoder:
    """Divisions of a range, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at, self.range, self.code = 0, 0xFFFFFFFF, 0
        for _ in range(4):
            self.code = self.code * 256 + self.byte()
        require(self.code != 0xFFFFFFFF, "the first bytes of motion or samples")

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def divide(self, bound: int) -> int:
        one = self.code < bound
        if one:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 24:
            self.range *= 256
            self.code = self.code * 256 + self.byte()
        return int(one)

    def raw(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + self.divide(self.range >> 1)
        return value

    def finish(self) -> None:
        require(self.at >= len(self.data), "bytes of motion or samples are left")


class Decisions(RangeDecoder):
    """The decisions of the motion of a chunk."""

    def __init__(self, data: bytes, contexts: Contexts) -> None:
        super().__init__(data)
        self.contexts, self.set = contexts, 0

    def bit(self, context: int) -> int:
        p, n = self.contexts.p[self.set], self.contexts.n[self.set]
        value = self.divide((self.range >> 16) * p[context])
        moved = (((value << 16) - p[context]) * (131072 // (2 * n[context] + 3))) >> 16
        p[context] = min(max(p[context] + moved, 48), 65488)
        n[context] = min(n[context] + 1, 96)
        return value
