"""What is left of a `.stp` file that is damaged anywhere: whole sections, put back in order, and
marks where something may be missing."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from stcodec.common.values import Packet
from stcodec.container import records, stp
from stcodec.container.records import SECTION, Footer, Index, VideoChunk
from stcodec.errors import DamagedFileError, UnsupportedFileError

_TABLES = (stp.STREAMS, stp.META, stp.BLOB)
_KNOWN = re.compile(rb"HEAD|STRM|CHNK|PCKT|meta|blob|indx|foot")
_DAMAGE = b""
"""Stands for the tag of what is no section."""
_WINDOW = 1 << 20
# What looks like a section and is none costs time: so many bytes of it are looked at for each byte
# of the file, and then only short ones.
_TRIED, _FREELY = 4, 1 << 12
# Tables that are tried one by one where one of them is wrong.
_MOST_TABLES = 64
_SECTOR = 4096


class Break:
    """A mark between what is left: here something may be missing."""


Left = VideoChunk | Packet | Break


class _Section(NamedTuple):
    """Bytes `at` to `end` of a file."""

    at: int
    end: int
    tag: bytes
    body: bytes


class _Piece(NamedTuple):
    """Bytes `at` to `end` of a file: a chunk, if any, and all up to the next one. pts and until:
    where its first picture begins and its last one ends; damaged: something in it is no section;
    doubled: its pictures are in the piece before it."""

    at: int
    end: int
    pts: int
    until: int
    pictures: int
    first: bool
    damaged: bool
    doubled: bool = False


class Salvage:
    """What is left of a file that can be sought. Iteration yields it in order of presentation, as
    often as it is asked for; chunks that are there twice come once.

    reader: header, streams, metadata and blobs, as far as they are whole; index: None where the
    end of the file is not whole; damage: the end of each place that is no section, by its first
    byte; incomplete: whether some of what stands before the first chunk or packet is lost; shorter:
    whether bytes are missing before the index; size: bytes of the file; another: whether one more
    file follows at that byte. DamagedFileError where no header is left.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._source = _Source(stream)
        self.size = self._source.size
        self.damage: dict[int, int] = {}
        self.index: Index | None = None
        self._pieces: list[_Piece] = []
        self._before = _Piece(0, 0, 0, 0, 0, False, False)
        self.incomplete = self.shorter = self.another = False
        self._tables: list[_Section] = []
        self._index: _Section | None = None
        self._survey()
        self._put_in_order()

    def _survey(self) -> None:
        reader: stp.Reader | None = None
        chunk: VideoChunk | None = None
        begun, damaged = 0, False
        for section in self._source.sections(0, self.size, {}):
            if reader is not None and self._begins_another(section):
                break
            if section.tag in (stp.HEAD, *_TABLES) and reader is None:
                self._tables.append(section)
                continue
            if section.tag == _DAMAGE and self.index is not None and self._is_padding(section):
                self.size = section.at
                break
            if section.tag == _DAMAGE:
                self.damage[section.at] = section.end
                damaged, self.incomplete = True, self.incomplete or reader is None
                continue
            reader = reader or self._opened()
            if section.tag != stp.CHUNK:
                self._other(section, reader)
            elif (found := self._chunk(section, reader)) is not None:
                self._add(begun, section.at, chunk, damaged)
                begun, chunk, damaged = section.at, found, False
            else:
                damaged = True
        self.reader = reader or self._opened()
        self._add(begun, self.size, chunk, damaged)

    def _begins_another(self, section: _Section) -> bool:
        """Whether a section is the head of one more file, where this one ends: chunks of the two do
        not go together."""
        begin = section.at - len(stp.SIGNATURE)
        if section.tag != stp.HEAD:
            return False
        if self._source.read(begin, len(stp.SIGNATURE)) != stp.SIGNATURE:
            return False
        self.size, self.another = begin, True
        self.damage = {a: min(end, begin) for a, end in self.damage.items() if a < begin}
        return True

    def _is_padding(self, section: _Section) -> bool:
        """Whether there are zeros alone up to the end of the file."""
        pieces = range(section.at, section.end, _WINDOW)
        blocks = (self._source.read(at, min(_WINDOW, section.end - at)) for at in pieces)
        return section.end == self.size and not any(b.strip(b"\0") for b in blocks)

    def _add(self, at: int, end: int, chunk: VideoChunk | None, damaged: bool) -> None:
        """A piece has ended. That before the first chunk is never out of place."""
        if chunk is None:
            self._before = self._before._replace(at=at, end=end, damaged=damaged)
            return
        times = chunk.pts[0], chunk.pts[-1] + chunk.durations[-1]
        self._pieces.append(_Piece(at, end, *times, len(chunk.pts), chunk.first, damaged))

    def _put_in_order(self) -> None:
        self._pieces.sort(key=lambda piece: (piece.pts, piece.at))
        shown = None
        for number, piece in enumerate(self._pieces):
            doubled = shown is not None and piece.pts < shown
            self._pieces[number] = piece._replace(doubled=doubled)
            shown = piece.until if shown is None else max(shown, piece.until)

    def segments(self) -> dict[int, int]:
        """How many pictures are left of each segment, by the pts of the first one that is left."""
        found: dict[int, int] = {}
        segment: int | None = None
        for piece in self._pieces:
            if not piece.doubled:
                segment = piece.pts if piece.first or segment is None else segment
                found[segment] = found.get(segment, 0) + piece.pictures
        return found

    def _opened(self) -> stp.Reader:
        """The reader of the head and of those tables that are right."""
        tables = self._tables
        heads = [s for s in tables if s.tag == stp.HEAD][:1]
        if not heads:
            raise DamagedFileError("its header is damaged, without which nothing can be decoded")
        others = [s for s in tables if s.tag != stp.HEAD]
        with contextlib.suppress(DamagedFileError):
            return _reader([*heads, *others])
        kept = heads
        for number, table in enumerate(others):
            try:
                if number < _MOST_TABLES:
                    _reader([*kept, table])
                    kept.append(table)
                    continue
            except DamagedFileError:
                pass
            self.damage[table.at], self.incomplete = table.end, True
        return _reader(kept)

    def _chunk(self, section: _Section, reader: stp.Reader) -> VideoChunk | None:
        try:
            chunk = records.unpack_chunk(section.body)
            stp.check_chunk(chunk, reader.base)
            return chunk
        except DamagedFileError:
            self.damage[section.at] = section.end
            return None

    def _other(self, section: _Section, reader: stp.Reader) -> None:
        """The end of the file; UnsupportedFileError for what readers must know, and this one does
        not."""
        if section.tag == stp.INDEX:
            self._index = section
        elif section.tag == stp.FOOT and self._index is not None:
            with contextlib.suppress(DamagedFileError):
                footer = records.unpack_fields(Footer, section.body)
                streams = len(reader.streams) or None
                self.index = records.unpack_index(self._index.body, footer, streams)
                self.shorter = self._index.at < footer.index_offset
        elif section.tag[:1].isupper() and not _KNOWN.fullmatch(section.tag):
            raise UnsupportedFileError(f"section {section.tag!r} needs a newer stcodec")

    def __iter__(self) -> Iterator[Left]:
        yield from self._items(self._before)
        before = self._before
        for piece in self._pieces:
            if piece.at != before.end or piece.doubled or before.damaged:
                yield Break()
            yield from self._items(piece)
            before = piece
        if before.end != self.size or before.damaged or self.index is None:
            yield Break()

    def _items(self, piece: _Piece) -> Iterator[Left]:
        """What is in a piece; of a chunk that is there twice only what follows it."""
        for section in self._source.sections(piece.at, piece.end, self.damage):
            if section.tag == stp.CHUNK and not piece.doubled:
                yield records.unpack_chunk(section.body)
            elif section.tag == stp.PACKET:
                packet = self._packet(section.body)
                yield Break() if packet is None else packet
            elif section.tag == _DAMAGE:
                yield Break()

    def _packet(self, body: bytes) -> Packet | None:
        """The packet, if it is right and its stream is known."""
        with contextlib.suppress(DamagedFileError):
            packet = records.unpack_packet(body)
            if packet.stream >= len(self.reader.streams):
                self.incomplete = True
            else:
                stp.check_packet(packet, self.reader.streams[packet.stream].time_base)
                return packet
        return None


