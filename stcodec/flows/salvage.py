"""What can be decoded of a damaged file, and what of it is lost, as times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stcodec.codec.symbols import ChunkSymbols
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.common.files import input_size, named, open_input
from stcodec.common.values import FULL_RANGE, Packet, PathLike, Picture, Planes
from stcodec.container.extras import video_info
from stcodec.container.records import VideoChunk, packet_size
from stcodec.container.salvage import Break, Salvage
from stcodec.container.stp import Reader
from stcodec.errors import DamagedFileError, UsageError
from stcodec.flows.budget import check_pixels
from stcodec.flows.compiling import compile_decoder
from stcodec.flows.reading import StpInput, input_name, new_decoder

# Pictures that are shown for all gaps at most: an hour of them. A time stamp costs a file nothing.
_MOST_HELD = 100_000
_USUAL_RATE = 25
# Gaps in the sound that are remembered: a file that is hostile could have many.
_MOST_GAPS = 1000
_PICTURES = "pictures"
_TABLES = "tags, chapters, attachments or streams"


@dataclass(frozen=True)
class Lost:
    """A range of time in which something is lost. what: "pictures", or what else; start and end:
    seconds on the time line of the file, end is None for up to the end; frames: how many pictures,
    None where that is not known, or not what is lost."""

    what: str
    start: float
    end: float | None
    frames: int | None = None

    def __str__(self) -> str:
        until = "on" if self.end is None else f"to {self.end:.3f} s"
        count = "" if self.frames is None else f" ({self.frames})"
        return f"lost: {self.what} from {self.start:.3f} s {until}{count}"


class Whole(NamedTuple):
    """A chunk that can be decoded, and its symbols."""

    chunk: VideoChunk
    symbols: ChunkSymbols


class Missing(NamedTuple):
    """When pictures should be shown that are lost: pts and durations."""

    pts: tuple[int, ...]
    durations: tuple[int, ...]


class _Range(NamedTuple):
    """Lost pictures, in units of the time base."""

    start: int
    end: int | None
    frames: int | None


class Recovery:
    """What of `left` can be decoded, in order of presentation; `read` is `ChunkDecoder.read`.

    A chunk can be read only after all those before it in its segment. Iterate over it once; `lost`
    is complete after that, `whole` counts the pictures that can be decoded.
    """

    def __init__(self, left: Salvage, read: Callable[[bytes, bool], ChunkSymbols]) -> None:
        self._left, self._read = left, read
        header = left.reader.header
        self._base = left.reader.base
        rate = header.frame_rate_num / header.frame_rate_den or _USUAL_RATE
        self._step = max(1, round(1 / rate / self._base))
        segments = left.index.segments if left.index else ()
        self._numbers = {pts: number for _, pts, number in segments}
        self._due = segments[0][1] if segments else None
        self._number = 0
        self._usable = False
        self._wanting = self._missing_by_segment()
        self._ranges: list[_Range] = []
        self._held = _MOST_HELD
        self._streams = _Streams(left.reader)
        self.whole = 0

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What is lost, pictures first."""
        base = self._base
        ranges = [
            Lost(_PICTURES, float(a * base), None if b is None else float(b * base), n)
            for a, b, n in self._ranges
        ]
        lost = [*ranges, *self._streams.lost]
        # What is missing where nothing else is was no picture and no packet.
        if self._left.incomplete or (self._left.shorter and not lost):
            lost.append(Lost(_TABLES, 0.0, None))
        if self._left.another:
            what = f"another .stp file, from byte {self._left.size} on"
            lost.append(Lost(what, float((self._due or 0) * base), None))
        return tuple(lost)

    def _missing_by_segment(self) -> dict[int, int]:
        """How many pictures of each segment that the index knows are missing from it."""
        if self._left.index is None:
            return {}
        numbers = [*self._numbers.values(), self._left.index.footer.frames]
        there = self._left.segments()
        return {
            pts: max(0, end - number - there.get(pts, 0))
            for (pts, number), end in zip(self._numbers.items(), numbers[1:], strict=True)
        }

    def __iter__(self) -> Iterator[Packet | Whole | Missing]:
        broken, segment = False, self._due
        for item in self._left:
            if isinstance(item, Break):
                broken = True
                self._streams.broken()
            elif isinstance(item, Packet):
                if not self._streams.is_late(item):
                    self._streams.packet(item)
                    yield item
            else:
                segment = item.pts[0] if item.first else segment
                yield from self._chunk(item, broken, self._wanting.get(segment or 0, 0))
                broken = False
        yield from self._end(broken)
        self._streams.end(self._left.index.stream_bytes if self._left.index else ())

    def _chunk(self, chunk: VideoChunk, broken: bool, wanting: int) -> Iterator[Whole | Missing]:
        """A chunk and what is missing before it. wanting: how many pictures its segment lacks."""
        if self._due is None and broken and (chunk.pts[0] > 0 or not chunk.first):
            # No index says when the file began: most begin at zero.
            self._lose(min(0, chunk.pts[0] - self._step), chunk.pts[0], None)
        missing = self._missing_before(chunk, broken, wanting)
        if missing and self._due is not None:
            yield from self._fill(self._due, chunk.pts[0], missing)
        self._number = self._numbers.get(chunk.pts[0], self._number) + len(chunk.pts)
        self._usable = chunk.first or (self._usable and not missing)
        symbols = self._symbols(chunk) if self._usable else None
        self._usable = symbols is not None
        self._due = chunk.pts[-1] + chunk.durations[-1]
        if symbols is not None:
            self.whole += len(chunk.pts)
            yield Whole(chunk, symbols)
        else:
            self._lose(chunk.pts[0], self._due, len(chunk.pts))
            yield Missing(chunk.pts, chunk.durations)

    def _symbols(self, chunk: VideoChunk) -> ChunkSymbols | None:
        with contextlib.suppress(DamagedFileError):
            symbols = self._read(chunk.payload, chunk.first)
            if symbols.plan.count == len(chunk.pts):
                return symbols
        return None

    def _missing_before(self, chunk: VideoChunk, broken: bool, wanting: int) -> int:
        """How many pictures are missing between the last chunk and this one. Times that do not meet
        are no proof of that, where nothing is damaged and nothing should be there."""
        if self._due is None or chunk.pts[0] <= self._due:
            return 0
        if chunk.first and chunk.pts[0] in self._numbers:
            return max(0, self._numbers[chunk.pts[0]] - self._number)
        if not (broken or wanting):
            return 0
        count = max(1, round((chunk.pts[0] - self._due) / self._step))
        return min(count, wanting) if wanting else count

    def _end(self, broken: bool) -> Iterator[Missing]:
        """What is missing at the end."""
        index, due = self._left.index, self._due or 0
        if index is not None and index.footer.frames > self._number:
            missing = index.footer.frames - self._number
            yield from self._fill(due, due + missing * self._step, missing)
        elif index is None and broken:
            self._lose(due, None, None)

    def _fill(self, start: int, end: int, count: int) -> Iterator[Missing]:
        """Times for so many lost pictures, as evenly as they come."""
        self._lose(start, end, count)
        self._number += count
        shown = max(1, min(count, self._held))
        self._held = max(0, self._held - shown)
        for at in range(shown):
            pts, until = (start + (end - start) * n // shown for n in (at, at + 1))
            if until > pts:
                yield Missing((pts,), (until - pts,))

    def _lose(self, start: int, end: int | None, count: int | None) -> None:
        if self._ranges and self._ranges[-1].end == start:
            start, _, before = self._ranges.pop()
            count = None if before is None or count is None else before + count
        self._ranges.append(_Range(start, end, count))


class _Streams:
    """Which packets of carried streams are lost."""

    def __init__(self, reader: Reader) -> None:
        self._infos = reader.streams
        self._due: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._bytes = [0] * len(reader.streams)
        self._apart: set[int] = set()
        self._gaps: dict[int, list[tuple[int, int]]] = {}
        self.lost: list[Lost] = []
        self._known: set[int] = set()

    def broken(self) -> None:
        """Something may be missing here."""
        self._apart = {n for n, info in enumerate(self._infos) if info.kind == "audio"}

    def packet(self, packet: Packet) -> None:
        """The next packet of all."""
        number = packet.stream
        self._bytes[number] += packet_size(packet)
        if packet.pts is None:
            return
        due = self._due.get(number, 0)
        if packet.pts > due + packet.duration // 2:
            if number in self._apart:
                self._lose(number, due, packet.pts)
            elif number in self._due and self._infos[number].kind == "audio":
                # No damage is seen here: it may be how it was, or whole packets are gone.
                gaps = self._gaps.setdefault(number, [])
                gaps += [(due, packet.pts)] if len(gaps) < _MOST_GAPS else []
        self._apart.discard(number)
        self._last[number] = packet.pts
        self._due[number] = max(due, packet.pts + packet.duration)

    def is_late(self, packet: Packet) -> bool:
        """Whether a packet of sound is not later than the one before it: it is there twice, or out
        of its place, where no muxer takes it."""
        if packet.pts is None or self._infos[packet.stream].kind != "audio":
            return False
        last = self._last.get(packet.stream)
        return last is not None and packet.pts <= last

    def end(self, said: tuple[int, ...]) -> None:
        """There are no more. said: bytes of the packets of each stream, where they are known."""
        for number, (size, meant) in enumerate(zip(self._bytes, said, strict=False)):
            if size >= meant or number in self._known:
                continue
            for gap in self._gaps.get(number, ()):
                self._lose(number, *gap)
            if number not in self._known:
                # Sound without a gap has lost its end; of what comes now and then nobody knows.
                sound = self._infos[number].kind == "audio"
                self._lose(number, self._due.get(number, 0) if sound else 0, None)

    def _lose(self, number: int, start: int, end: int | None) -> None:
        info = self._infos[number]
        base, what = info.time_base, f"{info.kind} (stream {number})"
        until = None if end is None else float(end * base)
        self.lost.append(Lost(what, float(start * base), until))
        self._known.add(number)


@dataclass(frozen=True)
class SalvagedInput(StpInput):
    """A damaged file; lost: complete once it has been decoded."""

    left: Salvage = field(kw_only=True)
    lost: list[Lost] = field(default_factory=list)

    @property
    def input_bytes(self) -> int:
        """Bytes of the file."""
        return self.left.size

    def decoded(self, device: str, threads: int) -> Generator[Picture | Packet, None, None]:
        """Pictures and packets; where pictures are lost the last one again, at the start black
        ones; nothing happens before the first is asked for. DamagedFileError where neither a
        picture nor sound is left; ModelError."""
        return self._decoded(Arithmetic(choose_device(device), threads))

    def _decoded(self, work: Arithmetic) -> Generator[Picture | Packet, None, None]:
        compile_decoder()
        yield from work.steps(self._left(work))

    def _left(self, work: Arithmetic) -> Iterator[Picture | Packet]:
        decoder = new_decoder(self.reader.header, work)
        recovery = Recovery(self.left, decoder.read)
        shown, packets, times = _black(self), False, False
        for item in recovery:
            if isinstance(item, Packet):
                packets = True
                yield item
            elif isinstance(item, Missing):
                times = True
                for pts, duration in zip(item.pts, item.durations, strict=True):
                    yield Picture(shown, pts, duration)
            else:
                planes = decoder.pictures(item.symbols)
                yield from map(Picture, planes, item.chunk.pts, item.chunk.durations)
                shown = planes[-1]
        if not recovery.whole and not (packets and times):
            raise DamagedFileError(f"{self.name}: no picture of it can be decoded")
        self.lost.extend(recovery.lost)


def _black(source: StpInput) -> Planes:
    info = source.info
    kind = np.uint8 if info.bit_depth == 8 else np.uint16
    luma, chroma = 0 if info.color_range == FULL_RANGE else 16, 128
    scale = info.bit_depth - 8
    half = (info.height + 1) // 2, (info.width + 1) // 2
    sizes = ((info.height, info.width), luma), (half, chroma), (half, chroma)
    y, u, v = (np.full(size, value << scale, kind) for size, value in sizes)
    return y, u, v


@contextlib.contextmanager
def open_damaged(source: PathLike, max_pixels: int | None = None) -> Iterator[SalvagedInput]:
    """As `reading.open_stp`, for all that is left of a file. UsageError for a pipe, which can be
    read only once; DamagedFileError where no header is left."""
    with open_input(source) as stream:
        name = input_name(source)
        if not stream.seekable():
            raise UsageError(f"{name}: a damaged file can be salvaged only if it is no pipe")
        with named(name):
            left = Salvage(stream)
            check_pixels(left.reader.header, input_size(source), max_pixels)
            info = video_info(left.reader.header, left.reader.blobs)
        yield SalvagedInput(name, left.reader, info, left.index, None, left=left)


def find_lost(
    source: PathLike, work: Arithmetic, max_pixels: int | None = None
) -> tuple[Lost, ...]:
    """What is lost of a damaged file, by its symbols alone. max_pixels: see `budget`."""
    with open_damaged(source, max_pixels) as opened:
        recovery = Recovery(opened.left, new_decoder(opened.reader.header, work).read)
        for _ in recovery:
            pass
        return recovery.lost
