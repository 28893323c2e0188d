"""Which patches of a frame are exact, as docs/format.md has it."""

from __future__ import annotations

import numpy as np

from .motion import Field
from .prediction import Planes
from .samples import Samples


class Exact:
    """Palette patches and kept patches of a frame, marks [R, Q], and their samples."""

    def __init__(self, kind: int, magnitudes: np.ndarray, patch: tuple[int, int]) -> None:
        self.kind, self.magnitudes = kind, magnitudes
        h, w = patch
        self.sizes = [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
        self.coded = np.zeros(magnitudes.shape[:2], bool)
        self.kept = np.zeros_like(self.coded)
        self.planes: Planes = [enlarged(self.coded, *size) * 0.0 for size in self.sizes]

    @property
    def marks(self) -> np.ndarray:
        """All that are exact."""
        return self.coded | self.kept

    def code(self, samples: Samples) -> None:
        """Take palette patches."""
        self.coded = samples.marks > 0
        self.planes = [plane / ((1 << samples.bits) - 1) for plane in samples.planes]

    def keep(
        self, field: Field, references: tuple[np.ndarray | None, np.ndarray | None], own: Planes
    ) -> None:
        """Take kept patches, after palette patches. references: marks of each; own: the
        prediction of the frame."""
        if 1 <= self.kind <= 3:
            copied = copies(field, references, *self.sizes[0])
            self.kept = copied & ~self.coded & ~self.magnitudes.any(2)
            self.planes = self._where(self.kept, [np.clip(p, 0, 1) for p in own], self.planes)

    def put(self, planes: Planes) -> Planes:
        """Planes with the samples of what is exact."""
        return self._where(self.marks, self.planes, planes)

    def _where(self, marks: np.ndarray, planes: Planes, others: Planes) -> Planes:
        parts = zip(planes, others, self.sizes, strict=True)
        return [np.where(enlarged(marks, *size), a, b) for a, b, size in parts]


def enlarged(marks: np.ndarray, h: int, w: int) -> np.ndarray:
    """Marks of samples, of those of patches of h x w."""
    found: np.ndarray = np.kron(marks, np.ones((h, w), np.int64)) > 0
    return found


def copies(
    field: Field, references: tuple[np.ndarray | None, np.ndarray | None], h: int, w: int
) -> np.ndarray:
    """Which patches [R, Q] are copies; references: exact patches of each."""
    samples = [None if r is None else enlarged(r, h, w) for r in references]
    rows, columns = field.vectors.shape[2:]
    found = np.zeros((8 * rows, 8 * columns), bool)
    for r, c in np.ndindex(rows, columns):
        mode = field.modes[r // 2, c // 2]
        copied = True
        for side, known in enumerate(samples):
            if mode == 2 - side:
                continue
            assert known is not None
            dy, dx = (int(v) for v in field.vectors[side, :, r, c])
            y = np.clip(8 * r + dy // 4 + np.arange(8), 0, 8 * rows - 1)
            x = np.clip(8 * c + dx // 4 + np.arange(8), 0, 8 * columns - 1)
            copied &= dy % 4 == 0 and dx % 4 == 0 and bool(known[np.ix_(y, x)].all())
        found[8 * r : 8 * r + 8, 8 * c : 8 * c + 8] = copied
    patches: np.ndarray = found.reshape(8 * rows // h, h, 8 * columns // w, w).all((1, 3))
    return patches
