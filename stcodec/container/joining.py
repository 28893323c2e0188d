"""Joining `.stp` files and cutting them apart, by whole segments: payloads are copied as they are,
only times change."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from stcodec.common.files import (
    Overwrite,
    check_input,
    check_output,
    named,
    open_output,
    temporary_output,
)
from stcodec.common.sequences import NUMBER
from stcodec.common.timeline import Window
from stcodec.common.values import Chapter, Packet, StreamInfo
from stcodec.container import records, stp
from stcodec.container.extras import unpack_extras, with_chapters
from stcodec.errors import DamagedFileError, UsageError

# What must be the same in files that are joined: what to call it, and the fields of the header.
_ALIKE = {
    "picture sizes": ("width", "height"),
    "bit depths": ("bit_depth",),
    "models": ("model_sha256", "patch_width"),
    "time bases": ("time_base_num", "time_base_den"),
    "pixel aspects": ("sample_aspect_num", "sample_aspect_den"),
    "rotations": ("rotation",),
    "colours": (
        "color_range",
        "color_primaries",
        "color_transfer",
        "color_matrix",
        "chroma_location",
    ),
}
# What differs between descriptions of the same kind of stream. In MP4: mean and peak rates (a btrt
# box, a decoder configuration in the esds box), what FLAC says of a whole stream. In Matroska:
# random identifiers of the segment and the track, and checksums.
_VARIES = re.compile(
    rb"(?<=btrt).{12}|(?<=\x04\x80\x80\x80.[\x40\x69\x6b].).{11}"
    rb"|(?<=dfLa.{12}).{6}|(?<=dfLa.{22}).{20}"
    rb"|(?<=\x73\xa4\x90).{16}|(?<=[\x63\x73]\xc5\x88).{8}|(?<=\xbf\x84).{4}",
    re.DOTALL,
)


@dataclass(frozen=True)
class Joined:
    """What a concat came to. notes: lines that a user should know."""

    frames: int
    output_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A part of a split. start: seconds from the first picture of the input to that of the part."""

    target: str
    frames: int
    start: float
    output_bytes: int


def concat(sources: Sequence[str], target: str, overwrite: Overwrite) -> Joined:
    """Write the pictures and packets of `sources`, one file after another, into `target`.

    The times of a file are moved so that its first picture follows the last one of the file before;
    those of the first file stay, chapters move along. A packet stays with the pictures of its own
    file: one that begins after the last of them, or before the first where the file before still
    has something to play, is left out. Metadata is the first file's. UsageError where the files do
    not fit together, InputError and DamagedFileError where one cannot be read; `target` appears
    only when it is complete.
    """
    for source in sources:
        _check_source(source)
        check_output(target, overwrite, source)
    heads = [_read_head(s) for s in sources]
    for head in heads[1:]:
        _check_alike(heads[0], head)
    reader = heads[0].reader
    streams, base = reader.streams, _base(reader.header)
    frames = dropped = end = 0
    played: list[int | None] = [None] * len(
        streams
    )  # up to which time the packets of each stream last
    with open_output(target, overwrite) as output:
        blobs = with_chapters(reader.blobs, _all_chapters(heads, base))
        writer = stp.Writer(output, reader.header, streams, reader.metadata, blobs)
        for number, head in enumerate(heads):
            start = end if number else head.start
            shift, end = start - head.start, start + head.end - head.start
            before = tuple(played)
            with open(head.path, "rb") as stream, named(head.path):
                for item in stp.Reader(stream).sections():
                    if isinstance(item, records.OtherSection):
                        writer.write_other(item)
                        continue
                    if isinstance(item, records.VideoChunk):
                        writer.write_chunk(_moved_chunk(item, shift))
                        frames += len(item.pts)
                        continue
                    units = base / streams[item.stream].time_base
                    packet, last = _moved_packet(item, round(shift * units)), before[item.stream]
                    time = _time(packet)
                    if time is not None:
                        early = last is not None and time < min(last, round(start * units))
                        late = number < len(heads) - 1 and time >= round(end * units)
                        if early or late:
                            dropped += 1
                            continue
                        until, so_far = time + packet.duration, played[item.stream]
                        played[item.stream] = until if so_far is None else max(until, so_far)
                    writer.write_packet(packet)
        size = writer.close()
    what = "packet" if dropped == 1 else "packets"
    notes = [f"{dropped} {what} outside the time of the pictures left out"] if dropped else []
    return Joined(frames, size, tuple(notes))


