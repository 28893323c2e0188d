"""What header and blobs of a `.stp` file say of the video, its chapters and attachments. See
docs/format.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from stcodec.container import checks
from stcodec.container.checks import MAX_UNPACKED
from stcodec.container.records import Header, dump_json

VIDEO, CHAPTERS, ATTACHMENTS = "video", "chapters", "attachments"
_MOST_LIGHT = (1 << 16) - 1  # in cd/m2, in all bitstreams
_NANOSECONDS = 10**9


def pack_extras(info: VideoInfo, extras: Extras) -> dict[str, bytes]:
    """Blobs by name; nothing for what has no value."""
    blobs = {}
    if video := _video_to_json(info):
        blobs[VIDEO] = dump_json(video)
    if extras.chapters:
        # An end that is not known stands before the start.
        blobs[CHAPTERS] = _pack_chapters(
            replace(c, end=max(c.start, c.end)) for c in extras.chapters
        )
    files = []
    for number, attachment in enumerate(extras.attachments):
        name = f"attachment {number}"
        files.append(
            {
                "blob": name,
                "name": attachment.name,
                "mimetype": attachment.mimetype,
                "cover": attachment.cover,
            }
        )
        blobs[name] = attachment.data
    if files:
        blobs[ATTACHMENTS] = dump_json(files)
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
        changed[CHAPTERS] = _pack_chapters(joined)
    return changed


def fits_a_blob(data: bytes) -> bool:
    """Whether a reader may unpack it."""
    return len(data) <= MAX_UNPACKED


def unpack_extras(blobs: Mapping[str, bytes]) -> Extras:
    """The inverse of `pack_extras`, without what is said of the video. DamagedFileError on
    impossible values."""
    with checks.impossible("chapters or attachments hold"):
        chapters = tuple(_chapter_from_json(c) for c in checks.listed(_parse(blobs, CHAPTERS, [])))
        entries = checks.listed(_parse(blobs, ATTACHMENTS, []))
        # What a file holds once is written once.
        if len({checks.text(a["blob"]) for a in entries}) < len(entries):
            raise ValueError("a blob that belongs to two attachments")
        return Extras(chapters, tuple(_attachment_from_json(a, blobs) for a in entries))


def _attachment_from_json(value: Any, blobs: Mapping[str, bytes]) -> Attachment:
    return Attachment(
        checks.text(value["name"]),
        checks.text(value["mimetype"]),
        blobs[value["blob"]],
        checks.truth(value["cover"]),
    )


def _with_video(blobs: Mapping[str, bytes], info: VideoInfo) -> VideoInfo:
    """`info` with what the blobs say of the video. DamagedFileError on impossible values."""
    with checks.impossible("the description of the video holds"):
        value = checks.named_values(_parse(blobs, VIDEO, {}))
        matrix, order = value.get("display_matrix"), value.get("field_order", PROGRESSIVE)
        if order not in FIELD_ORDERS:
            raise ValueError("field order")
        return replace(
            info,
            display_matrix=None if matrix is None else _matrix_from_json(matrix),
            field_order=order,
            mastering_display=_mastering_from_json(value.get("mastering_display")),
            content_light=_light_from_json(value.get("content_light")),
            metadata=checks.texts(value.get("metadata", {})),
            disposition=checks.words(value.get("disposition", [])),
        )


def _parse(blobs: Mapping[str, bytes], name: str, missing: Any) -> Any:
    return checks.parse_json(blobs[name]) if name in blobs else missing


def _matrix_from_json(value: Any) -> tuple[int, ...]:
    return tuple(checks.whole(n, -(1 << 31), (1 << 31) - 1) for n in checks.listed(value, 9))


def _light_from_json(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    most, average = (checks.whole(n, 0, _MOST_LIGHT) for n in checks.listed(value, 2))
    return most, average


def _pair(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def _is_possible(read: Callable[[Any], object], value: object) -> bool:
    """Whether a reader takes a value: what sources say can be anything, and is left out then."""
    try:
        read(value)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return False
    return True


def _video_to_json(info: VideoInfo) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if info.display_matrix is not None:
        value["display_matrix"] = list(info.display_matrix)
    if info.field_order != PROGRESSIVE:
        value["field_order"] = info.field_order
    display = info.mastering_display
    if display is not None:
        said = {"primaries": display.primaries, "luminance": display.luminance}
        pairs = {k: [_pair(n) for n in v] for k, v in said.items() if v is not None}
        if _is_possible(_mastering_from_json, pairs):
            value["mastering_display"] = pairs
    if info.content_light is not None:
        light = list(info.content_light)
        if _is_possible(_light_from_json, light):
            value["content_light"] = light
    if info.metadata:
        value["metadata"] = dict(info.metadata)
    if info.disposition:
        value["disposition"] = list(info.disposition)
    return value


def _mastering_from_json(value: Any) -> MasteringDisplay | None:
    if value is None:
        return None
    checks.named_values(value)
    primaries = _ratios(value["primaries"], 8) if "primaries" in value else None
    if "luminance" not in value:
        return MasteringDisplay(primaries, None)
    low, high = _ratios(value["luminance"], 2)
    return MasteringDisplay(primaries, (low, high))


def _ratios(value: Any, count: int) -> tuple[Fraction, ...]:
    return tuple(checks.ratio(pair) for pair in checks.listed(value, count))


def _pack_chapters(chapters: Iterable[Chapter]) -> bytes:
    entries = [_chapter_to_json(c) for c in chapters]
    return dump_json([e for e in entries if _is_possible(_chapter_from_json, e)])


def _chapter_to_json(chapter: Chapter) -> dict[str, Any]:
    return {
        "start": _pair(_written(chapter.start)),
        "end": _pair(_written(chapter.end)),
        "metadata": dict(chapter.metadata),
    }


def _written(time: Fraction) -> Fraction:
    """A time of a chapter as a file can hold it: the sums of times in odd units need too many
    digits."""
    return time if time.denominator < _NANOSECONDS else time.limit_denominator(_NANOSECONDS)


def _chapter_from_json(value: Any) -> Chapter:
    start, end = checks.seconds(value["start"]), checks.seconds(value["end"])
    if end < start:
        raise ValueError("a chapter that ends before it starts")
    return Chapter(start, end, checks.texts(value["metadata"]))
