"""What a media file promises beyond its end: the sizes that its parts announce, against the bytes
that there are. Nothing is decoded, and a pipe is looked at while it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import BinaryIO, NamedTuple

Walk = Generator[int, bytes, None]
"""The way through a format, from its first byte: yields how many bytes to read next, and is sent
these, or minus the number to pass over, and is sent none. It ends where nothing is promised any
more, and breaks off, whole, in front of something to be read."""

KEPT = 1024
"""How many of the first bytes of a file are kept."""
_SNIFFED = 16
_UNKNOWN_32 = (0, 0xFFFFFFFF)


class Skimmer:
    """Follows the parts of a file. Of formats that are not known, nothing is missing. `head`: the
    first bytes of the file."""

    def __init__(self) -> None:
        self.head = b""
        self._walk: Walk | None = None
        self._wanted = 0
        self._got = bytearray()
        self._passed = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        if self._walk is None:
            data = self.head + data
            self.head = data[:KEPT]
            if len(data) < _SNIFFED:
                return
            self._begin()
        view = memoryview(data)
        while view and self._wanted:
            taken = min(len(view), abs(self._wanted) - self._passed)
            self._take(view[:taken] if self._wanted > 0 else b"", taken)
            view = view[taken:]

    def skim(self, stream: BinaryIO, size: int) -> None:
        """A file of `size` bytes that can be read from any place; little of it is read."""
        stream.seek(0)
        self.head = stream.read(KEPT)
        unit = self._begin()
        place = max(0, size // unit - 1) * unit if unit > 1 else 0
        while self._wanted and place < size:
            taken = min(abs(self._wanted) - self._passed, size - place)
            data = b""
            if self._wanted > 0:
                stream.seek(place)
                data = stream.read(taken)
                if len(data) < taken:
                    return
            self._take(data, taken)
            place += taken

    def _begin(self) -> int:
        """Choose the way by the first bytes; the unit that all sizes are multiples of."""
        head = self.head[:_SNIFFED]
        found = next((f for f in _FORMATS if f.starts(head)), None)
        self._walk = _nothing() if found is None else found.walk()
        self._wanted = next(self._walk, 0)
        return 1 if found is None else found.unit

    def _take(self, data: bytes | memoryview, taken: int) -> None:
        self._got += data
        self._passed += taken
        while self._wanted and self._passed == abs(self._wanted):
            data, self._got, self._passed = bytes(self._got), bytearray(), 0
            assert self._walk is not None
            try:
                self._wanted = self._walk.send(data)
            except StopIteration:
                self._wanted = 0

    @property
    def missing(self) -> int:
        """Bytes that are missing, at least; 0 where nothing is."""
        if not self._wanted or (self._wanted > 0 and not self._passed):
            return 0
        # So little behind the last box is no beginning of another one.
        if self._wanted == _HEAD and self._passed < _HEAD:
            return 0
        return abs(self._wanted) - self._passed


def _nothing() -> Walk:
    yield from ()


_HEAD = 8  # bytes of size and name of a box or chunk
_BOXES = re.compile(
    rb"ftyp|styp|moov|moof|mdat|mfra|sidx|ssix|prft|emsg|pdin|meta|udta|uuid|free|skip|wide|pnot|"
    rb"PICT|junk"
)


def _boxes() -> Walk:
    """MP4 and MOV (ISO/IEC 14496-12): boxes of a size. Whatever follows the known ones promises
    nothing."""
    while True:
        head = yield 8
        size, length = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, length = int.from_bytes((yield 8), "big"), 16
        if _BOXES.fullmatch(head[4:]) is None or size < length:
            return
        if size > length:
            yield length - size


_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
# What lies in a segment, and in a cluster.
_ELEMENTS = {
    *(0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1254C367),
    *(0x1941A469, 0xEC, 0xBF, 0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0x5854),
}


def _elements() -> Walk:
    """Matroska and WebM (RFC 8794): elements of a size; a segment or cluster of an unknown one is
    what is in it."""
    while True:
        first = yield 1
        length = 9 - first[0].bit_length()
        if not 1 <= length <= 4:
            return
        name = int.from_bytes(first + ((yield length - 1) if length > 1 else b""), "big")
        first = yield 1
        length = 9 - first[0].bit_length()
        if length > 8:
            return
        more = (yield length - 1) if length > 1 else b""
        size = int.from_bytes(bytes([first[0] & 0xFF >> length]) + more, "big")
        unknown = size == (1 << 7 * length) - 1
        if name not in (_SEGMENT, _CLUSTER) and (unknown or name not in _ELEMENTS):
            return
        if size and not unknown:
            yield -size


def _chunks() -> Walk:
    """AVI: chunks of a size; a list of an unknown one is what is in it."""
    while True:
        head = yield 8
        size = int.from_bytes(head[4:], "little")
        if not re.fullmatch(rb"[ -~]{4}", head[:4]):
            return
        if head[:4] in (b"RIFF", b"LIST") and size in _UNKNOWN_32:
            yield -4
        elif size:
            # A file may end without the byte that makes its outermost chunk even.
            yield -(size + (size % 2 if head[:4] != b"RIFF" else 0))


def _pictures() -> Walk:
    """YUV4MPEG2: a line, and a line before each picture."""
    head = yield from _line()
    words = {word[:1]: word[1:] for word in head.decode("latin-1").split()[1:]}
    space = re.fullmatch(r"(420|411|422|444alpha|444|440|mono)(\w*)", words.get("C", "420"))
    if space is None or not (words.get("W", "").isdigit() and words.get("H", "").isdigit()):
        return
    width, height = int(words["W"]), int(words["H"])
    chroma = {
        "420": -(-width // 2) * -(-height // 2) * 2,
        "411": -(-width // 4) * height * 2,
        "422": -(-width // 2) * height * 2,
        "440": width * -(-height // 2) * 2,
        "444": width * height * 2,
        "444alpha": width * height * 3,
        "mono": 0,
    }[space[1]]
    deep = re.fullmatch(r"p?(9|10|12|14|16)", space[2])
    size = (width * height + chroma) * (2 if deep else 1)
    while size:
        if not (yield from _line()).startswith(b"FRAME"):
            return
        yield -size


def _line() -> Generator[int, bytes, bytes]:
    line = yield 6
    while not line.endswith(b"\n") and len(line) < 256:
        line += yield 1
    return line


def _transport_packets() -> Walk:
    """MPEG-TS (ISO/IEC 13818-1)."""
    while (yield 1) == b"\x47":
        yield -187


def _timed_packets() -> Walk:
    """The same as camcorders write it, with four bytes of time before each packet."""
    while (yield 5)[4:] == b"\x47":
        yield -187


def _tags() -> Walk:
    """FLV: a head, and tags with their sizes before and behind them."""
    yield -13
    while True:
        head = yield 11
        yield -(int.from_bytes(head[1:4], "big") + 4)


def _frames() -> Walk:
    """IVF."""
    yield -32
    while True:
        size = int.from_bytes((yield 12)[:4], "little")
        if size:
            yield -size


def _pages() -> Walk:
    """Ogg (RFC 3533)."""
    while True:
        head = yield 27
        if head[:4] != b"OggS":
            return
        size = sum((yield head[26])) if head[26] else 0
        if size:
            yield -size


def _objects() -> Walk:
    """ASF: objects of a size."""
    while True:
        size = int.from_bytes((yield 24)[16:], "little")
        if size < 24:
            return
        if size > 24:
            yield 24 - size


class _Format(NamedTuple):
    starts: Callable[[bytes], object]
    walk: Callable[[], Walk]
    unit: int = 1


_FORMATS = (
    _Format(lambda head: _BOXES.fullmatch(head[4:8]), _boxes),
    _Format(lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _elements),
    _Format(lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _chunks),
    _Format(lambda head: head[:10] == b"YUV4MPEG2 ", _pictures),
    _Format(lambda head: head[:1] == b"\x47" and head[1:3] != b"IF", _transport_packets, 188),
    _Format(lambda head: head[4:5] == b"\x47" and head[0] < 4, _timed_packets, 192),
    _Format(lambda head: head[:3] == b"FLV", _tags),
    _Format(lambda head: head[:4] == b"DKIF", _frames),
    _Format(lambda head: head[:4] == b"OggS", _pages),
    _Format(lambda head: head[:4] == b"\x30\x26\xb2\x75", _objects),
)
