"""What passes between media files and the codec, as plain values: pictures, packets, descriptions
of streams."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

import numpy as np

PathLike = str | os.PathLike[str]
"""The name of a file."""
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
FULL_RANGE, LIMITED_RANGE = 2, 1
PROGRESSIVE = "progressive"
FIELD_ORDERS = (PROGRESSIVE, "tt", "bb", "tb", "bt")
"""First letter: the field that is coded first, top or bottom; second letter: the field that is
shown first."""


@dataclass(frozen=True)
class MasteringDisplay:
    """The display on which a picture was graded (SMPTE ST 2086). primaries: x and y of red, green,
    blue and white, 8 numbers; luminance: the darkest and the brightest level in cd/m2. None where
    it is not said."""

    primaries: tuple[Fraction, ...] | None = None
    luminance: tuple[Fraction, Fraction] | None = None


@dataclass(frozen=True)
class VideoInfo:
    """Everything that is needed to write the video stream back, as plain values.

    rotation: clockwise degrees by which a player turns the picture. color_*: code points of ITU-T
    H.273; color_range 0 unknown, 1 limited, 2 full. chroma_location: 0 unknown, otherwise the
    chroma sample location type of H.273 plus one (1 left, 2 centre, 3 top left, 4 top, 5 bottom
    left, 6 bottom). frames and duration (seconds): what the file says, None where it does not.
    notes: what a user should know about how the input is read. display_matrix: what a player does
    with the picture, nine numbers row by row as in ISO/IEC 14496-12, where that is more than
    `rotation` (a mirror image); else None. field_order: one of FIELD_ORDERS. content_light: the
    brightest sample and the brightest picture on average, in cd/m2 (CTA-861.3). metadata: text by
    name. disposition: FFmpeg's names, such as "default".
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
    display_matrix: tuple[int, ...] | None = None
    field_order: str = PROGRESSIVE
    mastering_display: MasteringDisplay | None = None
    content_light: tuple[int, int] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    disposition: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamInfo:
    """A stream that is carried as packets.

    kind: "audio", "subtitle" or "data". extradata: a media file (MP4, MOV or Matroska) that
    describes the stream and holds no packets of it, which has everything that a muxer needs.
    parameters: a few values for people, such as sample_rate. disposition: FFmpeg's names, such as
    "default" or "forced".
    """

    kind: str
    codec: str
    time_base: Fraction
    extradata: bytes
    parameters: dict[str, int | str]
    metadata: dict[str, str]
    disposition: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """start and end in seconds on the time line of the pictures; metadata: text by name, such as
    "title"."""

    start: Fraction
    end: Fraction
    metadata: Mapping[str, str]

    def moved(self, seconds: Fraction) -> Chapter:
        """The same chapter, later by so many seconds."""
        return Chapter(self.start + seconds, self.end + seconds, self.metadata)


@dataclass(frozen=True)
class Attachment:
    """A file within a file, such as a font. cover: a picture that stands for the whole, such as a
    poster."""

    name: str
    mimetype: str
    data: bytes
    cover: bool = False


@dataclass(frozen=True)
class Extras:
    """What belongs to a whole media file and not to a moment of it."""

    chapters: tuple[Chapter, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Picture:
    """4:2:0 planes (uint8, or uint16 for 10 bits; chroma sizes rounded up); pts and duration in the
    time base."""

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


class ConvertedNote(str):
    """A line for a user: something is kept as something else."""


class LostNote(str):
    """A line for a user: something is not kept."""


class Pause(Enum):
    """What a source may say between two items. WAIT: nothing more has come yet, so what can be made
    of what has come is due; GAP: what follows does not go on from what came before."""

    WAIT = "wait"
    GAP = "gap"


@dataclass(frozen=True)
class Progress:
    """Frames done, frames in all (None where the input does not say), bytes written."""

    frames: int
    total: int | None
    written: int
