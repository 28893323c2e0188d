"""The lifting tree of a chunk: which frames are predicted from which, and in what order.

A chunk is a tree of predict-only lifting steps (Sweldens 1996; motion-compensated: Secker and
Taubman 2001): every frame but the root is replaced by its difference from a prediction out of
frames that are inverted before it, so the inverse is exact whatever the vectors are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stcodec.codec.compensation import predict
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames


@dataclass(frozen=True)
class Step:
    """Frames (0..7) that are coded together, and the two references of each: a frame, -1 = the last
    one of the chunk before, None = there is none. level 0 = key, 3 = leaf."""

    frames: tuple[int, ...]
    references: tuple[tuple[int | None, int | None], ...]
    level: int

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


def lift(
    frames: Mapping[int, Frames], tree: Sequence[Step], motion: Sequence[Fields | None]
) -> dict[int, Frames]:
    """Forward lifting: frames by number (batch size 1 each) -> bands: the root as it is, every
    other frame minus its prediction. `motion` holds the Fields of each step, None for a step
    without references. Inverse: `unlift`."""
    bands: dict[int, Frames] = {}
    for step, fields in zip(tree, motion, strict=True):
        for i, frame in enumerate(step.frames):
            bands[frame] = frames[frame]
            if fields is not None:
                predicted = _of_step(frames, step, fields, i)
                bands[frame] = Frames(
                    *(a - b for a, b in zip(frames[frame], predicted, strict=True))
                )
    return bands


def unlift(
    bands: Mapping[int, Frames],
    tree: Sequence[Step],
    motion: Sequence[Fields | None],
    before: Frames | None,
) -> dict[int, Frames]:
    """Bands -> frames, coarse to fine; `before` is frame -1, if there is one."""
    frames: dict[int, Frames] = {} if before is None else {-1: before}
    for step, fields in zip(tree, motion, strict=True):
        for i, frame in enumerate(step.frames):
            frames[frame] = bands[frame]
            if fields is not None:
                predicted = _of_step(frames, step, fields, i)
                frames[frame] = Frames(
                    *(a + b for a, b in zip(bands[frame], predicted, strict=True))
                )
    return frames


def _of_step(frames: Mapping[int, Frames], step: Step, fields: Fields, i: int) -> Frames:
    first, second = (None if r is None else frames[r] for r in step.references[i])
    return predict([first], [second], Fields(fields.vectors[i : i + 1], fields.modes[i : i + 1]))
