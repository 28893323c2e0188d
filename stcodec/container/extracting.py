"""Ranges of time cut out of a `.stp` file: whole segments, never decoded."""

from __future__ import annotations

from collections.abc import Sequence

from stcodec.container.joining import Split


class Extract(Split):
    """The parts of a `.stp` file that hold ranges of time: planned when it is made, written by
    `write`.

    ranges: start and end, in seconds after the first picture; a part has the segments that any of
    its range lies in, so that parts may overlap. `targets` and errors as those of `Split`, but that
    numbers begin with 1.
    """

    def __init__(self, source: str, pattern: str, ranges: Sequence[tuple[float, float]]) -> None:
        super().__init__(source, pattern, 1e-6)
        segments = self._pieces
        seconds = [float((piece.start - self._origin) * self._base) for piece in segments]
        ends = [*seconds[1:], float("inf")]
        self._pieces = []
        for start, end in ranges:
            inside = [
                segment
                for segment, a, b in zip(segments, seconds, ends, strict=True)
                if a < end and b > start
            ]
            self._pieces.append(self._joined(inside))
        self.targets = [pattern % number for number in range(1, len(self._pieces) + 1)]
