"""What header and blobs of a `.stp` file say of the video, its chapters and attachments. See
docs/format.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from stcodec.common.values import (
    FIELD_ORDERS,
    PROGRESSIVE,
    Attachment,
    Chapter,
    Extras,
    MasteringDisplay,
    VideoInfo,
)
from stcodec.container.records import MAX_UNPACKED, Header, dump_json, parse_json
from stcodec.errors import DamagedFileError

VIDEO, CHAPTERS, ATTACHMENTS = "video", "chapters", "attachments"


def pack_extras(info: VideoInfo, extras: Extras) -> dict[str, bytes]:
    """Blobs by name; nothing for what has no value."""
    blobs = {}
    if video := _video_to_json(info):
        blobs[VIDEO] = dump_json(video)
    if extras.chapters:
        blobs[CHAPTERS] = dump_json([_chapter_to_json(c) for c in extras.chapters])
    entries = []
    for number, attachment in enumerate(extras.attachments):
        name = f"attachment {number}"
        entries.append(
            {
                "blob": name,
                "name": attachment.name,
                "mimetype": attachment.mimetype,
                "cover": attachment.cover,
            }
        )
        blobs[name] = attachment.data
    if entries:
        blobs[ATTACHMENTS] = dump_json(entries)
    return blobs


def video_info(header: Header, blobs: Mapping[str, bytes] | None = None) -> VideoInfo:
    """What a video writer needs, from the container's header and what its blobs add to that."""
    rate = Fraction(header.frame_rate_num, header.frame_rate_den)
    info = VideoInfo(
        width=header.width,
        height=header.height,
        bit_depth=header.bit_depth,
        time_base=Fraction(header.time_base_num, header.time_base_den),
        frame_rate=rate if rate > 0 else None,
        sample_aspect_ratio=Fraction(header.sample_aspect_num, header.sample_aspect_den),
        rotation=header.rotation,
        color_range=header.color_range,
        color_primaries=header.color_primaries,
        color_transfer=header.color_transfer,
        color_matrix=header.color_matrix,
        chroma_location=header.chroma_location,
        frames=None,
        duration=None,
    )
    return _with_video(blobs or {}, info)


def with_chapters(blobs: Mapping[str, bytes], chapters: Iterable[Chapter]) -> dict[str, bytes]:
    """`blobs` with other chapters; those that follow each other and say the same become one."""
    joined: list[Chapter] = []
    for chapter in chapters:
        if joined and joined[-1].end == chapter.start and joined[-1].metadata == chapter.metadata:
            chapter = replace(chapter, start=joined.pop().start)
        joined.append(chapter)
    changed = {name: data for name, data in blobs.items() if name != CHAPTERS}
    if joined:
        changed[CHAPTERS] = dump_json([_chapter_to_json(c) for c in joined])
    return changed


def fits_a_blob(data: bytes) -> bool:
    """Whether a reader may unpack it."""
    return len(data) <= MAX_UNPACKED


def unpack_extras(blobs: Mapping[str, bytes]) -> Extras:
    """The inverse of `pack_extras`, without what is said of the video. DamagedFileError on
    impossible values."""
    try:
        return Extras(
            tuple(_chapter_from_json(c) for c in _parse(blobs, CHAPTERS, [])),
            tuple(
                Attachment(str(a["name"]), str(a["mimetype"]), blobs[a["blob"]], bool(a["cover"]))
                for a in _parse(blobs, ATTACHMENTS, [])
            ),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DamagedFileError("chapters or attachments hold impossible values") from error


def _with_video(blobs: Mapping[str, bytes], info: VideoInfo) -> VideoInfo:
    """`info` with what the blobs say of the video. DamagedFileError on impossible values."""
    try:
        value = _parse(blobs, VIDEO, {})
        matrix, light, order = (
            value.get("display_matrix"),
            value.get("content_light"),
            value.get("field_order"),
        )
        if (matrix is not None and len(matrix) != 9) or (
            order is not None and order not in FIELD_ORDERS
        ):
            raise ValueError("display matrix or field order")
        return replace(
            info,
            display_matrix=None if matrix is None else tuple(_int32(n) for n in matrix),
            field_order=PROGRESSIVE if order is None else order,
            mastering_display=_mastering_from_json(value.get("mastering_display")),
            content_light=None if light is None else (int(light[0]), int(light[1])),
            metadata={str(k): str(v) for k, v in value.get("metadata", {}).items()},
            disposition=tuple(str(d) for d in value.get("disposition", ())),
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        ZeroDivisionError,
        AttributeError,
        IndexError,
    ) as error:
        raise DamagedFileError("the description of the video holds impossible values") from error


def _parse(blobs: Mapping[str, bytes], name: str, missing: Any) -> Any:
    return parse_json(blobs[name]) if name in blobs else missing


def _int32(value: Any) -> int:
    number = int(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise ValueError("display matrix")
    return number


def _pair(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def _fractions(values: Any, count: int) -> tuple[Fraction, ...]:
    if len(values) != count:
        raise ValueError("wrong number of values")
    return tuple(Fraction(int(n), int(d)) for n, d in values)


def _video_to_json(info: VideoInfo) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if info.display_matrix is not None:
        value["display_matrix"] = list(info.display_matrix)
    if info.field_order != PROGRESSIVE:
        value["field_order"] = info.field_order
    display = info.mastering_display
    if display is not None:
        said = {"primaries": display.primaries, "luminance": display.luminance}
        value["mastering_display"] = {
            k: [_pair(n) for n in v] for k, v in said.items() if v is not None
        }
    if info.content_light is not None:
        value["content_light"] = list(info.content_light)
    if info.metadata:
        value["metadata"] = dict(info.metadata)
    if info.disposition:
        value["disposition"] = list(info.disposition)
    return value


def _mastering_from_json(value: Any) -> MasteringDisplay | None:
    if value is None:
        return None
    primaries = _fractions(value["primaries"], 8) if "primaries" in value else None
    if "luminance" not in value:
        return MasteringDisplay(primaries, None)
    low, high = _fractions(value["luminance"], 2)
    return MasteringDisplay(primaries, (low, high))


def _chapter_to_json(chapter: Chapter) -> dict[str, Any]:
    return {
        "start": _pair(chapter.start),
        "end": _pair(chapter.end),
        "metadata": dict(chapter.metadata),
    }


def _chapter_from_json(value: Any) -> Chapter:
    start, end = _fractions([value["start"], value["end"]], 2)
    return Chapter(start, end, {str(k): str(v) for k, v in value["metadata"].items()})
