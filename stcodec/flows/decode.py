"""From a `.stp` file to a video file: read, decode, write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stcodec.common.files import (
    Overwrite,
    check_input,
    check_output,
    named,
    open_output,
    temporary_output,
    temporary_pictures,
)
from stcodec.common.sequences import existing_pictures
from stcodec.common.timeline import Window
from stcodec.common.timing import stage
from stcodec.common.values import Extras, PathLike, Picture, Progress
from stcodec.container.extras import unpack_extras
from stcodec.errors import DamagedFileError
from stcodec.flows import sources
from stcodec.flows.reading import StpInput, open_stp
from stcodec.flows.salvage import Lost, SalvagedInput, open_damaged
from stcodec.media.pictures import one_picture_alone
from stcodec.media.writer import open_writer, output_format
from stcodec.options import RATES, DecodeOptions, parse_audio

# Pictures between two reports of progress.
_PICTURES_A_STEP = 8


@dataclass(frozen=True)
class DecodeResult:
    """What a decode came to; seconds: wall clock."""

    frames: int
    input_bytes: int
    seconds: float
    width: int
    height: int
    notes: tuple[str, ...]
    lost: tuple[Lost, ...] = ()
    """What could not be salvaged."""


def decode_steps(
    source: PathLike, target: PathLike, options: DecodeOptions, notes: list[str] | None = None
) -> Generator[Progress | DecodeResult, None, None]:
    """Decode `source` into `target`, yielding progress after every chunk and the result at the end.

    `notes` takes a line for whatever a user should know. A damaged file raises DamagedFileError and
    leaves no output; with `keep_partial`, one with the pictures before the damage, if there are
    any. With `salvage` it gives an output with all that is left, and the result says what is lost.
    """
    check_input(source)
    format = output_format(target)
    check_output(target, options.overwrite, source)
    if options.keep_time:
        sources.check_plain(source, target, "--keep-time")
    start = time.perf_counter()
    said = notes if notes is not None else []
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(_open(source, options))
        whole = options.start is None and options.end is None
        if format == "picture" and whole and (opened.frames or 1) > 1:
            raise one_picture_alone(target)
        said.extend(opened.info.notes)
        extras = _extras(opened)
        items = opened.decoded(options.device, options.threads)
        stack.enter_context(contextlib.closing(items))
        writer = open_writer(
            stack.enter_context(_output(target, format, options.overwrite)),
            opened.shown_info,
            opened.reader.streams,
            opened.reader.metadata,
            extras,
            format=format,
            audio=parse_audio(options.audio),
            codec=options.codec,
            crf=options.crf,
        )
        frames, damage = 0, None
        try:
            for item in items:
                with stage("output"):
                    writer.write(item)
                if isinstance(item, Picture):
                    frames += 1
                    if frames % _PICTURES_A_STEP == 0:
                        yield Progress(frames, opened.frames, 0)
        except DamagedFileError as error:
            if not (options.keep_partial and frames):
                raise
            damage = error
        with stage("output"):
            writer.close()
        said.extend(writer.notes)
    if damage is not None:
        raise DamagedFileError(f"{damage}; {frames} pictures before that are kept") from damage
    if options.keep_time:
        sources.keep_time(source, target)
    if format == "pictures" and (others := len(existing_pictures(target)) - frames) > 0:
        said.append(f"{others} pictures that were there before are still there")
    yield DecodeResult(
        frames=frames,
        input_bytes=opened.input_bytes,
        seconds=time.perf_counter() - start,
        width=opened.info.width,
        height=opened.info.height,
        notes=tuple(said),
        lost=tuple(opened.lost) if isinstance(opened, SalvagedInput) else (),
    )


def _open(source: PathLike, options: DecodeOptions) -> contextlib.AbstractContextManager[StpInput]:
    if options.salvage:
        return open_damaged(source, options.max_pixels)
    return open_stp(
        source,
        options.start,
        options.end,
        options.max_pixels,
        partial=options.keep_partial,
        nth=RATES[options.rate],
        crop=options.crop,
        times=int(options.interpolate),
    )


def _extras(opened: StpInput) -> Extras:
    """Chapters and attachments of what is decoded, on the time line of the output."""
    with named(opened.name):
        extras = unpack_extras(opened.reader.blobs)
    if opened.entry is not None:
        return opened.entry.window.extras(extras)
    segments = opened.index.segments if opened.index is not None else ()
    # The writer shows a first picture before zero at zero.
    first = min(0, segments[0][1]) if segments else 0
    return Window(first * opened.info.time_base, None).extras(extras)


def _output(
    target: PathLike, format: str, overwrite: Overwrite
) -> contextlib.AbstractContextManager[BinaryIO | Path]:
    """What a writer of `format` writes into."""
    if format == "y4m":
        return open_output(target, overwrite)
    make = temporary_pictures if format == "pictures" else temporary_output
    return make(target, overwrite)
