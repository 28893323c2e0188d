"""Pictures that stand for a video: one of each event, or of each segment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stcodec.common.files import Overwrite, temporary_pictures
from stcodec.common.values import PathLike
from stcodec.flows.events import Event, find
from stcodec.flows.library import Video
from stcodec.media.writer import open_writer


@dataclass(frozen=True)
class KeyFrame:
    """A picture that was written: its number in the video, its time in seconds after the first
    one."""

    output: str
    picture: int
    time: float


def pattern(source: PathLike, folder: PathLike, ending: str) -> str:
    """Names of numbered files in a folder, after the name of a `.stp` file."""
    stem = Path(os.fspath(source)).stem.replace("%", "%%")
    return os.path.join(os.fspath(folder), f"{stem}-%03d{ending}")


def of_events(video: PathLike, threads: int = 0, max_pixels: int | None = None) -> list[int]:
    """The numbers of the pictures that show each event best."""
    found = find(video, threads=threads, max_pixels=max_pixels)
    return sorted({one.peak_frame for one in found if isinstance(one, Event)})


def write(
    video: Video, numbers: Sequence[int], target: str, overwrite: Overwrite
) -> Iterator[KeyFrame]:
    """Write pictures into the files of a pattern, numbered from 1; they appear together, when the
    last one is complete. Errors as those of `Video` and of outputs."""
    times = video.times()
    with temporary_pictures(target, overwrite) as temporary:
        writer = open_writer(temporary, video.info, format="pictures")
        for number in numbers:
            writer.write(video[number])
        writer.close()
    for i, number in enumerate(numbers, 1):
        yield KeyFrame(target % i, number, float(times[number]))