@dataclass(frozen=True)
class _Head:
    """A file that is to be joined. reader: what it has read stays, its stream is closed. start: pts
    of the first picture; end: of what follows the last one."""

    path: str
    reader: stp.Reader
    start: int
    end: int


def _all_chapters(heads: Sequence[_Head], base: Fraction) -> Iterator[Chapter]:
    """The chapters of all files, at their times in the joined one."""
    end = heads[0].start
    for head in heads:
        with named(head.path):
            yield from (
                c.moved((end - head.start) * base)
                for c in unpack_extras(head.reader.blobs).chapters
            )
        end += head.end - head.start


def _read_head(path: str) -> _Head:
    """DamagedFileError for a file that is not complete or holds no picture."""
    with open(path, "rb") as stream, named(path):
        reader = stp.Reader(stream)
        index = reader.read_index()
        if index is None:
            raise DamagedFileError("is not complete: its index is missing")
        last = None
        if index.segments:
            reader.seek(index.segments[-1][0])
            last = next(
                (c for c in reversed(list(reader)) if isinstance(c, records.VideoChunk)), None
            )
        if last is None:
            raise DamagedFileError("there is no picture in it")
        # A last picture of unknown duration lasts as long as the one before it.
        duration = last.durations[-1] or (last.pts[-1] - last.pts[-2] if len(last.pts) > 1 else 0)
        return _Head(path, reader, index.segments[0][1], last.pts[-1] + max(1, duration))


def _check_source(path: str) -> None:
    """InputError for a file that cannot be read, UsageError for a pipe, since files are read more
    than once."""
    if path == "-":
        raise UsageError("standard input cannot be read here, only files")
    check_input(path)
    if not Path(path).is_file():
        raise UsageError(f"{path}: only files can be read here")


def _check_alike(a: _Head, b: _Head) -> None:
    """UsageError that says what keeps two files apart."""
    differ = [what for what, names in _ALIKE.items() if _values(a, names) != _values(b, names)]
    if not differ and [_essence(s) for s in a.reader.streams] != [
        _essence(s) for s in b.reader.streams
    ]:
        differ = ["carried streams"]
    if differ:
        raise UsageError(f"{b.path} cannot follow {a.path}: their {' and '.join(differ)} differ")


def _values(head: _Head, names: tuple[str, ...]) -> list[object]:
    return [getattr(head.reader.header, name) for name in names]


def _essence(stream: StreamInfo) -> tuple[object, ...]:
    """What a decoder needs to know of a stream; titles and mean bit rates differ from file to
    file."""
    return (
        stream.kind,
        stream.codec,
        stream.time_base,
        stream.parameters,
        _VARIES.sub(b"", stream.extradata),
    )


def _base(header: records.Header) -> Fraction:
    return Fraction(header.time_base_num, header.time_base_den)


def _time(packet: Packet) -> int | None:
    return packet.pts if packet.pts is not None else packet.dts


def _moved_chunk(chunk: records.VideoChunk, shift: int) -> records.VideoChunk:
    return dataclasses.replace(chunk, pts=tuple(t + shift for t in chunk.pts))


def _moved_packet(packet: Packet, shift: int) -> Packet:
    pts, dts = (None if t is None else t + shift for t in (packet.pts, packet.dts))
    return dataclasses.replace(packet, pts=pts, dts=dts)


@dataclass
class _Piece:
    """A part to be written. start: pts of its first picture; end: of the first one after it, None
    for the last part; offsets: where its sections are; last: the offset of its last chunk; quality:
    that of its first chunk, 0..63."""

    start: int
    quality: int
    end: int | None = None
    last: int = 0
    offsets: list[int] = dataclasses.field(default_factory=list)


