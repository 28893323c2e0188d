"""The bytes of a `.stp` file: tagged sections, and nothing of what a chunk's payload means. See
docs/format.md.

A file is a signature, then sections. A section is a tag of four letters, the length and the CRC-32
of its body, and the body. Sections whose tag starts with a capital letter are critical: a reader
that does not know one refuses the file; others are skipped. All numbers are little-endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import zstandard

from stcodec.common.interrupts import check_interrupt
from stcodec.common.leftovers import is_in_use
from stcodec.common.pipes import would_wait
from stcodec.common.values import Packet, StreamInfo
from stcodec.container import checks
from stcodec.container.checks import BlobBudget
from stcodec.container.records import (
    SECTION,
    Footer,
    Header,
    Index,
    OtherSection,
    VideoChunk,
    layout,
    pack_chunk,
    pack_fields,
    pack_index,
    pack_json,
    pack_packet,
    stream_from_json,
    stream_to_json,
    unpack_chunk,
    unpack_fields,
    unpack_header,
    unpack_index,
    unpack_json,
    unpack_packet,
    unpack_zstd,
)
from stcodec.container.tally import Tally
from stcodec.errors import DamagedFileError, StcodecError, UnsupportedFileError

SIGNATURE = b"\x8bSTP\r\n\x1a\n"
MAX_SECTION = 1 << 30
_BLOCK = 1 << 20  # bytes that are read at a time
HEAD, STREAMS, CHUNK, PACKET, META, BLOB, INDEX, FOOT = (
    b"HEAD", b"STRM", b"CHNK", b"PCKT", b"meta", b"blob", b"indx", b"foot",
)  # fmt: skip


class Writer:
    """Writes a `.stp` file front to back; the stream need not be seekable."""

    def __init__(
        self,
        stream: BinaryIO,
        header: Header,
        streams: Sequence[StreamInfo] = (),
        metadata: Mapping[str, str] | None = None,
        blobs: Mapping[str, bytes] | None = None,
    ) -> None:
        self._stream = stream
        self.offset = 0
        self._frames = self._chunks = self._video_bytes = 0
        self._stream_bytes = [0] * len(streams)
        self._segments: list[tuple[int, int, int]] = []
        self._write(SIGNATURE)
        self._section(HEAD, pack_fields(header) + header.model_id.encode())
        if streams:
            self._section(STREAMS, _packed_table([stream_to_json(s) for s in streams]))
        if metadata:
            self._section(META, _packed_table(dict(metadata)))
        self.base = _base(header)
        self.bases = [s.time_base for s in streams]
        budget = BlobBudget()
        for name, data in (blobs or {}).items():
            key, packed = name.encode(), zstandard.ZstdCompressor().compress(data)
            if len(data) > budget.left(len(packed)):
                raise StcodecError("the attachments are too large for a .stp file")
            budget.take(len(data))
            self._section(BLOB, bytes([len(key)]) + key + packed)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self.offset += len(data)

    def _section(self, tag: bytes, body: bytes) -> int:
        self._write(SECTION.pack(tag, len(body), zlib.crc32(body, zlib.crc32(tag))) + body)
        return SECTION.size + len(body)

    def write_chunk(self, chunk: VideoChunk) -> None:
        """Append a video chunk; chunks come in the order of presentation. DamagedFileError for
        times that no reader takes, here and for packets."""
        check_chunk(chunk, self.base)
        if chunk.first:
            self._segments.append((self.offset, chunk.pts[0], self._frames))
        self._video_bytes += self._section(CHUNK, pack_chunk(chunk))
        self._frames += len(chunk.pts)
        self._chunks += 1

    def write_packet(self, packet: Packet) -> None:
        """Append a packet of a carried stream."""
        check_packet(packet, self.bases[packet.stream])
        self._stream_bytes[packet.stream] += self._section(PACKET, pack_packet(packet))

    def write_other(self, section: OtherSection) -> None:
        """Append a section as it is. ValueError for a tag that readers must know."""
        if section.tag[:1].isupper() or section.tag in (INDEX, FOOT):
            raise ValueError(f"{section.tag!r} is not the tag of an unknown section")
        self._section(section.tag, section.body)

    def close(self) -> int:
        """Write index and footer; returns the size of the file. The stream itself stays open."""
        at = self.offset
        self._section(INDEX, pack_index(self._segments, self._stream_bytes))
        self._section(FOOT, pack_fields(Footer(at, self._frames, self._chunks, self._video_bytes)))
        return self.offset


class Reader:
    """Reads a `.stp` file; only `read_index` and `seek` need a seekable stream.

    `header`, `streams`, `metadata` and `blobs` are there at once; iteration yields chunks and
    packets in order, `sections` also what this reader does not know.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.offset = 0
        self.chunks_read = 0
        self._tally = Tally(Fraction(1), ())
        self.complete = False
        """True once iteration has met the footer."""
        self.streams: tuple[StreamInfo, ...] = ()
        self.metadata: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        found = self._read(len(SIGNATURE))
        if not found:
            raise DamagedFileError("is empty")
        if found != SIGNATURE:
            raise DamagedFileError("not a .stp file (stcodec encode makes one of a video)")
        tag, body = self._section()
        if tag != HEAD:
            raise DamagedFileError("the file does not start with its header")
        self.header = unpack_header(body)
        self.base = _base(self.header)
        self._pending: tuple[int, bytes, bytes] | None = None
        self._read_tables()
        self._tally = Tally(self.base, self.streams)
        self.first_packet = self._pending[0] if self._pending else self.offset

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes, in pieces, so that a wrong length costs no memory."""
        parts = []
        while size > 0:
            part = self._stream.read(min(size, _BLOCK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        data = b"".join(parts)
        self.offset += len(data)
        return data

    def _section(self) -> tuple[bytes, bytes]:
        start = self.offset
        head = self._read(SECTION.size)
        if len(head) < SECTION.size:
            raise self._cut_off(start)
        tag, length, crc = SECTION.unpack(head)
        if length > MAX_SECTION:
            raise DamagedFileError(
                f"a section at byte {start}, after {self.chunks_read} chunks{self._tally.time()}, "
                "has an impossible length"
            )
        body = self._read(length)
        if len(body) < length:
            raise self._cut_off(self.offset)
        if zlib.crc32(body, zlib.crc32(tag)) != crc:
            what = f"chunk {self.chunks_read}" if tag == CHUNK else f"section {tag!r}"
            raise DamagedFileError(f"{what} at byte {start}{self._tally.time()} is damaged (CRC)")
        return tag, body

    def _cut_off(self, at: int) -> DamagedFileError:
        after = f"after {self.chunks_read} chunks{self._tally.time()}"
        name = getattr(self._stream, "name", None)
        if isinstance(name, str) and is_in_use(Path(name)):
            return DamagedFileError(f"is still being written: {at} bytes so far, {after}")
        return DamagedFileError(f"cut off at byte {at}, {after}")

    def _read_tables(self) -> None:
        seen, budget = set(), BlobBudget()
        while True:
            at = self.offset
            tag, body = self._section()
            if tag not in (STREAMS, META, BLOB):
                self._pending = (at, tag, body)
                return
            if tag in seen:
                raise DamagedFileError(f"section {tag!r} at byte {at} is there twice")
            if tag == BLOB:
                self._read_blob(body, budget)
                continue
            seen.add(tag)
            value = unpack_json(body)
            if tag == STREAMS:
                with checks.impossible("the stream table holds"):
                    self.streams = tuple(stream_from_json(e) for e in checks.listed(value))
            else:
                with checks.impossible("the metadata holds"):
                    self.metadata = checks.texts(value)

    def _read_blob(self, body: bytes, budget: BlobBudget) -> None:
        size = body[0] if body else 0
        with checks.impossible("a blob's name holds"):
            name = body[1 : 1 + size].decode()
        if name in self.blobs:
            raise DamagedFileError(f"the blob {name!r} is there twice")
        packed = body[1 + size :]
        data = unpack_zstd(packed, budget.left(len(packed)))
        budget.take(len(data))
        self.blobs[name] = data

    @property
    def would_wait(self) -> bool:
        """Whether more has to come before anything can be read."""
        return would_wait(self._stream)

    def place(self, chunk: VideoChunk) -> str:
        """What messages call the chunk that has been read last."""
        return f"chunk {self.chunks_read}{self._tally.time_of(chunk)}"

    def __iter__(self) -> Iterator[VideoChunk | Packet]:
        """Chunks and packets up to the footer; DamagedFileError where the file is cut off or
        damaged, or where its end contradicts what has been read."""
        for item in self.sections():
            if not isinstance(item, OtherSection):
                yield item

    def sections(self) -> Iterator[VideoChunk | Packet | OtherSection]:
        """As iteration, with the sections that need not be known."""
        while True:
            check_interrupt()
            at, tag, body = self._pending or (self.offset, *self._section())
            self._pending = None
            size = SECTION.size + len(body)
            if tag == CHUNK:
                chunk = unpack_chunk(body)
                check_chunk(chunk, self.base)
                self._tally.chunk(chunk, at, size, self.chunks_read)
                yield chunk
                self.chunks_read += 1
            elif tag == PACKET:
                packet = unpack_packet(body)
                if packet.stream >= len(self.streams):
                    raise DamagedFileError("a packet belongs to no stream")
                check_packet(packet, self.streams[packet.stream].time_base)
                self._tally.packet(packet, at, size)
                yield packet
            elif tag == INDEX:
                self._read_end(at, body)
                return
            elif tag in (HEAD, STREAMS, FOOT):
                raise DamagedFileError(f"section {tag!r} at byte {at} is out of place")
            elif tag[:1].isupper():
                raise UnsupportedFileError(f"section {tag!r} needs a newer stcodec")
            else:
                yield OtherSection(tag, body)

    def _read_end(self, index_offset: int, body: bytes) -> None:
        """The footer, once the index has been read."""
        at = self.offset
        tag, fields = self._section()
        if tag != FOOT:
            raise DamagedFileError(f"section {tag!r} at byte {at} is out of place")
        footer = unpack_fields(Footer, fields)
        self._tally.end(footer, index_offset, self._index(body, footer))
        self._check_behind()
        self.complete = True

    def _check_behind(self) -> None:
        """Nothing but zeros stands behind the end, with which tapes and disks fill their blocks."""
        size = _BLOCK if self._stream.seekable() else 512
        # Who keeps a pipe open behind the end keeps nobody waiting.
        while not self.would_wait and (data := self._read(size)):
            if following := data.lstrip(b"\0"):
                at = self.offset - len(following)
                following += self._read(len(SIGNATURE))
                raise checks.followed(following.startswith(SIGNATURE), at)

    def _index(self, body: bytes, footer: Footer) -> Index:
        """The index, which stands where the footer says."""
        index = unpack_index(body, footer, len(self.streams))
        checks.check_times("the index", self.base, *(pts for _, pts, _ in index.segments))
        return index

    def read_index(self) -> Index | None:
        """The index at the end of a seekable file, None if the file is not complete: it does not
        end with a footer. Iteration is not disturbed. DamagedFileError where footer and index are
        there and cannot be right, with the place where what comes before contradicts them."""
        here, before = self._stream.tell(), self.offset
        try:
            index = self._index_at_end()
        except DamagedFileError:
            self._stream.seek(0)
            for _ in Reader(self._stream):
                pass
            raise
        finally:
            self._stream.seek(here)
            self.offset = before
        if index is not None:
            self._tally.know(index)
        return index

    def _index_at_end(self) -> Index | None:
        size = SECTION.size + layout(Footer).size
        end = self._stream.seek(0, 2) - size
        footer = self._footer(end)
        if footer is None:
            end = self._last_footer(size)
            footer = self._footer(end)
        if footer is None:
            return None
        if footer.index_offset >= end:
            raise DamagedFileError("the footer holds impossible values")
        self._stream.seek(footer.index_offset)
        self.offset = footer.index_offset
        tag, body = self._section()
        if tag != INDEX or self.offset != end:
            raise DamagedFileError("the index is not where the footer says")
        return self._index(body, footer)

    def _footer(self, at: int) -> Footer | None:
        """The footer, if there is one at byte `at`."""
        if at < 0:
            return None
        self._stream.seek(at)
        self.offset = at
        try:
            tag, body = self._section()
        except DamagedFileError:
            return None
        return unpack_fields(Footer, body) if tag == FOOT else None

    def _last_footer(self, size: int) -> int:
        """Where a footer of `size` bytes may stand that has zeros alone behind it; -1: nowhere."""
        end, block = self._stream.seek(0, 2), b""
        while end > 0 and not block:
            begin = max(0, end - _BLOCK)
            self._stream.seek(begin)
            block = self._stream.read(end - begin).rstrip(b"\0")
            end = begin + len(block)
        first = max(0, end - size)
        self._stream.seek(first)
        found = self._stream.read(size).rfind(FOOT)
        return first + found if found >= 0 else -1

    def seek(self, offset: int) -> None:
        """Go on reading at a section boundary, as given by the index or `first_packet`."""
        self._stream.seek(offset)
        self.offset = offset
        self._pending = None
        self._tally.moved(offset, self.first_packet)


def _packed_table(value: object) -> bytes:
    """A packed body that readers take; StcodecError where it is too large for them."""
    packed = pack_json(value)
    try:
        unpack_json(packed)
    except DamagedFileError as error:
        raise StcodecError("tags or descriptions of streams are too large") from error
    return packed


def _base(header: Header) -> Fraction:
    return Fraction(header.time_base_num, header.time_base_den)


def check_chunk(chunk: VideoChunk, base: Fraction) -> None:
    """DamagedFileError for times, in units of `base` seconds, that no reader takes."""
    end = chunk.pts[-1] + chunk.durations[-1]
    checks.check_times("a chunk", base, chunk.pts[0], end, *chunk.durations)


def check_packet(packet: Packet, base: Fraction) -> None:
    """As `check_chunk`."""
    checks.check_times("a packet", base, packet.pts, packet.dts, packet.duration)
