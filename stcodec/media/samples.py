"""Samples of decoded frames as planes that can be coded: 4:2:0, of one size, depth and range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from av.video.reformatter import ColorRange, Colorspace, Interpolation

from stcodec.common.values import FULL_RANGE, LIMITED_RANGE, ConvertedNote, LostNote, Planes
from stcodec.media.frames import EXACT, exact_planes

UNSPECIFIED = 2
"""The code point of ITU-T H.273 for what is not said."""
_BT709, _BT601 = 1, 6
_HD_ROWS = 720
_BICUBIC = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


@dataclass(frozen=True)
class SampleFormat:
    """What all pictures of a video are brought to; it suits the first one.

    source: FFmpeg's name of the first frame's format. bit_depth: 8 or 10. matrix and color_range:
    code points as in `VideoInfo`. from_full: the source has R'G'B' or grey of full range, which
    becomes limited range.
    """

    source: str
    width: int
    height: int
    bit_depth: int
    matrix: int
    color_range: int
    from_full: bool
    transparent: bool

    @classmethod
    def of(cls, frame: Any) -> SampleFormat:
        """The format for a video that starts with `frame`."""
        name = frame.format.name
        components = frame.format.components
        matrix = UNSPECIFIED if frame.colorspace is None else int(frame.colorspace)
        color_range = FULL_RANGE if name.startswith("yuvj") else int(frame.color_range or 0)
        from_full = frame.format.is_rgb or name.startswith(("pal8", "gray", "mono", "ya"))
        if from_full:
            matrix = _BT709 if frame.height >= _HD_ROWS else _BT601
            color_range = LIMITED_RANGE
        depth = EXACT.get(name) or (10 if max(c.bits for c in components) > 8 else 8)
        transparent = name == "pal8" or any(c.is_alpha for c in components)
        size = frame.width, frame.height
        return cls(name, *size, depth, matrix, color_range, from_full, transparent)

    @property
    def target(self) -> str:
        """FFmpeg's name of the format of the planes."""
        return "yuv420p" if self.bit_depth == 8 else "yuv420p10le"

    @property
    def exact(self) -> bool:
        """Whether samples of the source are taken as they are."""
        return self.source in EXACT

    def notes(self) -> list[str]:
        """What the source loses."""
        if self.exact:
            return []
        lost = [LostNote("transparency is lost")] if self.transparent else []
        return [ConvertedNote(f"converted from {self.source} to {self.target}"), *lost]

    def fits(self, frame: Any) -> bool:
        """Whether a frame has the size of the first one."""
        return bool((frame.width, frame.height) == (self.width, self.height))

    def planes(self, frame: Any) -> Planes:
        """The planes of a frame, converted and scaled where that is needed."""
        if self.fits(frame) and EXACT.get(frame.format.name) == self.bit_depth:
            return exact_planes(frame)
        space: dict[str, Any] = {}
        if self.from_full:
            space = {"src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.MPEG}
            hd = self.matrix == _BT709
            space["dst_colorspace"] = Colorspace.ITU709 if hd else Colorspace.ITU601
        elif self.color_range:
            space = {"src_color_range": self.color_range, "dst_color_range": self.color_range}
        converted = frame.reformat(
            width=self.width,
            height=self.height,
            format=self.target,
            interpolation=_BICUBIC,
            **space,
        )
        return exact_planes(converted)
