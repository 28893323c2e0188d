"""The bytes of a `.stp` file: tagged sections, and nothing of what a chunk's payload means. See
docs/format.md.

A file is a signature, then sections. A section is a tag of four letters, the length and the CRC-32
of its body, and the body. Sections whose tag starts with a capital letter are critical: a reader
that does not know one refuses the file; others are skipped. All numbers are little-endian.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import zstandard

from stcodec.common.values import Packet, StreamInfo
from stcodec.container.records import (
    VERSION,
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
    unpack_index,
    unpack_json,
    unpack_packet,
    unpack_zstd,
)
from stcodec.container.tally import Tally
from stcodec.errors import DamagedFileError, UnsupportedFileError

SIGNATURE = b"\x8bSTP\r\n\x1a\n"
# What an id of a model does not hold: parts of paths, and what is not printed.
_PATH = re.compile(r"[/\\:\x00-\x1f\x7f]|\.safetensors$")
SECTION = struct.Struct("<4sII")
MAX_SECTION = 1 << 30
MAX_PICTURES = 255
"""Of a chunk, by the size of its field."""
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
            self._section(STREAMS, pack_json([stream_to_json(s) for s in streams]))
        if metadata:
            self._section(META, pack_json(dict(metadata)))
        for name, data in (blobs or {}).items():
            key = name.encode()
            self._section(BLOB, bytes([len(key)]) + key + zstandard.ZstdCompressor().compress(data))

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self.offset += len(data)

    def _section(self, tag: bytes, body: bytes) -> int:
        self._write(SECTION.pack(tag, len(body), zlib.crc32(body, zlib.crc32(tag))) + body)
        return SECTION.size + len(body)

    def write_chunk(self, chunk: VideoChunk) -> None:
        """Append a video chunk; chunks come in the order of presentation."""
        if chunk.first:
            self._segments.append((self.offset, chunk.pts[0], self._frames))
        self._video_bytes += self._section(CHUNK, pack_chunk(chunk))
        self._frames += len(chunk.pts)
        self._chunks += 1

    def write_packet(self, packet: Packet) -> None:
        """Append a packet of a carried stream."""
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
        self.complete = False
        """True once iteration has met the footer."""
        self.streams: tuple[StreamInfo, ...] = ()
        self.metadata: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        if self._read(len(SIGNATURE)) != SIGNATURE:
            raise DamagedFileError("not a .stp file")
        tag, body = self._section()
        if tag != HEAD:
            raise DamagedFileError("the file does not start with its header")
        self.header = _read_header(body)
        self._pending: tuple[int, bytes, bytes] | None = None
        self._read_tables()
        self._tally = Tally(len(self.streams))
        self.first_packet = self._pending[0] if self._pending else self.offset

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes, in pieces, so that a wrong length costs no memory."""
        parts = []
        while size > 0:
            part = self._stream.read(min(size, 1 << 20))
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
            raise DamagedFileError(f"cut off at byte {start}, after {self.chunks_read} chunks")
        tag, length, crc = SECTION.unpack(head)
        if length > MAX_SECTION:
            raise DamagedFileError(
                f"a section at byte {start} (after chunk {self.chunks_read}) "
                "has an impossible length"
            )
        body = self._read(length)
        if len(body) < length:
            raise DamagedFileError(
                f"cut off at byte {self.offset}, after {self.chunks_read} chunks"
            )
        if zlib.crc32(body, zlib.crc32(tag)) != crc:
            what = f"chunk {self.chunks_read}" if tag == CHUNK else f"section {tag!r}"
            raise DamagedFileError(f"{what} at byte {start} is damaged (CRC)")
        return tag, body

    def _read_tables(self) -> None:
        while True:
            at = self.offset
            tag, body = self._section()
            if tag == STREAMS:
                entries = unpack_json(body)
                if not isinstance(entries, list):
                    raise DamagedFileError("the stream table holds impossible values")
                self.streams = tuple(stream_from_json(e) for e in entries)
            elif tag == META:
                values = unpack_json(body)
                if not isinstance(values, dict):
                    raise DamagedFileError("the metadata holds impossible values")
                self.metadata = {str(k): str(v) for k, v in values.items()}
            elif tag == BLOB:
                size = body[0] if body else 0
                self.blobs[body[1 : 1 + size].decode("utf-8", "replace")] = unpack_zstd(
                    body[1 + size :]
                )
            else:
                self._pending = (at, tag, body)
                return

    def __iter__(self) -> Iterator[VideoChunk | Packet]:
        """Chunks and packets up to the footer; DamagedFileError where the file is cut off or
        damaged, or where its end contradicts what has been read."""
        for item in self.sections():
            if not isinstance(item, OtherSection):
                yield item

    def sections(self) -> Iterator[VideoChunk | Packet | OtherSection]:
        """As iteration, with the sections that need not be known."""
        while True:
            at, tag, body = self._pending or (self.offset, *self._section())
            self._pending = None
            size = SECTION.size + len(body)
            if tag == CHUNK:
                chunk = unpack_chunk(body)
                self._tally.chunk(chunk, at, size, self.chunks_read)
                yield chunk
                self.chunks_read += 1
            elif tag == PACKET:
                packet = unpack_packet(body)
                if packet.stream >= len(self.streams):
                    raise DamagedFileError("a packet belongs to no stream")
                self._tally.packet(packet, size)
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
        self._tally.end(footer, index_offset, unpack_index(body, footer))
        self.complete = True

    def read_index(self) -> Index | None:
        """The index at the end of a seekable file, None if the file is not complete. Iteration is
        not disturbed."""
        here = self._stream.tell()
        try:
            size = SECTION.size + layout(Footer).size
            end = self._stream.seek(0, 2)
            if end < size:
                return None
            self._stream.seek(end - size)
            tag, body = self._section()
            if tag != FOOT:
                return None
            footer = unpack_fields(Footer, body)
            if footer.chunks * SECTION.size > end or footer.frames > footer.chunks * MAX_PICTURES:
                return None
            self._stream.seek(footer.index_offset)
            tag, body = self._section()
            if tag != INDEX:
                return None
            index = unpack_index(body, footer)
        except (DamagedFileError, OSError, ValueError):
            return None
        finally:
            self._stream.seek(here)
            self.offset = here
        self._tally.know(index)
        return index

    def seek(self, offset: int) -> None:
        """Go on reading at a section boundary, as given by the index or `first_packet`."""
        self._stream.seek(offset)
        self.offset = offset
        self._pending = None
        self._tally.moved(offset, self.first_packet)


def _read_header(body: bytes) -> Header:
    version = struct.unpack_from("<H", body)[0] if len(body) >= 2 else 0
    if version > VERSION:
        raise UnsupportedFileError(f"format version {version} needs a newer stcodec")
    size = layout(Header).size
    name = body[size:]
    if len(name) > 255:
        raise DamagedFileError("the model's name is too long")
    try:
        header = unpack_fields(Header, body, model_id=name.decode())
    except UnicodeDecodeError as error:
        raise DamagedFileError("the model's name is not UTF-8") from error
    # A file never says which file is opened: an id names an installed model, and no path.
    if _PATH.search(header.model_id) or header.model_id in ("", ".", ".."):
        raise DamagedFileError(f"{header.model_id!r} is not the id of a model")
    if header.bit_depth not in (8, 10):
        raise DamagedFileError("the header has an impossible bit_depth")
    return header
