"""What a decoder says of damage, where it shows a picture all the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import av
import av.logging
from av.error import FFmpegError

from stcodec.common.values import PathLike
from stcodec.media.packets import reason

_STRICTER = {"vp9": "libvpx-vp9"}
"""Decoders that FFmpeg does not use by itself, and that refuse more: FFmpeg's own takes what is
missing at the end of a tile for zeros."""


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


def second_opinion(source: PathLike, stream: int, decoder: str) -> str | None:
    """What a stricter decoder than this one says of a stream of a file, where there is one; None
    where it refuses nothing."""
    name = _STRICTER.get(decoder, "")
    if name not in av.codecs_available:
        return None
    with av.open(f"file:{os.fspath(source)}") as container:
        stricter: Any = av.CodecContext.create(name, "r")
        try:
            for packet in container.demux(container.streams[stream]):
                stricter.decode(packet)
        except EOFError:
            pass
        except FFmpegError as error:
            return reason(error)
    return None
