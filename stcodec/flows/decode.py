"""From a `.stp` file to a video file: read, decode, write."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from stcodec.codec.chunk import ChunkSymbols
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import load_model
from stcodec.common.devices import choose_device, flush_denormals, share_threads
from stcodec.common.files import (
    check_input,
    check_output,
    is_standard_stream,
    named,
    open_input,
    open_output,
    temporary_output,
    temporary_pictures,
)
from stcodec.common.sequences import existing_pictures
from stcodec.common.threads import run_ahead
from stcodec.common.timeline import PACKETS_BEHIND, Window
from stcodec.common.timing import stage
from stcodec.common.values import Packet, Picture
from stcodec.container import records, stp
from stcodec.container.extras import unpack_extras, video_info
from stcodec.errors import DamagedFileError, InputError, UsageError
from stcodec.flows.encode import Progress
from stcodec.media.writer import open_writer, output_format
from stcodec.options import DecodeOptions, parse_audio

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class DecodeResult:
    """What a decode came to; seconds: wall clock."""

    frames: int
    input_bytes: int
    seconds: float
    width: int
    height: int
    notes: tuple[str, ...]


def decode_steps(
    source: PathLike, target: PathLike, options: DecodeOptions, notes: list[str] | None = None
) -> Iterator[Progress | DecodeResult]:
    """Decode `source` into `target`, yielding progress after every chunk and the result at the end.

    A damaged file raises DamagedFileError and leaves no output.
    """
    check_input(source)
    format = output_format(target)
    check_output(target, options.overwrite, source)
    start = time.perf_counter()
    said = notes if notes is not None else []
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open_input(source))
        with named(source):
            reader = stp.Reader(stream)
            info, extras = video_info(reader.header, reader.blobs), unpack_extras(reader.blobs)
        index = None if is_standard_stream(source) or not stream.seekable() else reader.read_index()
        entry = None
        if options.start is not None or options.end is not None:
            entry = find_entry(reader, index, options.start, options.end, str(source))
        pictures = decoded_items(reader, options.device, options.threads, str(source), entry)
        if entry is not None:
            extras = entry.window.extras(extras)
        elif index is not None and index.segments and index.segments[0][1] < 0:
            extras = Window(index.segments[0][1] * info.time_base, None).extras(
                extras
            )  # the writer's zero
        total = index.footer.frames if index and entry is None else None
        output: BinaryIO | Path
        if format == "y4m":
            output = stack.enter_context(open_output(target))
        elif format == "pictures":
            output = stack.enter_context(temporary_pictures(target))
        else:
            output = stack.enter_context(temporary_output(target))
        writer = open_writer(
            output,
            info,
            reader.streams,
            reader.metadata,
            extras,
            format=format,
            audio=parse_audio(options.audio),
            codec=options.codec,
            crf=options.crf,
        )
        frames = 0
        for item in pictures:
            with stage("output"):
                writer.write(item)
            if isinstance(item, Picture):
                frames += 1
                if frames % 8 == 0:
                    yield Progress(frames, total, 0)
        with stage("output"):
            writer.close()
        said.extend(writer.notes)
    if format == "pictures" and (others := len(existing_pictures(target)) - frames) > 0:
        said.append(f"{others} pictures that were there before are still there")
    yield DecodeResult(
        frames, reader.offset, time.perf_counter() - start, info.width, info.height, tuple(said)
    )


@dataclass(frozen=True)
class Entry:
    """Where decoding a window begins: reading at byte `offset`, decoding at the segment whose first
    pts is `segment`."""

    window: Window
    offset: int
    segment: int


def find_entry(
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


def decoded_items(
    reader: stp.Reader, device: str, threads: int, name: str, entry: Entry | None = None
) -> Iterator[Picture | Packet]:
    """Pictures and packets of an open container, in its order; of a window only, whose start
    becomes time zero."""
    header = reader.header
    where = choose_device(device, threads)
    model = load_model(header.model_id, where, header.model_sha256)
    workers = share_threads(where, header.width * header.height)
    decoder = ChunkDecoder(model, header.width, header.height, header.bit_depth, where, workers)
    base = Fraction(header.time_base_num, header.time_base_den)
    window = entry.window if entry else None
    if entry is not None:
        reader.seek(entry.offset)
    shown = 0

    def read(item: Packet | _Chunk) -> Callable[[], ChunkSymbols] | None:
        if isinstance(item, Packet):
            return None

        def symbols() -> ChunkSymbols:
            try:
                return decoder.read(item.chunk.payload, item.chunk.first)
            except DamagedFileError as error:
                raise DamagedFileError(f"chunk {item.number}: {error}") from error

        return symbols

    try:
        for item, symbols in run_ahead(_wanted(reader, entry, base), read, flush_denormals):
            if isinstance(item, Packet):
                yield item
                continue
            chunk = item.chunk
            assert symbols is not None
            if symbols.plan.count != len(chunk.pts):
                raise DamagedFileError(f"chunk {item.number}: wrong number of pictures")
            for planes, pts, duration in zip(
                decoder.pictures(symbols), chunk.pts, chunk.durations, strict=True
            ):
                picture = Picture(planes, pts, duration)
                seen = picture if window is None else window.inside(picture, base)
                if seen is not None:
                    shown += 1
                    yield seen
        if window is not None and not shown:
            raise UsageError(f"{name}: there is no picture in the chosen part")
    except InputError as error:
        raise type(error)(f"{name}: {error}") from error


@dataclass(frozen=True)
class _Chunk:
    """A chunk and its number in the file, from 1."""

    number: int
    chunk: records.VideoChunk


def _wanted(reader: stp.Reader, entry: Entry | None, base: Fraction) -> Iterator[Packet | _Chunk]:
    """What of the container has to be decoded or passed on."""
    source = iter(reader)
    while True:
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
        yield _Chunk(reader.chunks_read, item)
