"""What a media file holds beside pictures and packets: tags, chapters, attachments, covers; HDR and
field order for encoders."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from stcodec.common.values import PROGRESSIVE, Attachment, Extras, MasteringDisplay, VideoInfo
from stcodec.media.encoders import NAMES

# Tags that MP4's list of items (ilst) or its own boxes hold; all others need a list of keys, which
# has no place for a cover.
_ITEMS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre",
    "copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network",
    "keywords", "track", "disc", "season_number", "episode_sort", "media_type", "hd_video",
    "gapless_playback", "compilation", "creation_time", "location", "timecode",
}  # fmt: skip
_COVER_CODECS = ("mjpeg", "png", "bmp")
_LEAST_SCALE, _FINEST_SCALE = 1000, 1_000_000  # ticks a second of an MP4 as a whole
_SCALES = {"primaries": 50_000, "luminance": 10_000}


def header_options(
    format: str, base: Fraction, metadata: Mapping[str, str], extras: Extras, notes: list[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Options of the muxer and the tags that it can write; a note on those that it cannot. base:
    the video's unit of time."""
    # Sound may start before the pictures (codec delay); shifting everything by that would move the
    # pictures.
    options = {"avoid_negative_ts": "disabled"}
    tags = dict(metadata)
    if format not in ("mp4", "mov"):
        return options, tags
    options["movflags"] = "+faststart"
    options["video_track_timescale"] = str(base.denominator)
    # Edit lists count in it: milliseconds, which are usual, would hide pictures that are shorter.
    scale = min(max(_LEAST_SCALE, base.denominator), _FINEST_SCALE)
    options["movie_timescale"] = str(scale)
    others = [k for k in tags if k.lower().split("-")[0] not in _ITEMS]
    if others and format == "mp4" and any(a.cover for a in extras.attachments):
        notes.append(
            f"beside a cover MP4 holds the usual tags alone, left out: {', '.join(sorted(others))}"
        )
        tags = {k: v for k, v in tags.items() if k not in others}
    elif others:
        options["movflags"] += "+use_metadata_tags"
    return options, tags


def add_extras(
    container: Any, format: str, extras: Extras, notes: list[str]
) -> list[tuple[Any, bytes]]:
    """Give an output its chapters and attachments, before it starts; the streams that `mux_covers`
    fills. Notes on what is left out."""
    _add_chapters(container, format, extras)
    covers, left = [], []
    for attachment in extras.attachments:
        if format == "matroska":
            container.add_attachment(attachment.name, attachment.mimetype, attachment.data)
            continue
        stream = (
            _cover_stream(container, attachment) if format == "mp4" and attachment.cover else None
        )
        if stream is None:
            left.append(attachment.name)
        else:
            covers.append((stream, attachment.data))
    if left:
        what = "attachment does" if len(left) == 1 else "attachments do"
        notes.append(
            f"{len(left)} {what} not fit into {NAMES[format]}, left out: {', '.join(left)}"
        )
    return covers


def _add_chapters(container: Any, format: str, extras: Extras) -> None:
    # The unit in which each format counts.
    unit = Fraction(1, 1000 if format in ("mp4", "mov") else 1_000_000_000)
    container.set_chapters(
        [
            {
                "id": number,
                "start": round(c.start / unit),
                "end": round(c.end / unit),
                "time_base": unit,
                "metadata": dict(c.metadata),
            }
            for number, c in enumerate(extras.chapters, 1)
        ]
    )


# Encoders whose streams say the shape of samples, and so need no container that does.
_SAY_ASPECT = ("libx264", "libx265", "mpeg4")


def _cover_stream(container: Any, cover: Attachment) -> Any:
    """A stream for a cover, None where MP4 cannot hold its kind of picture."""
    try:
        with av.open(io.BytesIO(cover.data)) as picture:
            template = picture.streams.video[0]
            if template.codec_context.name not in _COVER_CODECS:
                return None
            stream = container.add_stream_from_template(template, opaque=True)
    except (FFmpegError, ValueError, IndexError, AttributeError):
        return None
    stream.disposition = Disposition.attached_pic
    stream.time_base = Fraction(1, 90_000)
    return stream


