"""Sources of a benchmark: exact 4:2:0 planes, scaled if asked for, as a y4m file; and the table of
clips."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stcodec.common.files import check_input
from stcodec.common.values import Picture, Planes, VideoInfo
from stcodec.errors import InputError, UsageError
from stcodec.media.reader import VideoReader
from stcodec.media.writer import Y4MWriter


@dataclass(frozen=True)
class Clip:
    """A clip of a benchmark: its kind of content, the scale at which it is measured, a y4m file,
    and its properties."""

    name: str
    kind: str
    scale: float
    path: Path
    width: int
    height: int
    frames: int
    rate: Fraction

    def description(self) -> dict[str, Any]:
        """Plain values, for JSON: all but the file."""
        values = {**vars(self), "rate": round(float(self.rate), 3)}
        del values["path"]
        return values


def read_table(path: Path | None) -> dict[str, dict[str, str]]:
    """Rows of a tab-separated table of clips by file name; needs the columns path, kind and
    evaluate_at_scale."""
    if path is None:
        return {}
    check_input(path)
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of clips ({error})") from error
    for column in ("path", "kind", "evaluate_at_scale"):
        if not rows or rows[0].get(column) is None:
            raise InputError(f"{path}: not a table of clips (there is no column {column!r})")
    return {Path(row["path"]).name: row for row in rows}


def prepare(
    source: Path, folder: Path, table: dict[str, dict[str, str]], scale: float | None, frames: int
) -> Clip:
    """Write `source` (at most `frames` pictures, 0: all) as 8-bit planes of even size into
    `folder`."""
    row = table.get(source.name, {})
    factor = scale if scale is not None else _scale(row.get("evaluate_at_scale") or "1", source)
    path = folder / f"{source.stem}.y4m"
    with VideoReader(source, carry="none") as video, open(path, "wb") as stream:
        if video.info.bit_depth != 8:
            raise InputError(f"{source}: benchmarks take 8-bit sources")
        width, height = (round(n * factor) // 2 * 2 for n in (video.info.width, video.info.height))
        if min(width, height) < 2:
            raise UsageError(f"{source}: nothing is left of it at a scale of {factor:g}")
        rate = video.info.frame_rate or Fraction(25)
        info = replace(video.info, width=width, height=height, frame_rate=rate, rotation=0)
        writer = Y4MWriter(stream, info)
        count = 0
        pictures = (item for item in video if isinstance(item, Picture))
        for item in itertools.islice(pictures, frames or None):
            planes = tuple(
                _resize(p, height // s, width // s)
                for p, s in zip(item.planes, (1, 2, 2), strict=True)
            )
            writer.write(Picture(planes, item.pts, item.duration))  # type: ignore[arg-type]
            count += 1
    return Clip(source.stem, row.get("kind") or "other", factor, path, width, height, count, rate)


def _scale(text: str, source: Path) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{source}: the table's scale {text!r} is no number") from error


def _resize(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    if plane.shape == (height, width):
        return plane
    if 0 <= plane.shape[0] - height <= 1 and 0 <= plane.shape[1] - width <= 1:
        return plane[:height, :width]
    import torch  # here, so that a process that runs another codec does without
    import torch.nn.functional as F

    tensor = torch.from_numpy(plane.astype(np.float32))[None, None]
    small = F.interpolate(
        tensor, (height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return small[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def pictures(path: Path) -> Iterator[Planes]:
    """The planes of a video file, picture by picture."""
    with VideoReader(path, carry="none") as video:
        for item in video:
            if isinstance(item, Picture):
                yield item.planes


def to_y4m(source: Path, target: Path) -> int:
    """Decode a video file into YUV4MPEG2; returns the number of pictures."""
    count = 0
    with VideoReader(source, carry="none") as video, open(target, "wb") as stream:
        writer = Y4MWriter(stream, replace(video.info, rotation=0))
        for item in video:
            if isinstance(item, Picture):
                writer.write(item)
                count += 1
    return count


def first_info(path: Path) -> VideoInfo:
    """The properties of a video file."""
    with VideoReader(path, carry="none") as video:
        return video.info