class Split:
    """The parts of a `.stp` file: planned when it is made, written by `write`. A context manager.

    A part starts at the first segment that begins `every` seconds or more after the start of the
    part before. Making it reads the whole file and checks every CRC. `targets` are the names of the
    parts: `pattern` with a number, from 0, in it. UsageError for a bad pattern, a bad `every` or a
    pipe; InputError, DamagedFileError.
    """

    def __init__(self, source: str, pattern: str, every: float) -> None:
        if not every > 0:
            raise UsageError("a part must be longer than 0 seconds")
        plain = pattern.replace("%%", "")
        if len(NUMBER.findall(plain)) != 1 or "%" in NUMBER.sub("", plain):
            raise UsageError(
                f"{pattern}: needs one place for the number of the part, as in part-%03d.stp"
            )
        _check_source(source)
        self._source = source
        with contextlib.ExitStack() as stack, named(source):
            self._reader = stp.Reader(stack.enter_context(open(source, "rb")))
            self._base = _base(self._reader.header)
            # 0.08 stands for two pictures of 1/25 s, not for the binary number just above.
            self._pieces = self._plan(Fraction(every).limit_denominator(1_000_000))
            self._origin = self._pieces[0].start
            self._open = stack.pop_all()
        self.targets = [pattern % number for number in range(len(self._pieces))]

    def __enter__(self) -> Split:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def _plan(self, every: Fraction) -> list[_Piece]:
        reader = self._reader
        pieces: list[_Piece] = []
        packets: list[tuple[int, int, int | None]] = []
        others: list[tuple[int, int]] = []
        at = reader.first_packet
        for item in reader.sections():
            if isinstance(item, records.OtherSection):
                others.append((at, max(0, len(pieces) - 1)))
            elif isinstance(item, Packet):
                packets.append((at, item.stream, _time(item)))
            else:
                if not pieces and not item.first:
                    raise DamagedFileError("its first chunk does not start a segment")
                if not pieces or (
                    item.first and (item.pts[0] - pieces[-1].start) * self._base >= every
                ):
                    if pieces:
                        pieces[-1].end = item.pts[0]
                    pieces.append(_Piece(item.pts[0], _quality(item)))
                pieces[-1].offsets.append(at)
                pieces[-1].last = at
            at = reader.offset
        if not pieces:
            raise DamagedFileError("there is no picture in it")
        # Packets lie some way before or behind their pictures: which part they belong to is a
        # matter of time alone.
        borders = [
            [round(p.start * self._base / s.time_base) for p in pieces[1:]] for s in reader.streams
        ]
        part = 0
        for at, stream, time in packets:
            part = part if time is None else bisect.bisect_right(borders[stream], time)
            pieces[part].offsets.append(at)
        for at, part in others:
            pieces[part].offsets.append(at)
        for piece in pieces:
            piece.offsets.sort()
        return pieces

    def write(self, overwrite: Overwrite = Overwrite.NO) -> list[Part]:
        """Write all parts; they appear together when the last one is complete. StcodecError where
        that fails.

        The first part keeps its times, the others start at zero. The last picture of a part lasts
        until the next one of the input, so that `concat` puts the parts back to where they were.
        """
        parts = []
        with contextlib.ExitStack() as stack, named(self._source):
            for target, piece in zip(self.targets, self._pieces, strict=True):
                with open(stack.enter_context(temporary_output(target, overwrite)), "wb") as output:
                    frames, size = self._write_piece(piece, output, self._shift(piece))
                start = float((piece.start - self._origin) * self._base)
                parts.append(Part(target, frames, start, size))
        return parts

    @staticmethod
    def _joined(pieces: Sequence[_Piece]) -> _Piece:
        """One piece of pieces that follow each other."""
        offsets = sorted(offset for piece in pieces for offset in piece.offsets)
        last = pieces[-1]
        return _Piece(pieces[0].start, pieces[0].quality, last.end, last.last, offsets)

    def _shift(self, piece: _Piece) -> int:
        return 0 if piece.start == self._origin else -piece.start

    def _write_piece(self, piece: _Piece, output: BinaryIO, shift: int) -> tuple[int, int]:
        """Frames and bytes written."""
        reader = self._reader
        header = dataclasses.replace(reader.header, quality=piece.quality)
        start, end = (None if t is None else t * self._base for t in (piece.start, piece.end))
        assert start is not None
        inside = Window(start, end).extras(unpack_extras(reader.blobs)).chapters
        blobs = with_chapters(reader.blobs, [c.moved(start + shift * self._base) for c in inside])
        writer = stp.Writer(output, header, reader.streams, reader.metadata, blobs)
        frames = 0
        for offset in piece.offsets:
            reader.seek(offset)
            item = next(reader.sections())
            if isinstance(item, records.OtherSection):
                writer.write_other(item)
                continue
            if isinstance(item, Packet):
                units = self._base / reader.streams[item.stream].time_base
                writer.write_packet(_moved_packet(item, round(shift * units)))
                continue
            if offset == piece.last and piece.end is not None:
                item = dataclasses.replace(
                    item, durations=(*item.durations[:-1], piece.end - item.pts[-1])
                )
            frames += len(item.pts)
            writer.write_chunk(_moved_chunk(item, shift))
        return frames, writer.close()


def _quality(chunk: records.VideoChunk) -> int:
    """The second byte of a payload (docs/format.md); DamagedFileError where it is impossible."""
    quality = chunk.payload[1] if len(chunk.payload) > 1 else 64
    if quality > 63:
        raise DamagedFileError("a chunk has an impossible quality")
    return quality