def _reader(sections: list[_Section]) -> stp.Reader:
    """A reader of these sections alone."""
    data = b"".join(
        SECTION.pack(s.tag, len(s.body), zlib.crc32(s.body, zlib.crc32(s.tag))) + s.body
        for s in [*sections, _Section(0, 0, stp.INDEX, b"")]
    )
    return stp.Reader(io.BytesIO(stp.SIGNATURE + data))


class _Source:
    """The bytes of a file, some of which may not even be readable."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        self._left = _TRIED * self.size

    def read(self, at: int, size: int) -> bytes:
        """Bytes from `at` on; zeros for sectors that cannot be read."""
        try:
            self._stream.seek(at)
            return self._stream.read(size)
        except OSError:
            if size <= _SECTOR:
                return bytes(max(0, min(size, self.size - at)))
        ends = range(at - at % _SECTOR + _SECTOR, at + size, _SECTOR)
        edges = [at, *ends, at + size]
        return b"".join(self.read(a, b - a) for a, b in itertools.pairwise(edges))

    def sections(self, at: int, end: int, damage: Mapping[int, int]) -> Iterator[_Section]:
        """Whole sections from byte `at` up to `end`, and what lies between them; `damage`: what is
        known of that, as first byte and end."""
        if at == 0 and self.read(0, len(stp.SIGNATURE)) == stp.SIGNATURE:
            at = len(stp.SIGNATURE)
        while at < end:
            section = None if at in damage else self._section(at, end)
            if section is None:
                behind = damage.get(at) or self._behind(at, end)
                yield _Section(at, behind, _DAMAGE, b"")
                at = behind
                continue
            yield section
            at = section.end

    def _section(self, at: int, end: int) -> _Section | None:
        """The section at byte `at`, if there is a whole one."""
        head = self.read(at, SECTION.size)
        if len(head) < SECTION.size:
            return None
        tag, length, crc = SECTION.unpack(head)
        until = at + SECTION.size + length
        if until > end or length > stp.MAX_SECTION or (self._left < length and length > _FREELY):
            return None
        body = self.read(at + SECTION.size, length)
        if zlib.crc32(body, zlib.crc32(tag)) == crc:
            return _Section(at, until, tag, body)
        self._left -= length
        return None

    def _behind(self, at: int, end: int) -> int:
        """Where damage that begins at `at` ends: at the next whole section that is known."""
        head = self.read(at, SECTION.size)
        if len(head) == SECTION.size:
            # The head may be right and the body wrong, which may hold a file of this kind in turn.
            until = at + SECTION.size + SECTION.unpack(head)[1]
            if until == end or (until < end and self._is_known(until, end)):
                return until
        overlap = SECTION.size
        for begin in range(at + 1, end, _WINDOW):
            window = self.read(begin, min(_WINDOW + overlap, end - begin))
            for found in _KNOWN.finditer(window):
                if found.start() < _WINDOW and self._is_known(begin + found.start(), end):
                    return begin + found.start()
        return end

    def _is_known(self, at: int, end: int) -> bool:
        tag = self.read(at, 4)
        return _KNOWN.fullmatch(tag) is not None and self._section(at, end) is not None
