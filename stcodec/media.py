"""What passes between media files and the codec, as plain values: pictures, packets, descriptions of streams."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
FULL_RANGE, LIMITED_RANGE = 2, 1


@dataclass(frozen=True)
class VideoInfo:
    """Everything that is needed to write the video stream back, as plain values.

    rotation: clockwise degrees by which a player turns the picture. color_*: code points of ITU-T H.273; color_range
    0 unknown, 1 limited, 2 full. chroma_location: 0 unknown, otherwise the chroma sample location type of H.273 plus
    one (1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6 bottom). frames and duration (seconds): what the file
    says, None where it does not. notes: what a user should know about how the input is read.
    """

    width: int
    height: int
    bit_depth: int
    time_base: Fraction
    frame_rate: Fraction | None
    sample_aspect_ratio: Fraction
    rotation: int
    color_range: int
    color_primaries: int
    color_transfer: int
    color_matrix: int
    chroma_location: int
    frames: int | None
    duration: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamInfo:
    """A stream that is carried as packets.

    kind: "audio", "subtitle" or "data". extradata: a media file (MP4, MOV or Matroska) that describes the stream and
    holds no packets of it, which has everything that a muxer needs. parameters: a few values for people, such as
    sample_rate.
    """

    kind: str
    codec: str
    time_base: Fraction
    extradata: bytes
    parameters: dict[str, int | str]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """4:2:0 planes (uint8, or uint16 for 10 bits; chroma sizes rounded up); pts and duration in the time base."""

    planes: Planes
    pts: int
    duration: int


@dataclass(frozen=True)
class Packet:
    """An encoded packet of carried stream `stream`, in units of that stream's time base."""

    stream: int
    pts: int | None
    dts: int | None
    duration: int
    keyframe: bool
    data: bytes
