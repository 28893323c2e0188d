"""Time stamps of decoded pictures, repaired: each later than the one before."""

from __future__ import annotations

from dataclasses import replace

from stcodec.common.values import Picture, Planes


class Increasing:
    """Gives time stamps that increase. nominal: the usual duration of a picture, in units of the
    time base. `repaired`: whether one did not increase."""

    def __init__(self, nominal: int) -> None:
        self.nominal, self.repaired = nominal, False
        self._last: tuple[int, int] | None = None

    def next(self, pts: int | None, duration: int | None) -> int:
        """The pts of the next picture, by what is said of it."""
        if pts is None:
            pts = 0 if self._last is None else self._last[0] + self.nominal
        if self._last is not None and pts <= self._last[0]:
            pts = self._last[0] + max(1, min(self.nominal, self._last[1]))
            self.repaired = True
        self._last = pts, duration or self.nominal
        return pts


class TimeRepair:
    """Gives pictures strictly increasing pts, and each a duration that ends where the next begins.

    nominal: the usual duration of a picture, in units of the time base. `end`: when the last
    picture that was given out ends, None before that.
    """

    def __init__(self, nominal: int) -> None:
        self._times = Increasing(nominal)
        self._waiting: Picture | None = None
        self.end: int | None = None

    @property
    def repaired(self) -> bool:
        """Whether a time stamp did not increase."""
        return self._times.repaired

    def add(self, planes: Planes, pts: int | None, duration: int | None) -> Picture | None:
        """Take the next picture; gives out the one before it, whose duration is known now."""
        before = self._waiting
        pts = self._times.next(pts, duration)
        self._waiting = Picture(planes, pts, duration or self._times.nominal)
        return None if before is None else self._given(replace(before, duration=pts - before.pts))

    def finish(self) -> Picture | None:
        """The last picture; None where there was none."""
        last, self._waiting = self._waiting, None
        return None if last is None else self._given(last)

    def _given(self, picture: Picture) -> Picture:
        self.end = picture.pts + picture.duration
        return picture
