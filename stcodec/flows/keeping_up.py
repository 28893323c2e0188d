"""What is given up so that coding keeps up with a source, and taken back once there is time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stcodec.codec.tree import LONGEST

_BEHIND, _ABREAST = 1.0, 0.25
"""Seconds that pictures wait: from where on something is given up, and below which it may be taken
back."""
_SETTLES = 3.0
"""Seconds until a change shows."""
_PATIENCE, _LONGEST_PATIENCE = 20.0, 600.0
"""Seconds without a wait before something is taken back; twice as many after each time that this
was too early."""
_SECONDS_BETWEEN_MEASURES = 1.0
_COARSER, _FEWER = (6, 12), (2, 4, 8)


@dataclass(frozen=True)
class Level:
    """How pictures are coded: effort and quality as of `encode`, and every `nth` one alone."""

    effort: int
    quality: int
    nth: int = 1

    def __str__(self) -> str:
        share = "" if self.nth == 1 else f", 1 of {self.nth} pictures"
        return f"effort {self.effort}, quality {self.quality}{share}"


def levels(effort: int, quality: int) -> list[Level]:
    """What was asked for, and what is faster, each level than the one before."""
    found = [Level(e, quality) for e in range(effort, -1, -1)]
    found += [Level(0, max(0, quality - less)) for less in _COARSER if quality]
    found += [replace(found[-1], nth=nth) for nth in _FEWER]
    return list(dict.fromkeys(found))


class KeepingUp:
    """Chooses among levels, by how long pictures have waited to be coded. `level`: the one that
    holds."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels, self._at = levels, 0
        self._changed: float | None = None
        self._calm: float | None = None
        self._patience, self._took_back = _PATIENCE, False
        self._before = 0.0

    @property
    def level(self) -> Level:
        """How pictures are to be coded."""
        return self._levels[self._at]

    def update(self, lag: float, now: float) -> Level | None:
        """The level that holds from now on, None if it is the one from before. lag: the least time
        in seconds that a picture has waited since the last call; now: a clock, in seconds."""
        grows, self._before = lag >= self._before, lag
        if self._changed is None:
            self._changed = now  # what has come while all began
        self._calm = None if lag >= _ABREAST else (now if self._calm is None else self._calm)
        if now - self._changed < _SETTLES:
            return None
        if lag >= _BEHIND and grows and self._at + 1 < len(self._levels):
            if self._took_back and now - self._changed < self._patience:
                self._patience = min(_LONGEST_PATIENCE, 2 * self._patience)
            return self._change(self._at + 1, now)
        if self._calm is not None and now - self._calm >= self._patience and self._at:
            return self._change(self._at - 1, now)
        return None

    def _change(self, to: int, now: float) -> Level:
        self._took_back = to < self._at
        self._at, self._changed, self._calm = to, now, None
        return self.level


class Meter:
    """How long pictures have waited, at least, in the time it takes to code a few."""

    def __init__(self, keeping: KeepingUp | None) -> None:
        self._keeping = keeping
        self._count, self._least, self._asked = 0, float("inf"), 0.0

    def picture(self, lag: float, now: float) -> tuple[Level, float] | None:
        """The next picture has waited so many seconds. The level that holds from now on, if another
        one does, and how long pictures had waited."""
        self._count, self._least = self._count + 1, min(self._least, lag)
        due = self._count >= LONGEST and now - self._asked >= _SECONDS_BETWEEN_MEASURES
        if self._keeping is None or not due:
            return None
        lag, self._count, self._least, self._asked = self._least, 0, float("inf"), now
        level = self._keeping.update(lag, now)
        return None if level is None else (level, lag)
