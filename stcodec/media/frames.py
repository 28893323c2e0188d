"""What a decoded frame says: its planes as they are, and how a player is to show them."""

from __future__ import annotations

import io
import re
import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type

from stcodec.common.values import LostNote, MasteringDisplay, Planes

EXACT = {"yuv420p": 8, "yuvj420p": 8, "nv12": 8, "yuv420p10le": 10, "p010le": 10}
"""Bits per sample of the formats whose samples are taken as they are."""


def _unknown_kind(cls: type[Type], value: object) -> Any:
    """A kind of side data that FFmpeg has and PyAV has no name for, such as EXIF in PyAV 18.1."""
    kind: Any = object.__new__(cls)
    kind._name_, kind._value_ = f"UNKNOWN_{value}", value
    return kind


# Without it, PyAV shows no side data at all of a frame that has some of an unknown kind.
Type._missing_ = classmethod(_unknown_kind)  # type: ignore[assignment]


def exact_planes(frame: Any) -> Planes:
    """Copies of the three planes of a 4:2:0 frame, without padding."""
    wide = "10" in frame.format.name
    width, height = frame.width, frame.height
    half_width, half_height = (width + 1) // 2, (height + 1) // 2

    def plane(index: int, w: int, h: int) -> np.ndarray:
        p = frame.planes[index]
        samples = np.frombuffer(p, np.uint16 if wide else np.uint8).reshape(
            -1, p.line_size // (2 if wide else 1)
        )
        return samples[:h, :w]

    luma = plane(0, width, height)
    if frame.format.name in ("nv12", "p010le"):
        both = plane(1, 2 * half_width, half_height)
        planes = (luma, both[:, 0::2], both[:, 1::2])
    else:
        planes = (luma, plane(1, half_width, half_height), plane(2, half_width, half_height))
    shift = 6 if frame.format.name == "p010le" else 0
    return tuple(np.ascontiguousarray(p >> shift) if shift else p.copy() for p in planes)  # type: ignore[return-value]


def repeat_chroma(planes: Planes) -> Planes:
    """The planes of a 4:2:0 picture as those of a 4:4:4 one."""
    height, width = planes[0].shape
    u, v = (p.repeat(2, 0).repeat(2, 1)[:height, :width] for p in planes[1:])
    return planes[0], u, v


def chroma_location(stream: Any) -> int:
    """The chroma location that FFmpeg found, numbered as in VideoInfo.

    PyAV does not show it, but the Matroska muxer writes it, as ChromaSitingHorz and
    ChromaSitingVert (RFC 9559): 1 for left or top, 2 for half-way.
    """
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (FFmpegError, ValueError):
        return 0
    colour = re.search(rb"\x55\xb7\x81(.)\x55\xb8\x81(.)", buffer.getvalue(), re.DOTALL)
    sites = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}
    return sites.get((colour[1][0], colour[2][0]), 0) if colour else 0


def lost_side_data(frame: Any) -> list[str]:
    """Notes on what is said about a frame and cannot be kept."""
    kinds = _kinds(frame)
    notes: list[str] = []
    if kinds & {"DYNAMIC_HDR_PLUS", "DYNAMIC_HDR_VIVID"}:
        notes.append(LostNote("dynamic HDR metadata is not kept"))
    if kinds & {"DOVI_RPU_BUFFER", "DOVI_METADATA"}:
        notes.append(LostNote("Dolby Vision metadata is not kept: the base layer is coded"))
    if kinds & {"STEREO3D", "SPHERICAL"}:
        what = "the description of stereoscopic or spherical video"
        notes.append(LostNote(f"{what} is not kept"))
    if "FILM_GRAIN_PARAMS" in kinds:
        notes.append(LostNote("film grain parameters are not kept"))
    return notes


def _kinds(frame: Any) -> set[str]:
    return {data.type.name for data in frame.side_data}


def mirror_matrix(frame: Any) -> tuple[int, ...] | None:
    """The display matrix of a frame that is to be shown as a mirror image, else None: its rotation
    says everything."""
    if "DISPLAYMATRIX" not in _kinds(frame):
        return None
    matrix = struct.unpack("=9i", bytes(frame.side_data["DISPLAYMATRIX"]))
    return matrix if matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0 else None


def mastering_display(frame: Any) -> MasteringDisplay | None:
    """What FFmpeg's AVMasteringDisplayMetadata of a frame holds: red, green, blue, white,
    luminance, and which are there."""
    if "MASTERING_DISPLAY_METADATA" not in _kinds(frame):
        return None
    data = bytes(frame.side_data["MASTERING_DISPLAY_METADATA"])
    if len(data) < 88:
        return None
    values = struct.unpack("=22i", data[:88])
    pairs = list(zip(values[0:20:2], values[1:20:2], strict=True))
    if any(d <= 0 for _, d in pairs):
        return None
    numbers = [Fraction(n, d) for n, d in pairs]
    has_primaries, has_luminance = values[20:]
    if not (has_primaries or has_luminance):
        return None
    return MasteringDisplay(
        tuple(numbers[:8]) if has_primaries else None,
        (numbers[8], numbers[9]) if has_luminance else None,
    )


def content_light(frame: Any) -> tuple[int, int] | None:
    """The brightest sample and the brightest picture on average, in cd/m2."""
    if "CONTENT_LIGHT_LEVEL" not in _kinds(frame):
        return None
    data = bytes(frame.side_data["CONTENT_LIGHT_LEVEL"])
    if len(data) < 8:
        return None
    brightest, average = struct.unpack("=2I", data[:8])
    return (brightest, average) if brightest or average else None
