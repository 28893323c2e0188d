"""What an encode will come to, by what it has come to so far."""

from __future__ import annotations

from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.common.values import Progress
from stcodec.encoder.tuning import MAX_SEGMENT

# Pictures that say enough, and by how much the output must be larger to be worth a word.
_ENOUGH = 40
_MARGIN = 1.05


class Forecast:
    """Says once, as early as it can be known, that an output will be larger than its input.

    A segment begins with a picture that takes many times what others take, so that the first chunk
    counts once for each segment to come, and only the others say how it goes on.
    """

    def __init__(self, input_bytes: int | None, quality: int) -> None:
        self._input, self._quality = input_bytes, quality
        self._first: Progress | None = None
        self._said = False

    def expected(self, now: Progress) -> int | None:
        """Bytes of the whole output; None while too little is known."""
        if self._first is None or now.frames < self._first.frames:
            self._first = now
        done = now.frames - self._first.frames
        if now.total is None or done < _ENOUGH - CHUNK_FRAMES:
            return None
        each = (now.written - self._first.written) / done
        start = max(0.0, self._first.written - each * self._first.frames)
        return round(each * now.total + start * max(1.0, now.total / MAX_SEGMENT))

    def hear(self, now: Progress) -> str | None:
        """A line for a user, where one is due."""
        expected = self.expected(now)
        if self._said or self._input is None or expected is None or now.frames == now.total:
            return None
        if expected <= _MARGIN * self._input:
            return None
        self._said = True
        return (
            f"the output will be larger than the input: about {expected} bytes, not "
            f"{self._input}, by {now.frames} of {now.total} pictures. "
            f"A quality below {self._quality} (-q), or --target-size, makes it smaller; "
            "--no-larger ends an encode that grows"
        )
