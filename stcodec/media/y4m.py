"""Raw pictures out: YUV4MPEG2, as files and through pipes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from stcodec.common.values import (
    FULL_RANGE,
    LIMITED_RANGE,
    PROGRESSIVE,
    Extras,
    Packet,
    Picture,
    StreamInfo,
    VideoInfo,
)

# Which field is shown first.
_INTERLACING = {PROGRESSIVE: "p", "tt": "t", "bt": "t", "bb": "b", "tb": "b"}
# Pictures from its place that one has to be to be said: less is how formats round times.
_LATE = Fraction(1, 2)


class Y4MWriter:
    """YUV4MPEG2: the decoded planes exactly; it knows neither time stamps nor audio."""

    def __init__(
        self,
        stream: BinaryIO,
        info: VideoInfo,
        streams: Sequence[StreamInfo] = (),
        extras: Extras | None = None,
    ) -> None:
        self.notes: list[str] = []
        left = [f"{s.kind} ({s.codec})" for s in streams]
        left += ["chapters"] if extras and extras.chapters else []
        left += [a.name for a in extras.attachments] if extras else []
        if left:
            self.notes.append(f"YUV4MPEG2 holds pictures alone, left out: {', '.join(left)}")
        if info.rotation or info.display_matrix:
            turned = "mirrored" if info.display_matrix else f"turned by {info.rotation} degrees"
            self.notes.append(f"YUV4MPEG2 cannot say that the picture is to be {turned}")
        if info.mastering_display or info.content_light:
            self.notes.append("YUV4MPEG2 cannot hold HDR metadata")
        self._stream, self._time_base = stream, info.time_base
        self._rate = rate = info.frame_rate or Fraction(25)
        self._first: int | None = None
        self._count, self._off = 0, Fraction(0)
        aspect = info.sample_aspect_ratio
        space = {
            8: {3: "420paldv", 1: "420mpeg2"}.get(info.chroma_location, "420jpeg"),
            10: "420p10",
        }[info.bit_depth]
        extra = " XCOLORRANGE=FULL" if info.color_range == FULL_RANGE else ""
        extra = " XCOLORRANGE=LIMITED" if info.color_range == LIMITED_RANGE else extra
        stream.write(
            f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} "
            f"I{_INTERLACING[info.field_order]} "
            f"A{aspect.numerator}:{aspect.denominator} C{space}{extra}\n".encode()
        )

    def write(self, item: Picture | Packet) -> None:
        """Write a picture; packets are left out."""
        if isinstance(item, Picture):
            self._first = item.pts if self._first is None else self._first
            time = (item.pts - self._first) * self._time_base
            self._off = max(self._off, abs(time - self._count / self._rate))
            self._count += 1
            self._stream.write(b"FRAME\n")
            for plane in item.planes:
                self._stream.write(
                    np.ascontiguousarray(plane)
                    .astype(plane.dtype.newbyteorder("<"), copy=False)
                    .tobytes()
                )
            self._stream.flush()  # somebody may be waiting for it

    def close(self) -> None:
        """Nothing is left to write but a note of times that are lost."""
        self._stream.flush()
        if self._off * self._rate >= _LATE:
            self.notes.append(
                f"YUV4MPEG2 knows no times: pictures come at {float(self._rate):.6g} frames/s, "
                f"up to {float(self._off):.3f} s from when they are to be shown"
            )
