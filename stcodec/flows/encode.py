"""From a video file to a `.stp` file, as a story: open, cut into segments and chunks, code,
write."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from stcodec.codec.model_files import Model, load_model
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.common.files import (
    check_input,
    check_output,
    input_size,
    is_standard_stream,
    named,
    open_input,
    open_output,
)
from stcodec.common.leftovers import Broken, broken_output
from stcodec.common.pipes import CountedReader
from stcodec.common.signatures import signature, written_since
from stcodec.common.timeline import Window, cut, nothing_in
from stcodec.common.timing import stage
from stcodec.common.values import Extras, Packet, PathLike, Pause, Picture, Progress, StreamInfo
from stcodec.container import records, stp
from stcodec.container.extras import pack_extras
from stcodec.errors import InputError, LargerError
from stcodec.flows.arrivals import as_they_come
from stcodec.flows.coding import QualityControl, coded, coders, make_header
from stcodec.flows.grouping import Cut, chunks
from stcodec.flows.proof import read_back
from stcodec.flows.resume import Beginning, Earlier, check_resume, key_of
from stcodec.media.live import Live
from stcodec.media.reader import VideoReader
from stcodec.options import EncodeOptions, parse_audio


@dataclass(frozen=True)
class EncodeResult:
    """What an encode came to. ratio: input bytes over output bytes (None for a pipe); seconds: wall
    clock; untouched: but for the coding of its pictures, nothing of the input was left out, mended
    or converted; removed: the input is no longer there."""

    frames: int
    input_bytes: int | None
    output_bytes: int
    seconds: float
    width: int
    height: int
    duration: float
    notes: tuple[str, ...]
    untouched: bool = False
    removed: bool = False

    @property
    def ratio(self) -> float | None:
        """Input bytes over output bytes."""
        return None if self.input_bytes is None else self.input_bytes / max(1, self.output_bytes)


def encode_steps(
    source: PathLike,
    target: PathLike,
    options: EncodeOptions,
    notes: list[str] | None = None,
    control: QualityControl | None = None,
) -> Iterator[Progress | EncodeResult]:
    """Encode `source` into `target`, yielding progress after every chunk and the result at the end.

    `notes` takes a line for whatever a user should know. `control` chooses the quality of each
    chunk; without it all have that of the options, whose targets belong to `targets.search_steps`.
    Errors of `stcodec.errors`; the output appears only when complete.
    """
    check_input(source)
    check_output(target, options.overwrite, source)
    if options.resume:
        check_resume(source, target)
    work = Arithmetic(choose_device(options.device), options.threads)
    said = notes if notes is not None else []
    return work.steps(_encode(source, target, options, said, control, work))


def _encode(
    source: PathLike,
    target: PathLike,
    options: EncodeOptions,
    notes: list[str],
    control: QualityControl | None,
    work: Arithmetic,
) -> Iterator[Progress | EncodeResult]:
    start, before = time.perf_counter(), signature(source)
    model = load_model(options.model)
    with _opened(source) as opened, opened_video(opened.file, options) as video:
        notes.extend(video.notes)
        info = video.info
        chosen = chosen_part(video, options)
        part = options.start is not None or options.end is not None
        with (
            _output(source, target, options, model, work) as (output, broken),
            opened.come(chosen.items) as coming,
        ):
            with named(video.name):
                header = make_header(info, model, options.quality)
            blobs = pack_extras(info, chosen.extras)
            begun = Beginning(header, tuple(chosen.streams), video.metadata, blobs)
            writer = stp.Writer(output, header, begun.streams, video.metadata, blobs)
            making = coders(model, info, options, work)
            cuts = chunks(coming)
            earlier = Earlier(broken, begun).content(filter(None, map(_plain, cuts)), output)
            frames, span = 0, (0, 0)
            for item in itertools.chain(earlier, coded(cuts, *making, control)):
                if isinstance(item, Pause):
                    continue
                if isinstance(item, Packet):
                    writer.write_packet(item)
                    continue
                with stage("container"):
                    writer.write_chunk(item)
                    output.flush()  # somebody may be waiting for it
                span = (span[0] if frames else item.pts[0], item.pts[-1] + item.durations[-1])
                frames += len(item.pts)
                check_larger(source, options, writer.offset, opened.size)
                yield Progress(frames, None if part else info.frames, writer.offset)
            if part and not frames:
                raise nothing_in(os.fspath(source), info.duration)
            size = writer.close()
            read_back(output)
            input_bytes = opened.bytes()
            check_larger(source, options, size, input_bytes)
            notes.extend(n for n in video.notes if n not in notes)
            written = written_since(source, before)
            if written is not None and options.strict:
                raise InputError(f"{os.fspath(source)}: {written}")
            notes += [] if written is None else [f"{written} (--strict refuses such a file)"]
            if input_bytes is not None and size > input_bytes:
                notes.append(
                    f"the output is larger than the input: {size} bytes, not {input_bytes}"
                )
    yield EncodeResult(
        frames=frames,
        input_bytes=input_bytes,
        output_bytes=size,
        seconds=time.perf_counter() - start,
        width=info.width,
        height=info.height,
        duration=float((span[1] - span[0]) * info.time_base),
        notes=tuple(notes),
        untouched=not (video.notes or written) and chosen.whole and options.shape().is_plain,
    )


@dataclass(frozen=True)
class _Input:
    """What the video is read from. size: bytes, None for a pipe."""

    file: PathLike | BinaryIO | CountedReader
    size: int | None

    @contextlib.contextmanager
    def come(
        self, items: Iterable[Picture | Packet]
    ) -> Iterator[Iterable[Picture | Packet | Pause]]:
        """What is read, with pauses where the input has none; nothing is read after the block."""
        if isinstance(self.file, CountedReader) and self.file.can_stop:
            with contextlib.closing(as_they_come(items, self.file.stop)) as coming:
                yield coming
        else:
            yield items

    def bytes(self) -> int | None:
        """Bytes of the input, once all of it has been read."""
        return self.file.bytes if isinstance(self.file, CountedReader) else self.size


@contextlib.contextmanager
def _opened(source: PathLike) -> Iterator[_Input]:
    size = input_size(source)
    if size is not None and not is_standard_stream(source):
        yield _Input(source, size)
        return
    # FFmpeg would not hear of an interrupt while it waits for a pipe that it has opened itself.
    with open_input(source) as stream:
        yield _Input(stream if size is not None else CountedReader(stream), size)


@contextlib.contextmanager
def _output(
    source: PathLike, target: PathLike, options: EncodeOptions, model: Model, work: Arithmetic
) -> Iterator[tuple[BinaryIO, Broken]]:
    """Where to write, and what a broken encode has left of it, if that is wanted."""
    # A pipe that has a name can be read once alone, too.
    files = input_size(source) is not None and not (
        is_standard_stream(source) or is_standard_stream(target)
    )
    key = key_of(source, options, model, work.device.type) if files else ""
    left = broken_output(target, key) if options.resume else contextlib.nullcontext(Broken())
    with left as broken, open_output(target, options.overwrite, key, options.resume) as output:
        yield output, broken


def _plain(item: Cut | Packet | Pause) -> Packet | records.VideoChunk | None:
    if isinstance(item, Pause):
        return None
    return item if isinstance(item, Packet) else item.chunk(b"")


def check_larger(
    source: PathLike, options: EncodeOptions, size: int, input_bytes: int | None
) -> None:
    """LargerError as soon as the output is larger than the input, where that is not wanted."""
    if options.no_larger and input_bytes is not None and size > input_bytes:
        raise LargerError(
            f"{os.fspath(source)}: "
            f"the output would have more than the {input_bytes} bytes of the input"
        )


def opened_video(
    file: PathLike | BinaryIO | CountedReader | Live, options: EncodeOptions
) -> VideoReader:
    """The video, read as the options ask for."""
    return VideoReader(
        file,
        rate=options.framerate,
        strict=options.strict,
        tracks=options.chosen_tracks(),
        shape=options.shape(),
    )


@dataclass(frozen=True)
class Part:
    """What of a video is encoded. streams: those that are carried; items: pictures and packets of
    these; whole: all streams, as they are, from start to end."""

    streams: list[StreamInfo]
    items: Iterable[Picture | Packet]
    extras: Extras
    whole: bool


def chosen_part(video: VideoReader, options: EncodeOptions) -> Part:
    """What `video` yields, from the start to the end that the options ask for, with the sound that
    they ask for."""
    plan = video.plan(parse_audio(options.audio))
    items: Iterable[Picture | Packet] = video
    extras = video.extras
    part = options.start is not None or options.end is not None
    if part:
        extras = Window.after(video.start, options.start, options.end).extras(extras)
        items = cut(
            video,
            options.start,
            options.end,
            video.info.time_base,
            [s.time_base for s in video.streams],
        )
    whole = not (part or plan.converters or None in plan.places)
    return Part(plan.streams, plan.apply(items), extras, whole)
