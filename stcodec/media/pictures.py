"""Pictures out, a file for each: `frames/%04d.png`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.codec import CodecContext
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from stcodec.common.sequences import is_picture_output
from stcodec.common.values import (
    PROGRESSIVE,
    Extras,
    Packet,
    PathLike,
    Picture,
    StreamInfo,
    VideoInfo,
)
from stcodec.errors import StcodecError, UsageError
from stcodec.media.colour import rgb_from_planes
from stcodec.media.packets import reason

# By ending: FFmpeg's encoder, its format for 8 bits, and that for more, if there is one.
_ENCODERS = {
    ".png": ("png", "rgb24", "rgb48be"),
    ".jpg": ("mjpeg", "yuvj444p", None),
    ".jpeg": ("mjpeg", "yuvj444p", None),
    ".bmp": ("bmp", "bgr24", None),
    ".tif": ("tiff", "rgb24", "rgb48le"),
    ".tiff": ("tiff", "rgb24", "rgb48le"),
}
# Of 1 to 31: what is seen is then the .stp's own quality.
_JPEG_QUANTISER = "2"


def one_picture_alone(target: PathLike) -> UsageError:
    """What is wrong with the name of a picture where there are many."""
    ending = os.path.splitext(os.fspath(target))[1]
    return UsageError(
        f"{os.fspath(target)}: is for one picture, and there are more: name it with one place for "
        f"the number, as in frames/%04d{ending}"
    )


class PictureWriter:
    """R'G'B' pictures of the video's matrix and range, numbered from 1, turned as a player would
    turn them.

    target: a path with one place for the number, or a path for a single picture. 8 bits become 8,
    and 10 bits 16 where the ending has such.
    """

    def __init__(
        self,
        target: PathLike,
        info: VideoInfo,
        streams: Sequence[StreamInfo] = (),
        extras: Extras | None = None,
    ) -> None:
        self._pattern, self._info, self._count = os.fspath(target), info, 0
        self._numbered = is_picture_output(target)
        self._next_pts: int | None = None
        codec, pix_fmt, wide = _ENCODERS[os.path.splitext(self._pattern)[1].lower()]
        self._wide = info.bit_depth > 8 and wide is not None
        left = [f"{s.kind} ({s.codec})" for s in streams]
        left += ["chapters"] if extras and extras.chapters else []
        left += [a.name for a in extras.attachments] if extras else []
        self.notes: list[str] = []
        if left:
            self.notes.append(f"pictures hold no more than pictures, left out: {', '.join(left)}")
        if info.bit_depth > 8 and not self._wide:
            self.notes.append(f"{codec} holds 8 bits, not {info.bit_depth}: .png and .tif hold 16")
        if info.display_matrix:
            self.notes.append("pictures cannot say that they are to be mirrored")
        if info.mastering_display or info.content_light:
            self.notes.append("pictures cannot hold HDR metadata")
        if info.field_order != PROGRESSIVE:
            self.notes.append("pictures cannot say that they are interlaced: fields stay woven")
        turned = info.rotation % 180 == 90
        self._turns = info.rotation // 90 if info.rotation % 90 == 0 else 0
        try:
            encoder: Any = CodecContext.create(codec, "w")
            encoder.width, encoder.height = (
                (info.height, info.width) if turned else (info.width, info.height)
            )
            encoder.pix_fmt = wide if self._wide else pix_fmt
            encoder.time_base = Fraction(1, 25)
            encoder.thread_count = 1  # every picture comes out at once
            aspect = info.sample_aspect_ratio
            encoder.sample_aspect_ratio = 1 / aspect if turned else aspect
            if codec == "mjpeg":
                encoder.options = {"qmin": _JPEG_QUANTISER, "qmax": _JPEG_QUANTISER}
                encoder.color_range = ColorRange.JPEG
        except (FFmpegError, ValueError) as error:
            raise StcodecError(f"{codec} pictures cannot be written ({reason(error)})") from error
        self._encoder = encoder

    def write(self, item: Picture | Packet) -> None:
        """Write a picture; packets are left out."""
        if isinstance(item, Packet):
            return
        if self._next_pts not in (None, item.pts):
            note = "pictures have no time stamps: these are not equally far apart in time"
            if note not in self.notes:
                self.notes.append(note)
        self._next_pts = item.pts + item.duration
        self._count += 1
        if not self._numbered and self._count > 1:
            raise one_picture_alone(self._pattern)
        try:
            data = b"".join(bytes(packet) for packet in self._encoder.encode(self._frame(item)))
        except (FFmpegError, ValueError) as error:
            raise StcodecError(f"the output cannot be written ({reason(error)})") from error
        name = self._pattern % self._count if self._numbered else self._pattern
        Path(name).write_bytes(data)

    def _frame(self, picture: Picture) -> Any:
        y, u, v = (torch.from_numpy(p.astype(np.int32))[None, None] for p in picture.planes)
        peak, kind = (65535, np.uint16) if self._wide else (255, np.uint8)
        colours = (
            rgb_from_planes((y, u, v), self._info)
            .mul_(peak)
            .round_()[0]
            .permute(1, 2, 0)
            .numpy()
            .astype(kind)
        )
        samples = np.ascontiguousarray(np.rot90(colours, -self._turns))
        frame = av.VideoFrame.from_ndarray(samples, "rgb48le" if self._wide else "rgb24")
        space: dict[str, Any] = {}
        if self._encoder.pix_fmt.startswith("yuv"):  # JFIF is BT.601 of full range
            space = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.JPEG}
        frame = frame.reformat(format=self._encoder.pix_fmt, **space)
        frame.pts, frame.time_base = self._count, Fraction(1, 25)
        return frame

    def close(self) -> None:
        """Nothing is left to write."""
