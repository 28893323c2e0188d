"""Sources of a benchmark: exact 4:2:0 planes, scaled if asked for, as a y4m file; and the table of
clips."""

from __future__ import annotations

import csv
import itertools
import math
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
from stcodec.media.y4m import Y4MWriter


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


@dataclass(frozen=True)
class Row:
    """What a table says of a clip: its kind of content, the scale at which to measure it, and where
    it comes from ("": not known)."""

    kind: str = "other"
    scale: float = 1.0
    source: str = ""


Table = dict[str, Row]
"""Rows by the file names of clips."""
TABLE_NAME = "CLIPS.tsv"
"""What the table of a folder's own clips is called."""


def read_table(path: Path | None) -> Table:
    """Rows of a tab-separated table with the columns path, kind, and scale or evaluate_at_scale; a
    column source may be there.

    InputError where it is no such table, or a scale is no positive number (none: 1).
    """
    if path is None:
        return {}
    check_input(path)
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of clips ({error})") from error
    columns = set(rows[0]) if rows else set()
    column = "scale" if "scale" in columns else "evaluate_at_scale"
    for wanted in ("path", "kind", column):
        if wanted not in columns or rows[0][wanted] is None:
            raise InputError(f"{path}: not a table of clips (there is no column {wanted!r})")
    return {
        Path(row["path"]).name: Row(
            row["kind"] or "other",
            _scale(row[column], row["path"], path),
            row.get("source") or "",
        )
        for row in rows
    }


def _scale(text: str | None, clip: str, table: Path) -> float:
    try:
        scale = float(text or 1)
    except ValueError:
        scale = 0.0
    if not 0 < scale < math.inf:
        raise InputError(f"{table}: {clip}: {text!r} is no scale")
    return scale


def prepare(source: Path, folder: Path, table: Table, scale: float | None, frames: int) -> Clip:
    """Write `source` (at most `frames` pictures, 0: all) as planes of 8 bits and even size into
    `folder`; deeper samples are rounded."""
    row = table.get(source.name, Row())
    factor = row.scale if scale is None else scale
    path = folder / f"{source.stem}.y4m"
    with VideoReader(source, carry="none") as video, open(path, "wb") as stream:
        width, height = (round(n * factor) // 2 * 2 for n in (video.info.width, video.info.height))
        if min(width, height) < 2:
            raise UsageError(f"{source}: nothing is left of it at a scale of {factor:g}")
        rate = video.info.frame_rate or Fraction(25)
        info = replace(
            video.info, bit_depth=8, width=width, height=height, frame_rate=rate, rotation=0
        )
        writer = Y4MWriter(stream, info)
        count = 0
        pictures = (item for item in video if isinstance(item, Picture))
        for item in itertools.islice(pictures, frames or None):
            planes = tuple(
                _resize(p, height // s, width // s, video.info.bit_depth)
                for p, s in zip(item.planes, (1, 2, 2), strict=True)
            )
            writer.write(Picture(planes, item.pts, item.duration))  # type: ignore[arg-type]
            count += 1
    return Clip(source.stem, row.kind, factor, path, width, height, count, rate)


def _resize(plane: np.ndarray, height: int, width: int, bit_depth: int) -> np.ndarray:
    """A plane of `height` x `width` samples of 8 bits, each rounded once: bicubic, antialiased, but
    cut where a single row or column is too many."""
    if 0 <= plane.shape[0] - height <= 1 and 0 <= plane.shape[1] - width <= 1:
        plane = plane[:height, :width]
        if bit_depth == 8:
            return plane
        half = 1 << (bit_depth - 9)
        return np.minimum((plane.astype(np.uint32) + half) >> (bit_depth - 8), 255).astype(np.uint8)
    from stcodec.media.resize import resized  # here: it needs torch, which another codec does not

    return resized(plane, height, width, bit_depth)


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
