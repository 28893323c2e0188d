"""What a media file says of itself, as plain values: its video, tags, chapters and attachments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av

from stcodec.common.values import (
    PROGRESSIVE,
    Attachment,
    Chapter,
    Extras,
    LostNote,
    VideoInfo,
)
from stcodec.container.extras import fits_a_blob
from stcodec.media.fields import field_order
from stcodec.media.frames import (
    chroma_location,
    content_light,
    lost_side_data,
    mastering_display,
    mirror_matrix,
)
from stcodec.media.packets import dispositions, stream_metadata
from stcodec.media.samples import UNSPECIFIED, SampleFormat

# What a container says about itself: the next container says its own.
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder"}
# The base rate is one that all time stamps are multiples of, so that no average of pictures, and
# hardly one of fields, is above it: that of raw DV is the rate of its clock.
_MOST_OF_BASE = 2
# How Matroska writes how long a stream is.
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def describe_video(
    container: Any,
    stream: Any,
    frame: Any,
    samples: SampleFormat,
    notes: list[str],
    deinterlaced: bool = False,
) -> VideoInfo:
    """The video `stream` of `container`, by what they say and by its first `frame`. Adds to
    `notes`, which become those of the description. deinterlaced: whether fields become
    pictures."""
    notes += samples.notes()
    notes += lost_side_data(frame)
    if stream.metadata.get("alpha_mode") == "1" and not samples.transparent:
        # Of WebM, which has it beside the pictures, where FFmpeg's own decoders pass it over.
        notes.append(LostNote("transparency is lost"))
    order = field_order(frame, stream)
    if order != PROGRESSIVE and not deinterlaced:
        notes.append(
            "interlaced pictures are coded as they are, fields woven, and marked as interlaced"
        )
    rate = _frame_rate(stream)
    base = Fraction(stream.time_base) if stream.time_base else 1 / (rate or Fraction(25))
    duration = _duration(container, stream)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    disposition = dispositions(stream.disposition)
    return VideoInfo(
        width=frame.width,
        height=frame.height,
        bit_depth=samples.bit_depth,
        time_base=base,
        frame_rate=rate,
        sample_aspect_ratio=aspect if aspect > 0 else Fraction(1),
        rotation=round(-frame.rotation) % 360,
        color_range=samples.color_range,
        color_primaries=_code_point(frame.color_primaries),
        color_transfer=_code_point(frame.color_trc),
        color_matrix=samples.matrix,
        chroma_location=chroma_location(stream) if samples.exact else 0,
        frames=stream.frames or (round(duration * rate) if duration and rate else None),
        duration=duration,
        notes=tuple(notes),
        display_matrix=mirror_matrix(frame),
        field_order=order,
        mastering_display=mastering_display(frame),
        content_light=content_light(frame),
        metadata={k: v for k, v in stream_metadata(stream).items() if k != "rotate"},
        disposition=() if disposition == ("default",) else disposition,
    )


def _frame_rate(stream: Any) -> Fraction | None:
    average, base = stream.average_rate, stream.base_rate
    if average and base and average > _MOST_OF_BASE * base:
        average = None
    rate = average or stream.guessed_rate or base
    return Fraction(rate) if rate else None


def _duration(container: Any, stream: Any) -> float | None:
    """Seconds of the video, or else of the whole file."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _code_point(value: Any) -> int:
    return UNSPECIFIED if value is None else int(value)


def announced_end(stream: Any) -> Fraction | None:
    """When a video stream ends in seconds, by what the file says of it."""
    if stream.duration is not None and stream.time_base is not None:
        return Fraction((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base)
    tag = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    return Fraction(int(tag[1]) * 3600 + int(tag[2]) * 60) + Fraction(tag[3])


def file_tags(container: Any) -> dict[str, str]:
    """What the file says of itself that another file may say too."""
    tags = {
        k: v
        for k, v in container.metadata.items()
        if isinstance(v, str) and k.lower() not in _OF_THE_CONTAINER
    }
    # MP4 gives a text once more with its language.
    again = [k for k, v in tags.items() if "-" in k and tags.get(k.split("-")[0]) == v]
    return {k: v for k, v in tags.items() if k not in again}


def file_extras(
    container: Any, covers: Iterable[Attachment], notes: list[str], origin: Fraction
) -> Extras:
    """Chapters, on a time line whose zero is `origin`, and attachments, `covers` among them; a note
    on those that are too large."""
    chapters = tuple(
        Chapter(
            start=c["start"] * Fraction(c["time_base"]),
            end=c["end"] * Fraction(c["time_base"]),
            metadata={k: v for k, v in c["metadata"].items() if isinstance(v, str)},
        )
        for c in container.chapters()
    )
    # Some tools move all but these, so that they count from the start already.
    if all(c.start >= origin for c in chapters):
        chapters = tuple(c.moved(-origin) for c in chapters)
    found = [
        Attachment(
            s.name or f"attachment {s.index}", s.mimetype or "application/octet-stream", s.data
        )
        for s in container.streams.attachments
    ]
    kept = []
    for attachment in (*found, *covers):
        if fits_a_blob(attachment.data):
            kept.append(attachment)
        else:
            notes.append(LostNote(f"attachment {attachment.name} is too large and is left out"))
    return Extras(chapters, tuple(kept))