def mux_covers(container: Any, covers: Sequence[tuple[Any, bytes]]) -> None:
    """Write the covers, once the output has started."""
    for stream, data in covers:
        packet: Any = av.Packet(data)
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 90_000), stream, True
        container.mux(packet)


def encoder_settings(codec: str, format: str, info: VideoInfo, notes: list[str]) -> dict[str, str]:
    """Options by which an encoder writes HDR metadata and the field order into its stream; notes on
    what it cannot write."""
    aspect = info.sample_aspect_ratio
    if aspect != 1 and format in ("matroska", "webm") and codec not in _SAY_ASPECT:
        # PyAV has no way to have the container say it.
        notes.append(
            f"{codec} cannot write that samples are {aspect.numerator}:{aspect.denominator}, not "
            f"square, and {NAMES[format]} does not say it here: players will show the picture too "
            "narrow or too wide (MP4 says it, and so does libx264)"
        )
    display, light = info.mastering_display, info.content_light
    settings: list[str] = []
    if codec in ("libx264", "libx265"):
        name = "mastering-display" if codec == "libx264" else "master-display"
        if display is not None and display.primaries is not None and display.luminance is not None:
            settings.append(f"{name}={_sei(display)}")
        if light is not None:
            settings.append(f"{'cll' if codec == 'libx264' else 'max-cll'}={light[0]},{light[1]}")
        if codec == "libx265" and settings:
            settings.append("repeat-headers=1")
        if codec == "libx265":
            settings.append("log-level=error")  # else it tells all that it does
    elif codec == "libsvtav1":
        if display is not None and display.primaries is not None and display.luminance is not None:
            settings.append(f"mastering-display={_decimal(display)}")
        if light is not None:
            settings.append(f"content-light={light[0]},{light[1]}")
    elif display is not None or light is not None:
        notes.append(
            f"{codec} cannot write HDR metadata (mastering display, light levels): left out"
        )
    if display is not None and (display.primaries is None or display.luminance is None):
        notes.append(
            "half a description of the mastering display cannot be written and is left out"
        )
    if info.field_order != PROGRESSIVE:
        if codec == "libx264" and info.height % 4 == 0 and info.width % 2 == 0:
            settings.append("tff=1" if info.field_order in ("tt", "bt") else "bff=1")
        else:
            notes.append(
                f"{codec} cannot write which field of {info.width}x{info.height} comes first: "
                "Matroska says it beside the pictures, MP4 and MOV do not"
            )
    name = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}.get(
        codec, ""
    )
    return {name: ":".join(settings)} if settings else {}


def _sei(display: MasteringDisplay) -> str:
    """As x264 and x265 take it: green, blue, red, white in 1/50000, then the brightest and the
    darkest level in 1/10000 cd/m2."""
    assert display.primaries is not None and display.luminance is not None
    p = [round(n * _SCALES["primaries"]) for n in display.primaries]
    low, high = (round(n * _SCALES["luminance"]) for n in display.luminance)
    return f"G({p[2]},{p[3]})B({p[4]},{p[5]})R({p[0]},{p[1]})WP({p[6]},{p[7]})L({high},{low})"


def _decimal(display: MasteringDisplay) -> str:
    """As SVT-AV1 takes it."""
    assert display.primaries is not None and display.luminance is not None
    p = [float(n) for n in display.primaries]
    low, high = (float(n) for n in display.luminance)
    return (
        f"G({p[2]:.5f},{p[3]:.5f})B({p[4]:.5f},{p[5]:.5f})R({p[0]:.5f},{p[1]:.5f})"
        f"WP({p[6]:.5f},{p[7]:.5f})L({high:.4f},{low:.4f})"
    )
