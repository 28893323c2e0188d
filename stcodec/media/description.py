"""What a media file is, in words, and what `encode` would make of it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import av

from stcodec.common.files import input_size
from stcodec.common.values import ConvertedNote, LostNote, PathLike, VideoInfo
from stcodec.common.words import colour_in_words, field_order_in_words
from stcodec.media.packets import coding, dispositions
from stcodec.media.reader import VideoReader
from stcodec.media.selection import Track
from stcodec.options import AudioChoice

_CHROMA = {(2, 2): "4:2:0", (2, 1): "4:2:2", (1, 1): "4:4:4", (4, 1): "4:1:1", (1, 2): "4:4:0"}


@dataclass(frozen=True)
class TrackDescription:
    """A track. number: from 0 within its kind, as `--tracks` counts; details: in words, codec
    first; fate: what `encode` does with it."""

    kind: str
    number: int
    codec: str
    details: list[str]
    language: str | None
    title: str | None
    disposition: list[str]
    fate: str


@dataclass(frozen=True)
class Description:
    """A media file. bytes: None for a pipe; duration in seconds and bit_rate in bits per second,
    None where they are not known; keeps, converts, loses: what `encode` would do; remarks: what
    else it would say."""

    path: str
    format: str
    bytes: int | None
    duration: float | None
    bit_rate: int | None
    tracks: list[TrackDescription]
    chapters: int
    attachments: list[str]
    metadata: dict[str, str]
    keeps: list[str]
    converts: list[str]
    loses: list[str]
    remarks: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def describe_media(path: PathLike) -> Description:
    """A media file, by its headers and its first picture. InputError as of `VideoReader`."""
    with VideoReader(path) as reader:
        size = input_size(path)
        container = reader.demuxer.container
        before = list(reader.notes)
        plan = reader.plan(AudioChoice("copy"))
        notes = [*before, *(n for n in reader.notes if n not in before)]
        carried = reader.demuxer.carried
        converted = {carried[number] for number in plan.converters}
        tracks = [
            _track(t, reader, _fate(t, reader, t.stream.index in carried, converted))
            for t in reader.demuxer.tracks
        ]
        shortfall = reader.demuxer.shortfall
        duration = container.duration / av.time_base if container.duration else None
        converts: list[str] = [n for n in notes if isinstance(n, ConvertedNote)]
        loses: list[str] = [n for n in notes if isinstance(n, LostNote)]
        remarks = [n for n in notes if n not in (*converts, *loses)]
        attachments = [a.name for a in reader.extras.attachments]
        return Description(
            path=os.fspath(path),
            format=container.format.long_name,
            bytes=size,
            duration=duration,
            bit_rate=container.bit_rate or None,
            tracks=tracks,
            chapters=len(reader.extras.chapters),
            attachments=attachments,
            metadata=dict(reader.metadata),
            keeps=_kept(reader, tracks, attachments),
            converts=converts,
            loses=loses,
            remarks=[*remarks, *([shortfall] if shortfall else [])],
        )


def _fate(track: Track, reader: VideoReader, carried: bool, converted: set[int]) -> str:
    if track.stream is reader.demuxer.video:
        return "coded"
    if track.stream.index in converted:
        return "becomes AAC"
    return "kept as it is" if carried else "left out"


def _track(track: Track, reader: VideoReader, fate: str) -> TrackDescription:
    context = track.stream.codec_context
    codec = "unknown" if context is None else coding(context)
    details = [codec]
    if context is not None and context.profile:
        details[0] += f" ({context.profile})"
    if track.stream is reader.demuxer.video:
        details += _of_pictures(reader)
    elif track.kind == "video" and context is not None:
        details.append(f"{context.width}x{context.height}")
    if track.kind == "audio" and context is not None:
        details += [f"{context.sample_rate} Hz", context.layout.name]
    rate = None if context is None else context.bit_rate
    details += [f"{rate / 1000:.0f} kbit/s"] if rate and track.kind != "subtitle" else []
    return TrackDescription(
        track.kind,
        track.number,
        codec,
        details,
        track.language,
        track.stream.metadata.get("title"),
        list(dispositions(track.stream.disposition)),
        fate,
    )


def _of_pictures(reader: VideoReader) -> list[str]:
    info, form = reader.info, reader.first.format
    words = [f"{info.width}x{info.height}", _samples(form)]
    if info.frame_rate:
        words.append(f"{float(info.frame_rate):.6g} frames/s")
    words.append(field_order_in_words(info.field_order))
    if not (form.is_rgb or form.name == "pal8"):
        words.append(f"colour {_colour(info)}")
    if info.sample_aspect_ratio != 1:
        ratio = info.sample_aspect_ratio
        words.append(f"pixel aspect {ratio.numerator}:{ratio.denominator}")
    if info.display_matrix:
        words.append("shown mirrored")
    elif info.rotation:
        words.append(f"turned by {info.rotation} degrees")
    if info.mastering_display or info.content_light:
        words.append("HDR metadata")
    return words


def _samples(form: Any) -> str:
    """Such as `10 bit 4:2:2`, of a sample format of FFmpeg."""
    parts = form.components
    bits = max((c.bits for c in parts), default=8)
    if form.is_rgb or form.name == "pal8":
        return f"{bits} bit RGB"
    if len(parts) < 3:
        return f"{bits} bit grey"
    # At a size that all subsamplings divide.
    step = 64 // form.chroma_width(64), 64 // form.chroma_height(64)
    alpha = " with transparency" if any(c.is_alpha for c in parts) else ""
    return f"{bits} bit {_CHROMA.get(step, form.name)}{alpha}"


def _colour(info: VideoInfo) -> str:
    return colour_in_words(
        info.color_range, info.color_primaries, info.color_transfer, info.color_matrix
    )


def _kept(reader: VideoReader, tracks: list[TrackDescription], attachments: list[str]) -> list[str]:
    info = reader.info
    kept = ["size, time stamps, rotation, pixel aspect and colour of the pictures"]
    if info.mastering_display or info.content_light:
        kept.append("HDR metadata")
    for kind, name in (("audio", "sound"), ("subtitle", "subtitles"), ("data", "data")):
        count = sum(t.kind == kind and t.fate == "kept as it is" for t in tracks)
        if count:
            kept.append(f"{name} ({count} {'track' if count == 1 else 'tracks'})")
    chapters = len(reader.extras.chapters)
    kept += [f"{chapters} {'chapter' if chapters == 1 else 'chapters'}"] if chapters else []
    kept += [f"attachments ({', '.join(attachments)})"] if attachments else []
    kept += [f"{len(reader.metadata)} tags"] if reader.metadata else []
    return kept
