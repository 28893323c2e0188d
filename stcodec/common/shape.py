"""Another size, part, rate or scan of pictures, as a user asks for it, and what it comes to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from stcodec.errors import UsageError

_MOST = 1 << 15


class Scale(NamedTuple):
    """A size in samples. A negative number -n stands for what keeps the shape, as a multiple of n;
    lines: the shorter side instead, such as 720."""

    width: int = 0
    height: int = 0
    lines: int = 0


class Box(NamedTuple):
    """A part of a picture, in samples from its upper left corner; x, y None: in the middle."""

    width: int
    height: int
    x: int | None = None
    y: int | None = None


def parse_scale(text: str) -> Scale:
    """From W:H, WxH, W:-2 or 720p. UsageError for anything else."""
    lines = re.fullmatch(r"(\d{1,5})p", text.strip().lower())
    match = re.fullmatch(r"(-?\d{1,5})[:x](-?\d{1,5})", text.strip().lower())
    if lines is not None and 0 < int(lines[1]) <= _MOST:
        return Scale(lines=int(lines[1]))
    if match is not None:
        width, height = int(match[1]), int(match[2])
        if 0 not in (width, height) and max(width, height) > 0 and max(width, height) <= _MOST:
            return Scale(width, height)
    raise UsageError(f"{text!r} is no size: 1280:720, 1280:-2 (the height that fits) or 720p")


def parse_crop(text: str) -> Box:
    """From W:H:X:Y, or W:H for the middle. UsageError for anything else."""
    numbers = text.strip().lower().replace("x", ":").split(":")
    if len(numbers) not in (2, 4) or not all(re.fullmatch(r"\d{1,5}", n) for n in numbers):
        raise UsageError(f"{text!r} is no part of a picture: width:height:x:y, or width:height")
    width, height, *corner = map(int, numbers)
    if not width or not height:
        raise UsageError(f"{text!r}: nothing would be left")
    return Box(width, height, *corner)


class Geometry(NamedTuple):
    """What becomes of stored pictures: the part `crop` of each, at the size `width` x `height`."""

    crop: Box
    width: int
    height: int


@dataclass(frozen=True)
class Shape:
    """What is asked for; None and False: as it is. crop and scale refer to the picture as a player
    shows it, crop first; fps: pictures per second; deinterlace: whole pictures out of fields."""

    scale: Scale | None = None
    crop: Box | None = None
    fps: Fraction | None = None
    deinterlace: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether pictures stay as they are."""
        return self == Shape()

    def geometry(self, width: int, height: int, rotation: int, step: tuple[int, int]) -> Geometry:
        """For stored pictures of a size that a player turns clockwise by `rotation` degrees. The
        corner of a part is rounded down to multiples of `step`, across and down. UsageError for a
        part that is not in the picture."""
        turned = rotation % 180 == 90
        shown = (height, width) if turned else (width, height)
        part = self._part(*shown)
        size = self._size(part.width, part.height)
        crop = _stored(part, width, height, rotation)
        assert crop.x is not None and crop.y is not None
        crop = crop._replace(x=crop.x - crop.x % step[0], y=crop.y - crop.y % step[1])
        return Geometry(crop, *(reversed(size) if turned else size))

    def _part(self, width: int, height: int) -> Box:
        if self.crop is None:
            return Box(width, height, 0, 0)
        w, h, x, y = self.crop
        x = (width - w) // 2 if x is None else x
        y = (height - h) // 2 if y is None else y
        if min(x, y) < 0 or x + w > width or y + h > height:
            raise UsageError(
                f"a part of {w}x{h} at {x},{y} does not lie in a picture of {width}x{height}"
            )
        return Box(w, h, x, y)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.scale is None:
            return width, height
        w, h, lines = self.scale
        if lines:
            w, h = (-2, lines) if width >= height else (lines, -2)
        if w < 0:
            w = _nearest(Fraction(h * width, height), -w)
        elif h < 0:
            h = _nearest(Fraction(w * height, width), -h)
        if max(w, h) > _MOST:
            raise UsageError(f"{w}x{h} is larger than {_MOST} samples")
        return w, h


def _nearest(value: Fraction, step: int) -> int:
    """The multiple of `step` next to a value, above 0; of two the larger one, as FFmpeg does."""
    return max(1, math.floor(value / step + Fraction(1, 2))) * step


def _stored(part: Box, width: int, height: int, rotation: int) -> Box:
    """Where a part of what is shown lies in what is stored, width x height samples, which a player
    turns clockwise by `rotation` degrees."""
    w, h, x, y = part
    assert x is not None and y is not None
    if rotation == 90:
        return Box(h, w, y, height - x - w)
    if rotation == 180:
        return Box(w, h, width - x - w, height - y - h)
    if rotation == 270:
        return Box(h, w, width - y - h, x)
    return part
