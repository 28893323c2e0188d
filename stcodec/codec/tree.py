"""The lifting tree of a chunk: which frames are predicted from which, and in what order.

A chunk is a tree of predict-only lifting steps (Sweldens 1996; motion-compensated: Secker and
Taubman 2001): every frame but the root is replaced by its difference from a prediction out of
frames that are inverted before it, so the inverse is exact whatever the vectors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

INTRA, KEY, LEAF = 0, 1, 4
"""Kinds of frames; those between KEY and LEAF are predicted, and predicted from."""
LEVELS = 4
"""Levels of a tree of 8 frames; one of 16 has one more, at its coarse end."""
BEFORE, EARLIER = -1, -9
"""References outside a chunk: the last frame of the chunk before, and that of the one before that,
which is taken to lie 8 frames before it, however long the chunk between was."""


@dataclass(frozen=True)
class Step:
    """Frames (0..15) that are coded together, and the two references of each: a frame, BEFORE,
    EARLIER, None = there is none.

    level 0 = key, the last one = leaves; on a frame of a level only those of later ones depend, and
    key frames on each other. of_kind 1..4: the kind of its frames where any is predicted. finer:
    what is added to the quality that its kind gives it."""

    frames: tuple[int, ...]
    references: tuple[tuple[int | None, int | None], ...]
    level: int
    of_kind: int
    finer: int = 0

    @property
    def predicted(self) -> bool:
        """Whether any frame of the step has a reference."""
        return any(r is not None for pair in self.references for r in pair)

    @property
    def kind(self) -> int:
        """The kind of its frames: INTRA (0) without references, KEY (1), 2..4 two-sided ones."""
        return self.of_kind if self.predicted else INTRA

    @staticmethod
    def join(steps: Sequence[Step]) -> Step:
        """The frames of steps of one level, as one step."""
        frames = tuple(frame for step in steps for frame in step.frames)
        references = tuple(pair for step in steps for pair in step.references)
        return replace(steps[0], frames=frames, references=references)

    def singles(self) -> tuple[Step, ...]:
        """One step per frame."""
        pairs = zip(self.frames, self.references, strict=True)
        return tuple(replace(self, frames=(f,), references=(r,)) for f, r in pairs)


def _between(frames: tuple[int, ...], reach: int, level: int, kind: int, finer: int = 0) -> Step:
    """Frames in the middle between two others."""
    pairs = tuple((f - reach, f + reach) for f in frames)
    return Step(frames, pairs, level, kind, finer)


def _keys(*frames: int, both: bool) -> tuple[Step, ...]:
    """Key frames, each predicted from the one before, or from `both` that come before it."""
    keys = (EARLIER, BEFORE, *frames)
    pairs = zip(keys[1:], keys if both else [None] * len(keys), strict=False)
    return tuple(Step((f,), (pair,), 0, KEY) for f, pair in zip(frames, pairs, strict=False))


_LEAVES, _MIDDLE = _between((0, 2, 4, 6), 1, 3, 4), _between((1, 5), 2, 2, 3)


def _trees(both: bool) -> tuple[tuple[Step, ...], ...]:
    """Trees of all shapes, with one reference of key frames or `both`."""
    return (
        (*_keys(7, both=both), _between((3,), 4, 1, 2), _MIDDLE, _LEAVES),
        (*_keys(3, 7, both=both), _MIDDLE, _LEAVES),
        (*_keys(1, 3, 5, 7, both=both), _LEAVES),
        (
            *_keys(15, both=both),
            _between((7,), 8, 1, 2),
            _between((3, 11), 4, 2, 2, -2),
            _between((1, 5, 9, 13), 2, 3, 3),
            _between((0, 2, 4, 6, 8, 10, 12, 14), 1, 4, 4),
        ),
    )


TREES = _trees(False) + _trees(True)
SHAPES = len(TREES) // 2
"""Tree number n + SHAPES is tree n, but that its key frames have two references."""


CASCADES = (
    (0, 0, 0, 0, 0),
    (1, 1, -1, -1, -1),
    (2, 2, -1, -2, -3),
    (2, 2, -2, -4, -6),
    (3, 3, -2, -5, -8),
    (0, -8, -2, 0, 0),
)
"""What may be added to the quality of each kind of frame in a chunk: the longer a scene stays as it
is, the longer key frames last. The last one is for the end of a segment, where none does."""
QUICK_SHAPES = (1, 2)
"""Trees with more than one key frame, as are those with SHAPES more."""
LONG_SHAPE = 3
"""The tree of two chunks in one, as is that with SHAPES more."""
LONGEST = 16
"""Frames of the longest tree."""


def tree_length(tree: int) -> int:
    """Frames of a tree: 8 or 16."""
    return sum(len(step.frames) for step in TREES[tree])


def tree_steps(tree: int, before: int) -> tuple[Step, ...]:
    """The steps of a tree of a chunk before which its segment has so many others: the first lacks
    frame BEFORE, and the second has no EARLIER one."""
    missing = (EARLIER, BEFORE)[: max(0, 2 - before)]

    def there(pair: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
        a, b = (None if r in missing else r for r in pair)
        return a, b

    steps = TREES[tree]
    return tuple(replace(s, references=tuple(there(p) for p in s.references)) for s in steps)
