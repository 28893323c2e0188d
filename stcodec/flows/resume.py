"""An encode that goes on where another one broke off, and gives the bytes of an unbroken one."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import stcodec
from stcodec.codec.model_files import Model
from stcodec.common.files import check_input, input_size, is_standard_stream
from stcodec.common.leftovers import Broken
from stcodec.common.sequences import find_sequence
from stcodec.common.values import Packet, PathLike, StreamInfo
from stcodec.container import records, stp
from stcodec.errors import DamagedFileError, StcodecError, UsageError
from stcodec.options import EncodeOptions

# Bytes at the start and at the end of a source that are looked at.
_LOOKED_AT = 1 << 20
# Options on which no byte of the output depends.
_WITHOUT_EFFECT = (
    *("threads", "device", "model", "overwrite", "resume", "verify", "no_larger"),
    *("keep_time", "remove_source"),
)

Content = records.VideoChunk | Packet


def check_resume(source: PathLike, target: PathLike) -> None:
    """UsageError where nothing could be gone on with."""
    if is_standard_stream(source) or is_standard_stream(target) or input_size(source) is None:
        raise UsageError("--resume needs files: a pipe cannot be read or written again")


def key_of(source: PathLike, options: EncodeOptions, model: Model, device: str) -> str:
    """Letters and digits that stand for all that the bytes of an output depend on: options, model,
    kind of device and source (by size, time, beginning and end)."""
    check_input(source)
    seen = hashlib.sha256()
    chosen = {n: v for n, v in sorted(vars(options).items()) if n not in _WITHOUT_EFFECT}
    seen.update(repr((stcodec.__version__, records.VERSION, chosen, device)).encode())
    seen.update(model.sha256)
    sequence = find_sequence(source)
    for file in sequence.files if sequence is not None else [source]:
        with open(file, "rb") as stream:
            found = os.fstat(stream.fileno())
            seen.update(repr((found.st_size, found.st_mtime_ns)).encode())
            seen.update(stream.read(_LOOKED_AT))
            stream.seek(max(0, found.st_size - _LOOKED_AT))
            seen.update(stream.read(_LOOKED_AT))
    return seen.hexdigest()[:12]


@dataclass(frozen=True)
class Beginning:
    """What a file says before its first chunk."""

    header: records.Header
    streams: tuple[StreamInfo, ...]
    metadata: Mapping[str, str]
    blobs: Mapping[str, bytes]


class Earlier:
    """What a broken encode has written up to the end of its last whole segment. `begun`: what this
    one has written so far."""

    def __init__(self, broken: Broken, begun: Beginning) -> None:
        self._broken, self._begun = broken, begun
        self._source = broken.stream
        self._count = 0 if self._source is None else _whole(self._source)

    def content(self, items: Iterator[Content], output: BinaryIO) -> Iterator[Content]:
        """The first of these `items`, chunks without a payload and packets, as they were written;
        the rest is left. StcodecError where something else was written."""
        if self._source is None or not self._count:
            self._broken.discard()
            return
        self._source.seek(0)
        reader = stp.Reader(self._source)
        begun = Beginning(reader.header, reader.streams, reader.metadata, reader.blobs)
        if begun != self._begun:
            raise self._other()
        rest: records.VideoChunk | None = None
        for kept in itertools.islice(reader, self._count):
            item, rest = next(items, None) if rest is None else rest, None
            if isinstance(item, records.VideoChunk) and isinstance(kept, records.VideoChunk):
                item, rest = _divided(item, len(kept.pts))
                item = dataclasses.replace(item, payload=kept.payload)
            if item != kept:
                raise self._other()
            yield kept
        # From here on the new file is worth more than the old one.
        output.flush()
        os.fsync(output.fileno())
        self._broken.discard()

    def _other(self) -> StcodecError:
        assert self._source is not None
        name = self._source.name
        return StcodecError(f"{name}: is not what this encode would have written: remove it")


def _divided(
    chunk: records.VideoChunk, count: int
) -> tuple[records.VideoChunk, records.VideoChunk | None]:
    """The first pictures of what may have become one chunk or two, and the others, if any."""
    if count >= len(chunk.pts):
        return chunk, None
    pts, durations = chunk.pts, chunk.durations
    rest = records.VideoChunk(False, pts[count:], durations[count:], b"")
    first = dataclasses.replace(chunk, pts=pts[:count], durations=durations[:count])
    return first, rest


def _whole(source: BinaryIO) -> int:
    """How many chunks and packets come before the last segment, which may not be whole; all of
    a complete file."""
    count = whole = 0
    with contextlib.suppress(DamagedFileError):
        for item in (reader := stp.Reader(source)):
            whole = count if isinstance(item, records.VideoChunk) and item.first else whole
            count += 1
        whole = count if reader.complete else whole
    return whole
