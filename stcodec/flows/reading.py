"""A `.stp` file opened to be decoded, as a whole or in part."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model, load_model
from stcodec.codec.symbols import ChunkReader, ChunkSymbols
from stcodec.codec.tree import LEVELS
from stcodec.common.arithmetic import Arithmetic, flush_denormals
from stcodec.common.devices import choose_device
from stcodec.common.files import input_size, is_standard_stream, named, open_input
from stcodec.common.shape import Box
from stcodec.common.threads import Ahead, run_ahead
from stcodec.common.timeline import PACKETS_BEHIND, Window, nothing_in
from stcodec.common.timing import stage
from stcodec.common.values import Packet, PathLike, Pause, Picture, VideoInfo
from stcodec.container import records, stp
from stcodec.container.extras import video_info
from stcodec.errors import DamagedFileError, UsageError
from stcodec.flows.budget import check_pixels
from stcodec.flows.compiling import compile_decoder, compile_once
from stcodec.flows.cropping import cropped
from stcodec.flows.interpolating import Interpolation
from stcodec.flows.thinning import Thinning, from_start, stretched
from stcodec.options import EncodeOptions

_READ_AHEAD = 2  # chunks: while one is made the key frames of the next one are, too


@dataclass(frozen=True)
class Entry:
    """Where decoding a window begins: reading at byte `offset`, decoding at the segment whose first
    pts is `segment`."""

    window: Window
    offset: int
    segment: int

    def has(self, time: Fraction) -> bool:
        """Whether a time, in seconds, is not before the window."""
        return time >= self.window.start


@dataclass(frozen=True)
class StpInput:
    """An open `.stp` file. index: None where the file is not complete or cannot be sought; entry:
    where the part that was asked for begins, None for the whole file; thinning: which pictures;
    crop: which part of them, that `info` is of; interpolation: what is made between them, which
    `shown_info` counts in."""

    name: str
    reader: stp.Reader
    info: VideoInfo
    index: records.Index | None
    entry: Entry | None
    thinning: Thinning = Thinning()
    crop: Box | None = None
    interpolation: Interpolation = Interpolation()

    @property
    def shown_info(self) -> VideoInfo:
        """The properties of what `decoded` gives."""
        return self.interpolation.info(self.info)

    @property
    def frames(self) -> int | None:
        """How many pictures there will be, where that is known."""
        plain = self.thinning.nth == self.interpolation.times == 1
        known = self.index and self.entry is None and plain
        return self.index.footer.frames if self.index and known else None

    @property
    def input_bytes(self) -> int:
        """Bytes that have been read."""
        return self.reader.offset

    def decoded(self, device: str, threads: int) -> Generator[Picture | Packet, None, None]:
        """Pictures and packets in the file's order; of a window only, whose start becomes time
        zero; nothing happens before the first is asked for. DamagedFileError, ModelError;
        UsageError for a window without pictures."""
        return self._decoded(Arithmetic(choose_device(device), threads))

    def _decoded(self, work: Arithmetic) -> Generator[Picture | Packet, None, None]:
        compile_decoder()
        items = _decoded(self, work)
        if self.thinning.nth > 1:
            items = stretched(items)
        if self.interpolation.times > 1:
            compile_once(EncodeOptions())  # motion is searched for as it is there
            items = self.interpolation.pictures(items, self.info.bit_depth)
        yield from work.steps(items)


@contextlib.contextmanager
def open_stp(
    source: PathLike,
    start: float | None = None,
    end: float | None = None,
    max_pixels: int | None = None,
    partial: bool = False,
    nth: int = 1,
    crop: str | None = None,
    times: int = 1,
) -> Iterator[StpInput]:
    """Open a file ("-": standard input) to decode what lies from `start` to `end` seconds after its
    first picture.

    max_pixels: of a picture, see `budget`; partial: what comes before a damaged end is wanted; nth:
    see `Thinning`; crop: W:H:X:Y, see `cropped`; times: see `Interpolation`. InputError and its
    kinds name the file; UsageError where a part needs an index and there is none.
    """
    with open_input(source) as stream:
        yield read_stp(stream, source, start, end, max_pixels, partial, nth, crop, times)


def read_stp(
    stream: BinaryIO,
    source: PathLike,
    start: float | None = None,
    end: float | None = None,
    max_pixels: int | None = None,
    partial: bool = False,
    nth: int = 1,
    crop: str | None = None,
    times: int = 1,
) -> StpInput:
    """As `open_stp`, from an open stream of `source`."""
    name = input_name(source)
    with named(name):
        reader = stp.Reader(stream)
        check_pixels(reader.header, input_size(source), max_pixels)
        info = video_info(reader.header, reader.blobs)
        part, info = cropped(info, crop, name)
        seekable = not is_standard_stream(source) and stream.seekable()
        index = None
        if seekable:
            with contextlib.suppress(*([DamagedFileError] if partial else [])):
                index = reader.read_index()
    entry = None
    if start is not None or end is not None:
        entry = _find_entry(reader, index, start, end, name)
    thinning = Thinning(nth)
    return StpInput(
        name, reader, thinning.info(info), index, entry, thinning, part, Interpolation(times)
    )


def new_decoder(
    header: records.Header,
    work: Arithmetic,
    load: Callable[..., Model] = load_model,
    crop: Box | None = None,
) -> ChunkDecoder:
    """The decoder that a file with this header needs, which computes as `work` does; `load` gives
    its model; crop: the part of pictures to make. ModelError."""
    model = load(header.model_id, header.model_sha256)
    size = header.width, header.height
    workers = work.share(header.width * header.height)
    return ChunkDecoder(model, *size, header.bit_depth, work.device, workers, crop)


def input_name(source: PathLike) -> str:
    """What messages call it."""
    return "standard input" if is_standard_stream(source) else os.fspath(source)


def _find_entry(
    reader: stp.Reader,
    index: records.Index | None,
    start: float | None,
    end: float | None,
    name: str,
) -> Entry:
    """The entry for `start` to `end` seconds after the first picture. UsageError where there is no
    index."""
    if index is None or not index.segments:
        raise UsageError(
            f"{name}: a part of it can be decoded only if the file is complete and no pipe"
        )
    base = Fraction(reader.header.time_base_num, reader.header.time_base_den)
    window = Window.after(index.segments[0][1] * base, start, end)
    number = max(
        (i for i, (_, pts, _) in enumerate(index.segments) if pts * base <= window.start), default=0
    )
    # Packets may lie before the pictures that they belong to.
    offset = index.segments[number - 1][0] if number else reader.first_packet
    return Entry(window, offset, index.segments[number][1])


def _decoded(source: StpInput, work: Arithmetic) -> Iterator[Picture | Packet]:
    entry, base = source.entry, source.info.time_base
    decoder = new_decoder(source.reader.header, work, crop=source.crop)
    shown, thinning = 0, source.thinning
    if entry is not None:
        source.reader.seek(entry.offset)

    ready = deque[ChunkSymbols]()  # what has been read, and of which no picture is made yet

    def read(chunk: Chunk) -> ChunkSymbols:
        ready.append(chunk.symbols(decoder, thinning.levels))
        return ready[-1]

    def task(item: Packet | Pause | Chunk) -> Callable[[], ChunkSymbols] | Ahead | None:
        if isinstance(item, Pause):
            return Ahead.DRAIN
        return None if isinstance(item, Packet) else functools.partial(read, item)

    def following() -> ChunkSymbols | None:
        return ready[0] if ready else None

    with named(source.name):
        wanted = _wanted(source.reader, entry, base)
        for item, symbols in run_ahead(wanted, task, flush_denormals, _READ_AHEAD):
            if isinstance(item, Pause):
                continue
            if isinstance(item, Packet):
                yield item
                continue
            chunk = item.chunk
            assert symbols is not None
            ready.popleft()
            times = chunk.pts, chunk.durations
            for picture in thinning.pictures(decoder, symbols, *times, following):
                seen = picture if entry is None else entry.window.inside(picture, base)
                if seen is None:
                    continue
                if not shown:
                    # What is left out before it leaves no hole at the beginning.
                    begins = next(t for t in chunk.pts if entry is None or entry.has(t * base))
                    seen = from_start(seen, picture.pts - begins)
                shown += 1
                yield seen
    if entry is not None and not shown:
        raise nothing_in(source.name, source.info.duration)


@dataclass(frozen=True)
class Chunk:
    """A chunk, and what messages call it."""

    place: str
    chunk: records.VideoChunk

    def symbols(self, decoder: ChunkDecoder | ChunkReader, levels: int = LEVELS) -> ChunkSymbols:
        """What the payload holds. DamagedFileError with the chunk's place."""
        try:
            symbols = decoder.read(self.chunk.payload, self.chunk.first, levels)
        except DamagedFileError as error:
            raise DamagedFileError(f"{self.place}: {error}") from error
        if symbols.plan.count != len(self.chunk.pts):
            raise DamagedFileError(f"{self.place}: wrong number of pictures")
        return symbols


def _wanted(
    reader: stp.Reader, entry: Entry | None, base: Fraction
) -> Iterator[Packet | Pause | Chunk]:
    """What of the container has to be decoded or passed on, with a WAIT where more has to come."""
    source = iter(reader)
    while True:
        if reader.would_wait:
            yield Pause.WAIT
        with stage("container"):
            item = next(source, None)
        if item is None:
            break
        if isinstance(item, Packet):
            kept = (
                item
                if entry is None
                else entry.window.inside(item, reader.streams[item.stream].time_base)
            )
            if kept is not None:
                yield kept
            continue
        if entry is not None:
            end = entry.window.end
            if end is not None and item.pts[0] * base >= end:
                if item.pts[0] * base >= end + PACKETS_BEHIND:
                    break
                continue
            if item.pts[0] < entry.segment:
                continue
        yield Chunk(reader.place(item), item)
