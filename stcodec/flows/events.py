"""Ranges of time in which something happens, found in what `activity` sees.

Each cell of the picture has its own normal: noise, a tree in the wind. What goes far beyond it, in
a few cells and not in the whole picture (a lamp, a camera that shakes), is an event.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stcodec.common.values import PathLike
from stcodec.flows.activity import CELL, Look, Moment, moments

KINDS = (1, 2)
_WINDOW = 128
"""Moments that are judged together, with as many before them: about 40 seconds at 25 pictures a
second."""
_FEWEST, _RENEWED = 24, 16
"""Where moments are judged as they come: how many must be known, and how often what is normal is
found again."""
_LOW, _MIDDLE, _LEAST = 30, 50, 10
"""Percentiles over time of a cell's activity: what counts as quiet, and what spreads around it. A
cell may be busy for more than half of the time."""
_RARE = 98
"""The same where recordings were learned from: what happens more rarely is not normal."""
_STEADY_WAY = 0.7
"""Cosine of an angle: how steadily things go one way, and how far from its opposite another is."""
_FLOOR = 0.5
"""Octaves that the activity of any cell varies by."""
_FEW, SLOW = 4.0, 0.5
"""Energy of a cell and its motion in samples per frame that may come from noise."""
_STEADY = 0.25
"""Luma samples that the picture of a camera at rest may move by, as vectors see it."""
_COMMON = 90
"""The percentile over all cells and moments of what lies beyond the quiet: most of the time nothing
happens in most cells, so that up to there it is noise."""
_SURE, _LIKELY = 4.0, 2.5
"""Spreads beyond the quiet that begin a region, and that belong to one."""
_OCTAVES = 1.5
"""Octaves beyond the quiet that a region begins with, at least."""
_MOST_CELLS = 0.4
"""Share of the picture beyond which a change is one of light or camera, and no event."""
_STRENGTH = 6.0
"""Octaves, summed over cells, that make an event."""


@dataclass(frozen=True)
class Normal:
    """What is normal in each cell, by kind of frame: `quiet` and `spread`, float32 [rows, columns],
    in octaves. way: float32 [2, rows, columns], which way things move (dy, dx; a unit vector, or 0
    where nothing does or they go all ways); None: not known."""

    quiet: dict[int, np.ndarray]
    spread: dict[int, np.ndarray]
    way: np.ndarray | None = None


@dataclass(frozen=True)
class Activity:
    """How much more than normal happens in a moment: `strength` in octaves, summed over cells; box
    (x, y, width, height) in cells, None where there is nothing; picture: the number of the one that
    shows it best, at `time`."""

    start: float
    end: float
    strength: float
    box: tuple[int, int, int, int] | None
    picture: int
    time: float


@dataclass(frozen=True)
class Event:
    """Something that happens from `start` to `end` (seconds after the first picture). strength: the
    largest of its moments; box (x, y, width, height) in luma samples around all that moved; peak:
    seconds, and peak_frame the number of that picture."""

    start: float
    end: float
    strength: float
    box: tuple[int, int, int, int]
    peak: float
    peak_frame: int


def amount(look: Look) -> np.ndarray:
    """Activity of cells in octaves: of what symbols add, and of motion."""
    return np.log2(1 + look.energy / _FEW) + np.log2(1 + look.speed / SLOW)


def normal(moments: Iterable[Moment]) -> Normal:
    """What is normal around these moments."""
    amounts: dict[int, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for moment in moments:
        for look in moment.looks:
            amounts[look.kind].append(amount(look))
    return normal_of({kind: np.stack(seen) for kind, seen in amounts.items() if seen})


def normal_of(amounts: Mapping[int, np.ndarray], motion: np.ndarray | None = None) -> Normal:
    """What is normal, from activity [n, rows, columns] by kind of frame.

    motion: float [3, rows, columns], sums of dy, dx and speed in recordings that were learned from.
    Then what happens now and then is normal, too.
    """
    quiet, spread = {}, {}
    for kind, seen in amounts.items():
        marks = _LEAST, _LOW, _MIDDLE, _RARE
        least, low, middle, rare = np.percentile(seen.astype(np.float32), marks, axis=0)
        common = max(_FLOOR, float(np.percentile(seen - low, _COMMON)))
        widest = [middle - least, np.full_like(low, common)]
        if motion is not None:
            widest.append(_near((rare - low) / _LIKELY).max(axis=(0, 1)))
        quiet[kind] = low.astype(np.float32)
        spread[kind] = np.max(widest, axis=0).astype(np.float32)
    way = None
    if motion is not None:
        motion = np.stack([_near(one).sum(axis=(0, 1)) for one in motion])
        length = np.hypot(motion[0], motion[1])
        steady = length > _STEADY_WAY * np.maximum(motion[2], 4 * SLOW)
        way = (motion[:2] * steady / np.maximum(length, SLOW)).astype(np.float32)
    return Normal(quiet, spread, way)


def _near(cells: np.ndarray) -> np.ndarray:
    """What is up to two cells away from each cell: [5, 5, rows, columns]. Two frames of eight are
    looked at: what moves fast is seen in some cells of its way only."""
    rows, columns = cells.shape
    padded = np.pad(cells, 2)
    return np.array([[padded[y : y + rows, x : x + columns] for x in range(5)] for y in range(5)])


def activity(moment: Moment, usual: Normal) -> Activity:
    """How much of what is seen in a moment is not normal."""
    picture, strength, region = moment.first, 0.0, np.zeros((1, 1), bool)
    for look in moment.looks:
        if look.kind not in usual.quiet:
            continue
        above = amount(look) - usual.quiet[look.kind]
        _hide_border(above, look.camera)
        found = _region(above, usual.spread[look.kind], _against(look, usual.way))
        region = region | found
        if (here := float(above[found].sum())) > strength:
            picture, strength = moment.first + look.place, here
    box = None
    if region.any():
        y, x = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        box = int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)
    time = moment.times[picture - moment.first]
    return Activity(moment.start, moment.end, strength, box, picture, time)


def _hide_border(above: np.ndarray, camera: float) -> None:
    """What a camera that moves by so many samples brings into the picture is new, and no event."""
    ring = int(np.ceil(camera / CELL)) if camera >= _STEADY else 0
    if ring:
        inside = above[ring:-ring, ring:-ring].copy()
        above[:] = 0
        above[ring:-ring, ring:-ring] = inside


def _against(look: Look, way: np.ndarray | None) -> np.ndarray | None:
    """Cells, bool [rows, columns], in which something moves against the way that is normal there;
    two of them side by side at least."""
    if way is None:
        return None
    along = look.dy * way[0] + look.dx * way[1]
    cells = (look.speed > SLOW) & (along < -_STEADY_WAY * look.speed)
    return cells & _around(cells)


def _region(above: np.ndarray, spread: np.ndarray, against: np.ndarray | None) -> np.ndarray:
    """Cells, bool [rows, columns], in which far more than normal happens, or which are `against`
    it, with those around them in which more does; none where that is so nearly everywhere."""
    # What the whole picture has in common is light or the camera's motion.
    common = np.median(above)
    above = above - max(common, 0.0)
    deviation = 1.5 * np.median(np.abs(above - np.median(above)))
    score = above / np.maximum(spread, deviation)
    likely = (score > _LIKELY) & (above > _OCTAVES / 2)
    region = (score > _SURE) & (above > _OCTAVES)
    if against is not None:
        region |= against & (above > _OCTAVES)
    while True:
        grown = _around(region) & likely | region
        if (grown == region).all():
            break
        region = grown
    if region.mean() > _MOST_CELLS:
        return np.zeros_like(region)
    alone = region & (_neighbours(region) == 0)
    return region & ~(alone & (above < 2 * _OCTAVES))


def _around(cells: np.ndarray) -> np.ndarray:
    return _neighbours(cells) > 0


def _neighbours(cells: np.ndarray) -> np.ndarray:
    """How many of the eight cells around each are true."""
    padded = np.pad(cells.astype(np.int8), 1)
    rows, columns = cells.shape
    total = sum(
        padded[y : y + rows, x : x + columns]
        for y in range(3)
        for x in range(3)
        if (y, x) != (1, 1)
    )
    return np.asarray(total)


def find(
    path: PathLike,
    gap: float = 1.0,
    threads: int = 0,
    max_pixels: int | None = None,
    usual: Callable[[Moment], Normal] | None = None,
) -> Iterator[Activity | Event]:
    """The activity of all moments of a `.stp` file in order, and each event once it is over.

    gap: seconds of quiet that end an event; usual: what is normal in a moment (see `camera`); None
    takes it from the moments around. Errors as `activity.moments`.
    """
    with contextlib.closing(moments(path, threads, max_pixels)) as seen:
        yield from _with_events(_judged(seen, usual), gap)


def _judged(seen: Iterable[Moment], usual: Callable[[Moment], Normal] | None) -> Iterator[Activity]:
    """Each moment against what is normal; where that is not known, in its window and the one
    before, which bounds memory."""
    if usual is not None:
        yield from (activity(moment, usual(moment)) for moment in seen)
        return
    source, before = iter(seen), list[Moment]()
    while window := list(itertools.islice(source, _WINDOW)):
        known = normal([*before, *window])
        yield from (activity(moment, known) for moment in window)
        before = window


class Lately:
    """Judges moments as they come, by what was normal in those just before. It takes a few until
    that is known; then they are all judged."""

    def __init__(self) -> None:
        self._seen: deque[Moment] = deque(maxlen=2 * _WINDOW)
        self._usual: Normal | None = None
        self._count = 0

    @property
    def knows(self) -> bool:
        """Whether it is known what is normal."""
        return self._usual is not None

    def judge(self, moment: Moment) -> list[Activity]:
        """The activity of this moment, or of all up to here, or none yet."""
        self._seen.append(moment)
        self._count += 1
        if self._usual is None:
            if self._count < _FEWEST:
                return []
            self._usual = normal(self._seen)
            return [activity(one, self._usual) for one in self._seen]
        if self._count % _RENEWED == 0:
            self._usual = normal(self._seen)
        return [activity(moment, self._usual)]


def _with_events(seen: Iterable[Activity], gap: float) -> Iterator[Activity | Event]:
    """Moments in which something happens put together, where at most `gap` seconds are between
    them."""
    happening = Happening(gap)
    for one in seen:
        if (event := happening.add(one)) is not None:
            yield event
        yield one
    if (event := happening.end()) is not None:
        yield event


class Happening:
    """What is happening, moment by moment. gap: seconds of quiet that end an event."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._group: list[Activity] = []

    @property
    def now(self) -> Event | None:
        """The event that is not over yet, as far as it has been seen."""
        return _event(self._group) if self._group else None

    def add(self, one: Activity) -> Event | None:
        """The event that was over before this moment, if it shows that."""
        over = None
        if self._group and one.start - self._group[-1].end > self._gap:
            over = self.end()
        if one.box is not None and one.strength >= _STRENGTH:
            self._group.append(one)
        return over

    def end(self) -> Event | None:
        """No more moments come: the event that was not over."""
        event, self._group = self.now, []
        return event


def _event(group: Sequence[Activity]) -> Event:
    boxes = [one.box for one in group if one.box is not None]
    left, top = (min(b[i] for b in boxes) for i in (0, 1))
    right, bottom = (max(b[i] + b[i + 2] for b in boxes) for i in (0, 1))
    peak = max(group, key=lambda one: one.strength)
    box = (left * CELL, top * CELL, (right - left) * CELL, (bottom - top) * CELL)
    return Event(group[0].start, group[-1].end, peak.strength, box, peak.time, peak.picture)
