"""XPSNR, measured by an FFmpeg that has the filter: PSNR whose errors weigh less where a viewer
sees less of them, in busy and in moving parts of a picture.

XPSNR: Helmrich, Siekmann, Becker, Bosse, Marpe and Wiegand, "XPSNR: A low-complexity extension of
the perceptually weighted peak signal-to-noise ratio for high-resolution video quality assessment",
2020.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from stcodec.common.values import VideoInfo
from stcodec.errors import StcodecError
from stcodec.quality.filters import Meter, ffmpeg_with
from stcodec.quality.metrics import MAX_PSNR

PLANES = "yuv"
_LOG = "xpsnr.log"
_SCORE = r"XPSNR {}: +(inf|[0-9.]+)"


@functools.cache
def available() -> str | None:
    """The path of an FFmpeg with the filter, None where there is none."""
    return ffmpeg_with("xpsnr")


class XpsnrMeter(Meter):
    """XPSNR of pictures as they come, in dB, at most 100: of the luma, in `result`, and of each
    plane, in `planes`. StcodecError where there is no FFmpeg with the filter."""

    def __init__(self, info: VideoInfo) -> None:
        ffmpeg = available()
        if ffmpeg is None:
            raise StcodecError(
                "XPSNR needs an ffmpeg with that filter on PATH, or: pip install 'stcodec[bench]'"
            )
        self.planes: dict[str, list[float]] = {}
        """By plane, of `PLANES`; there after `result`."""
        measure = f"xpsnr=stats_file={_LOG}:shortest=1"
        super().__init__("XPSNR", ffmpeg, measure, self._scores, info)

    def _scores(self, folder: Path) -> list[float]:
        try:
            lines = (folder / _LOG).read_text().splitlines()
        except OSError as error:
            raise StcodecError(f"XPSNR: ffmpeg's answer cannot be read ({error})") from error
        pictures = [line for line in lines if line.startswith("n:")]
        for plane in PLANES:
            self.planes[plane] = [_score(line, plane) for line in pictures]
        return self.planes["y"]


def _score(line: str, plane: str) -> float:
    found = re.search(_SCORE.format(plane), line)
    if found is None:
        raise StcodecError(f"XPSNR: ffmpeg's answer cannot be read ({line.strip()})")
    return min(MAX_PSNR, float(found[1]))
