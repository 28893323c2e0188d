"""A file whose writer was killed, or whose disk is full, made complete: what is whole of it stays
where it is, and gets an index and a footer."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO

from stcodec.common.files import named
from stcodec.common.values import Packet, PathLike
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader, Writer
from stcodec.errors import DamagedFileError


class _Tail:
    """A stream whose bytes are there already, up to a moment; then it keeps them."""

    def __init__(self) -> None:
        self.begun, self.data = False, b""

    def write(self, data: bytes) -> int:
        self.data += data if self.begun else b""
        return len(data)


def finish(path: PathLike) -> int:
    """Complete a file in its place; how many pictures it has then. What is not whole at its end is
    cut off; where the disk has no room for the index, so is what comes before that.

    DamagedFileError where it is damaged before its end, or no `.stp` file; OSError.
    """
    with open(path, "rb") as stream, named(path):
        items = _whole(stream)
        while True:
            offset, tail, frames = _end(stream, items)
            try:
                _write(path, offset, tail)
                return frames
            except OSError:
                if not items:
                    raise
                items -= 1


def _write(path: PathLike, offset: int, tail: bytes) -> None:
    """Replace what comes after `offset`. OSError where not all of it can be written."""
    # Without a buffer: what the disk refuses would be tried again by whatever is done next.
    with open(path, "r+b", buffering=0) as raw:
        raw.truncate(offset)
        raw.seek(offset)
        if raw.write(tail) != len(tail):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(raw.fileno())


def _whole(stream: BinaryIO) -> int:
    """How many chunks and packets are whole. DamagedFileError where more follows upon what is
    not, other than zeros: what a loss of power leaves of blocks that were not written yet."""
    reader, items = Reader(stream), 0
    try:
        for _ in reader:
            items += 1
    except DamagedFileError:
        while block := stream.read(1 << 20):
            if block.strip(b"\0"):
                raise
    return items


def _end(stream: BinaryIO, items: int) -> tuple[int, bytes, int]:
    """Where a file of so many chunks and packets ends, what follows there, and how many pictures
    they are."""
    stream.seek(0)
    reader, tail = Reader(stream), _Tail()
    writer = Writer(
        tail,  # type: ignore[arg-type]
        reader.header,
        reader.streams,
        reader.metadata,
        reader.blobs,
    )
    if writer.offset != reader.first_packet:
        raise DamagedFileError("was written by another version of stcodec")
    frames, left = 0, iter(reader)
    for _ in range(items):
        item = next(left)
        if isinstance(item, Packet):
            writer.write_packet(item)
        else:
            assert isinstance(item, VideoChunk)
            writer.write_chunk(item)
            frames += len(item.pts)
    offset, tail.begun = writer.offset, True
    writer.close()
    return offset, tail.data, frames
