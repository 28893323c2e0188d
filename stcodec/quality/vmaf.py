"""VMAF, measured by an FFmpeg that was built with libvmaf: of two files, or of pictures as they
come.

The model is libvmaf's default, vmaf_v0.6.1: what a viewer sees of a 1080p picture from three
heights away. Scores of small pictures therefore compare only among themselves. VMAF: Li, Aaron,
Katsavounidis, Moorthy and Manohara, "Toward a practical perceptual video quality metric", 2016.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

from stcodec.common.threads import cores
from stcodec.common.values import VideoInfo
from stcodec.errors import StcodecError
from stcodec.quality.filters import Meter, ffmpeg_with, of_files

MODEL = "vmaf_v0.6.1"
_LOG = "scores.json"


@functools.cache
def available() -> str | None:
    """The path of an FFmpeg with libvmaf, None where there is none."""
    return ffmpeg_with("libvmaf")


def vmaf(
    reference: str | os.PathLike[str],
    distorted: str | os.PathLike[str],
    *,
    threads: int | None = None,
) -> list[float]:
    """The VMAF of each picture, 0 ... 100: a list of as many numbers as the shorter of the two
    files has pictures.

    Both are files that FFmpeg reads (.y4m for exact planes) of one picture size; pictures are
    paired by number, whatever their time stamps. `threads` as in `VmafMeter`. Raises StcodecError
    where there is no FFmpeg with libvmaf or it fails.
    """
    return of_files("VMAF", _required(), _filter(threads), _scores, reference, distorted)


class VmafMeter(Meter):
    """VMAF of pictures as they come, 0 ... 100. `threads` measure, by default one per core. Raises
    StcodecError where there is no FFmpeg with libvmaf."""

    def __init__(self, info: VideoInfo, *, threads: int | None = None) -> None:
        super().__init__("VMAF", _required(), _filter(threads), _scores, info)


def _required() -> str:
    ffmpeg = available()
    if ffmpeg is None:
        raise StcodecError(
            "VMAF needs an ffmpeg with libvmaf on PATH, or: pip install 'stcodec[bench]'"
        )
    return ffmpeg


def _filter(threads: int | None) -> str:
    log = f"log_fmt=json:log_path={_LOG}"
    return f"libvmaf=model=version={MODEL}:{log}:n_threads={threads or cores()}:shortest=1"


def _scores(folder: Path) -> list[float]:
    """What FFmpeg left in `folder`."""
    try:
        log = json.loads((folder / _LOG).read_text())
        return [float(frame["metrics"]["vmaf"]) for frame in log["frames"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StcodecError(f"VMAF: ffmpeg's answer cannot be read ({error})") from error
