"""The lifting tree of a chunk: which frames are predicted from which, and in what order.

A chunk is a tree of predict-only lifting steps (Sweldens 1996; motion-compensated: Secker and
Taubman 2001): every frame but the root is replaced by its difference from a prediction out of
frames that are inverted before it, so the inverse is exact whatever the vectors are.
"""

from __future__ import annotations

from dataclasses import dataclass

INTRA, KEY = 0, 1
LEVELS = 4


@dataclass(frozen=True)
class Step:
    """Frames (0..7) that are coded together, and the two references of each: a frame, -1 = the last
    one of the chunk before, None = there is none. level 0 = key, 3 = leaf."""

    frames: tuple[int, ...]
    references: tuple[tuple[int | None, int | None], ...]
    level: int

    @property
    def predicted(self) -> bool:
        """Whether any frame of the step has a reference."""
        return any(r is not None for pair in self.references for r in pair)

    @property
    def kind(self) -> int:
        """The kind of its frames: INTRA (0) without references, KEY (1), 2..4 by level."""
        return self.level + 1 if self.predicted else INTRA

    def singles(self) -> tuple[Step, ...]:
        """One step per frame."""
        return tuple(
            Step((f,), (r,), self.level) for f, r in zip(self.frames, self.references, strict=True)
        )


_LEAVES = Step((0, 2, 4, 6), ((-1, 1), (1, 3), (3, 5), (5, 7)), 3)
_MIDDLE = Step((1, 5), ((-1, 3), (3, 7)), 2)
TREES: tuple[tuple[Step, ...], ...] = (
    (Step((7,), ((-1, None),), 0), Step((3,), ((-1, 7),), 1), _MIDDLE, _LEAVES),
    (Step((3,), ((-1, None),), 0), Step((7,), ((3, None),), 0), _MIDDLE, _LEAVES),
    (*(Step((f,), ((f - 2, None),), 0) for f in (1, 3, 5, 7)), _LEAVES),
)


def tree_steps(tree: int, first: bool) -> tuple[Step, ...]:
    """The steps of a tree; at the first chunk of a segment there is no frame -1."""
    if not first:
        return TREES[tree]

    def drop(pair: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
        return (None if pair[0] == -1 else pair[0], pair[1])

    return tuple(Step(s.frames, tuple(drop(p) for p in s.references), s.level) for s in TREES[tree])
