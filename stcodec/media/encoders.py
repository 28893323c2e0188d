"""Which video encoders there are, and which of them a format takes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.error import FFmpegError

from stcodec.errors import UsageError

AUTO = "auto"
NAMES = {"mp4": "MP4", "mov": "MOV", "matroska": "Matroska", "webm": "WebM"}
"""Formats, as people call them."""
_USUAL = {"webm": ("libvpx-vp9", "libsvtav1", "libaom-av1", "librav1e")}
"""What is taken where nobody asks for more, the first that is there; libx264 for other formats."""
# Encoders that halve the chroma of pictures of an odd size.
_ODD = ("libvpx", "libvpx-vp9", "libsvtav1", "libaom-av1", "librav1e")
_OF_WEBM = {"vp8": "VP8", "vp9": "VP9", "av1": "AV1"}
# What people call them.
_OTHER_NAMES = {
    **dict.fromkeys(("h264", "h.264", "x264", "avc", "x264_10bit"), "libx264"),
    **dict.fromkeys(("h265", "h.265", "x265", "hevc", "x265_10bit"), "libx265"),
    **dict.fromkeys(("av1", "svtav1", "svt_av1", "svt-av1"), "libsvtav1"),
    **dict.fromkeys(("vp9", "vpx-vp9"), "libvpx-vp9"),
    **dict.fromkeys(("vp8", "vpx"), "libvpx"),
}
LIST = "stcodec codecs lists those that work here"


def choose(codec: str, format: str, odd: bool = False, bit_depth: int = 8) -> tuple[str, str]:
    """The encoder of a name for a file of `format`, of `AUTO` the usual one, and the format of its
    pixels: 4:2:0, but 4:4:4 where pictures of an odd size are too much for it. UsageError where it
    is not there, it cannot take such pictures, or the format cannot hold what it makes."""
    if codec == AUTO:
        usual = _USUAL.get(format, ("libx264",))
        for name in filter(is_there, usual):
            pixels = _pixels(name, odd, bit_depth)
            if _takes(av.codec.Codec(name, "w"), pixels):
                return name, pixels
        raise UsageError(
            f"{NAMES[format]} needs one of the encoders {', '.join(usual)}, and this PyAV has none "
            f"that takes {bit_depth} bits ({LIST})"
        )
    try:
        encoder = av.codec.Codec(codec, "w")
    except (FFmpegError, ValueError) as error:
        near = [c.name for c in candidates() if _OTHER_NAMES.get(codec.lower()) == c.name]
        near = near or difflib.get_close_matches(codec, [c.name for c in candidates()], 1)
        meant = f" (is {near[0]} meant?)" if near else ""
        raise UsageError(f"codec {codec!r} cannot be used here{meant}: {LIST}") from error
    if encoder.type != "video":
        raise UsageError(f"codec {codec!r} is no video encoder: {LIST}")
    if format == "webm" and _coding(encoder) not in _OF_WEBM:
        raise UsageError(
            f"codec {codec!r}: WebM holds {', '.join(_OF_WEBM.values())} alone; .mkv holds anything"
        )
    pixels = _pixels(codec, odd, bit_depth)
    if not _takes(encoder, pixels):
        raise UsageError(f"codec {codec!r} cannot write these pictures ({pixels}): {LIST}")
    return codec, pixels


def _pixels(codec: str, odd: bool, bit_depth: int) -> str:
    halved = "yuv420p" if not odd or codec in _ODD else "yuv444p"
    return halved + ("10le" if bit_depth == 10 else "")


def _takes(encoder: Any, pixels: str) -> bool:
    formats = encoder.video_formats
    return not formats or any(f.name == pixels for f in formats)


def is_there(name: str) -> bool:
    """Whether there is an encoder of that name."""
    try:
        av.codec.Codec(name, "w")
    except (FFmpegError, ValueError):
        return False
    return True


def settings(codec: str, crf: float, preset: str) -> dict[str, str]:
    """The options of an encoder for a quality and a speed."""
    options = {"crf": str(crf)}
    if codec in ("libx264", "libx265"):
        options["preset"] = preset
    elif codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only
        # It numbers its presets.
        options["preset"] = preset if preset.isdigit() else "10"
    elif codec.startswith("libvpx"):
        options |= {"deadline": "good", "cpu-used": "5", "row-mt": "1"}
    return options


@dataclass(frozen=True)
class Listed:
    """An encoder: its name, the coding that it makes, and what FFmpeg calls it."""

    name: str
    coding: str
    description: str


def candidates() -> Iterator[Listed]:
    """Every video encoder that takes 4:2:0 with 8 bits, whether it works on this machine or not."""
    for name in sorted(av.codec.codecs_available):
        try:
            encoder = av.codec.Codec(name, "w")
        except (FFmpegError, ValueError):
            continue
        if encoder.type != "video" or encoder.name != name:
            continue
        formats = encoder.video_formats or ()
        if any(f.name in ("yuv420p", "nv12") for f in formats):
            yield Listed(name, _coding(encoder), encoder.long_name)


def _coding(encoder: Any) -> str:
    """What an encoder makes: vp9, h264, ..."""
    return str(encoder.canonical_name)
