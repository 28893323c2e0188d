"""Time stamps of decoded pictures, repaired: each later than the one before."""

from __future__ import annotations

from dataclasses import replace

from stcodec.common.values import Picture, Planes


class TimeRepair:
    """Gives pictures strictly increasing pts, and each a duration that ends where the next begins.

    nominal: the usual duration of a picture, in units of the time base. `repaired`: whether a time
    stamp did not increase; `end`: when the last picture that was given out ends, None before that.
    """

    def __init__(self, nominal: int) -> None:
        self._nominal = nominal
        self._waiting: Picture | None = None
        self.repaired = False
        self.end: int | None = None

    def add(self, planes: Planes, pts: int | None, duration: int | None) -> Picture | None:
        """Take the next picture; gives out the one before it, whose duration is known now."""
        before = self._waiting
        if pts is None:
            pts = 0 if before is None else before.pts + self._nominal
        if before is not None and pts <= before.pts:
            pts = before.pts + max(1, min(self._nominal, before.duration))
            self.repaired = True
        self._waiting = Picture(planes, pts, duration or self._nominal)
        return None if before is None else self._given(replace(before, duration=pts - before.pts))

    def finish(self) -> Picture | None:
        """The last picture; None where there was none."""
        last, self._waiting = self._waiting, None
        return None if last is None else self._given(last)

    def _given(self, picture: Picture) -> Picture:
        self.end = picture.pts + picture.duration
        return picture
