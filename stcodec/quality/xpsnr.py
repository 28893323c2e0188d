"""XPSNR, measured by an FFmpeg that has the filter: PSNR whose errors weigh less where a viewer
sees less of them, in busy and in moving parts of a picture.

XPSNR: Helmrich, Siekmann, Becker, Bosse, Marpe and Wiegand, "XPSNR: A low-complexity extension of
the perceptually weighted peak signal-to-noise ratio for high-resolution video quality assessment",
2020.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from stcodec.common.values import VideoInfo
from stcodec.errors import StcodecError
from stcodec.quality.filters import Meter, ffmpeg_with, of_files
from stcodec.quality.metrics import MAX_PSNR

PLANES = "yuv"
_LOG = "xpsnr.log"
_MEASURE = f"xpsnr=stats_file={_LOG}:shortest=1"
_SCORE = r"XPSNR {}: +(inf|[0-9.]+)"


@functools.cache
def available() -> str | None:
    """The path of an FFmpeg with the filter, None where there is none."""
    return ffmpeg_with("xpsnr")


def xpsnr(reference: str | os.PathLike[str], distorted: str | os.PathLike[str]) -> list[float]:
    """XPSNR of the luma of each picture in dB, at most 100, of two files that FFmpeg reads; see
    `vmaf.vmaf`."""
    return of_files("XPSNR", _required(), _MEASURE, lambda f: _read(f)["y"], reference, distorted)


class XpsnrMeter(Meter):
    """XPSNR of pictures as they come, in dB, at most 100: of the luma, in `result`, and of each
    plane, in `planes`. StcodecError where there is no FFmpeg with the filter."""

    def __init__(self, info: VideoInfo) -> None:
        self.planes: dict[str, list[float]] = {}
        """By plane, of `PLANES`; there after `result`."""
        super().__init__("XPSNR", _required(), _MEASURE, self._scores, info)

    def _scores(self, folder: Path) -> list[float]:
        self.planes = _read(folder)
        return self.planes["y"]


def _required() -> str:
    ffmpeg = available()
    if ffmpeg is None:
        raise StcodecError(
            "XPSNR needs an ffmpeg with that filter on PATH, or: pip install 'stcodec[bench]'"
        )
    return ffmpeg


def _read(folder: Path) -> dict[str, list[float]]:
    """What FFmpeg left in `folder`, by plane."""
    try:
        lines = (folder / _LOG).read_text().splitlines()
    except OSError as error:
        raise StcodecError(f"XPSNR: ffmpeg's answer cannot be read ({error})") from error
    pictures = [line for line in lines if line.startswith("n:")]
    return {plane: [_score(line, plane) for line in pictures] for plane in PLANES}


def _score(line: str, plane: str) -> float:
    found = re.search(_SCORE.format(plane), line)
    if found is None:
        raise StcodecError(f"XPSNR: ffmpeg's answer cannot be read ({line.strip()})")
    return min(MAX_PSNR, float(found[1]))
