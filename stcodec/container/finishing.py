"""A file whose writer was killed, or whose disk is full, made complete: what is whole of it stays
where it is, and gets an index and a footer."""

from __future__ import annotations

import os
from typing import BinaryIO

from stcodec.common.files import named
from stcodec.common.values import Packet, PathLike
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader, Writer
from stcodec.errors import DamagedFileError


class _Elsewhere:
    """A stream whose bytes are there already, up to a moment."""

    def __init__(self) -> None:
        self.stream: BinaryIO | None = None

    def write(self, data: bytes) -> int:
        return len(data) if self.stream is None else self.stream.write(data)


def finish(path: PathLike) -> int:
    """Complete a file in its place; how many pictures it has then. What is not whole at its end is
    cut off; where the disk has no room for the index, so is what comes before that.

    DamagedFileError where it is damaged before its end, or no `.stp` file; OSError.
    """
    with open(path, "r+b") as stream, named(path):
        items = _whole(stream)
        while True:
            try:
                return _end(stream, items)
            except OSError:
                if not items:
                    raise
                items -= 1


def _whole(stream: BinaryIO) -> int:
    """How many chunks and packets are whole. DamagedFileError where more follows upon what is
    not."""
    reader, items = Reader(stream), 0
    try:
        for _ in reader:
            items += 1
    except DamagedFileError:
        if stream.read(1):
            raise
    return items


def _end(stream: BinaryIO, items: int) -> int:
    stream.seek(0)
    reader, elsewhere = Reader(stream), _Elsewhere()
    writer = Writer(
        elsewhere,  # type: ignore[arg-type]
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
    stream.truncate(writer.offset)
    stream.seek(writer.offset)
    elsewhere.stream = stream
    writer.close()
    stream.flush()
    os.fsync(stream.fileno())
    return frames
