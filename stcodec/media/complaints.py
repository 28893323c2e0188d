"""What a decoder says of damage, where it shows a picture all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import av.logging


@contextlib.contextmanager
def heard(decoder: str) -> Iterator[list[str]]:
    """Lines that the FFmpeg decoder of this name says of errors in the block, which are complete at
    its end. For decoders that work in the thread that calls them."""
    lines: list[str] = []
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said:
            yield lines
        lines += [line.strip() for level, name, line in said if name == decoder]
    finally:
        av.logging.set_level(before)
