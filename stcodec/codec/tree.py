"""The lifting tree of a chunk: which frames are predicted from which, and in what order.

A chunk is a tree of predict-only lifting steps (Sweldens 1996; motion-compensated: Secker and
Taubman 2001): every frame but the root is replaced by its difference from a prediction out of
frames that are inverted before it, so the inverse is exact whatever the vectors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

INTRA, KEY = 0, 1
LEVELS = 4
"""Levels of a tree of 8 frames; one of 16 has one more, at its coarse end."""


@dataclass(frozen=True)
class Step:
    """Frames (0..15) that are coded together, and the two references of each: a frame, -1 = the
    last one of the chunk before, None = there is none.

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


def _keys(*frames: int) -> tuple[Step, ...]:
    """Key frames, each predicted from the one before."""
    before = (-1, *frames)
    return tuple(Step((f,), ((b, None),), 0, KEY) for f, b in zip(frames, before, strict=False))


_LEAVES, _MIDDLE = _between((0, 2, 4, 6), 1, 3, 4), _between((1, 5), 2, 2, 3)
TREES: tuple[tuple[Step, ...], ...] = (
    (*_keys(7), _between((3,), 4, 1, 2), _MIDDLE, _LEAVES),
    (*_keys(3, 7), _MIDDLE, _LEAVES),
    (*_keys(1, 3, 5, 7), _LEAVES),
    (
        *_keys(15),
        _between((7,), 8, 1, 2),
        _between((3, 11), 4, 2, 2, -2),
        _between((1, 5, 9, 13), 2, 3, 3),
        _between((0, 2, 4, 6, 8, 10, 12, 14), 1, 4, 4),
    ),
)


CASCADES = (
    (0, 0, 0, 0, 0),
    (1, 1, -1, -1, -1),
    (2, 2, -1, -2, -3),
    (2, 2, -2, -4, -6),
    (3, 3, -2, -5, -8),
)
"""What may be added to the quality of each kind of frame in a chunk: the longer a scene stays as it
is, the longer key frames last."""
QUICK_TREES = (1, 2)
"""Trees with more than one key frame."""
LONG_TREE = 3
"""The tree of two chunks in one."""
LONGEST = 16
"""Frames of the longest tree."""


def tree_length(tree: int) -> int:
    """Frames of a tree: 8 or 16."""
    return sum(len(step.frames) for step in TREES[tree])


def tree_steps(tree: int, first: bool) -> tuple[Step, ...]:
    """The steps of a tree; at the first chunk of a segment there is no frame -1."""
    if not first:
        return TREES[tree]

    def drop(pair: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
        return (None if pair[0] == -1 else pair[0], pair[1])

    return tuple(replace(s, references=tuple(drop(p) for p in s.references)) for s in TREES[tree])
