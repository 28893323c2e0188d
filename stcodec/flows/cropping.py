"""A part of the pictures of a file, made without the rest of them."""

from __future__ import annotations

from dataclasses import replace

from stcodec.common.shape import Box, Shape, parse_crop
from stcodec.common.values import PROGRESSIVE, VideoInfo
from stcodec.errors import UsageError


def cropped(info: VideoInfo, text: str | None, name: str) -> tuple[Box | None, VideoInfo]:
    """The part of stored pictures that W:H:X:Y of the pictures as they are shown stands for (None:
    all), and what is said of a video of it, with notes. UsageError names the file."""
    if text is None:
        return None, info
    fields = 1 if info.field_order == PROGRESSIVE else 2
    shape = Shape(crop=parse_crop(text))
    try:
        size = info.width, info.height, info.rotation
        asked = shape.geometry(*size, (1, 1)).crop
        crop = shape.geometry(*size, (2, 2 * fields)).crop
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    notes = list(info.notes)
    if text.lower().replace("x", ":").count(":") == 3 and crop != asked:
        notes.append("the part begins a little earlier, where there is a sample of chroma")
    if info.display_matrix:
        notes.append("the part is one of the stored picture, which players show mirrored")
    return crop, replace(info, width=crop.width, height=crop.height, notes=tuple(notes))
