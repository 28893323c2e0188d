"""How alike two videos are, picture by picture; each is a media file or a `.stp` file, which our
own decoder reads."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from stcodec.common import plotting
from stcodec.common.files import is_standard_stream, open_input
from stcodec.common.values import FULL_RANGE, PathLike, Picture, Planes, Progress, VideoInfo
from stcodec.container.stp import SIGNATURE
from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.flows.reading import read_stp
from stcodec.media.reader import VideoReader
from stcodec.options import CompareOptions
from stcodec.quality import vmaf, xpsnr
from stcodec.quality.filters import Meter
from stcodec.quality.metrics import mse, psnr, ssim_and_ms_ssim, weighted_611

# What YUV4MPEG2 starts with: it has a frame rate, but no time stamps.
_Y4M = b"YUV4MPEG2 "
_COLUMNS = {
    "psnr": ("psnr_y", "psnr_u", "psnr_v", "psnr_611"),
    "ssim": ("ssim",),
    "ms-ssim": ("ms_ssim",),
}
PERCENTILES = (1, 5)


@dataclass(frozen=True)
class Side:
    """One of two videos: pictures seen, how many of them had no partner, bytes of the file (None
    for a pipe), seconds."""

    name: str
    frames: int
    unmatched: int
    bytes: int | None
    duration: float

    @property
    def bit_rate(self) -> float | None:
        """Bits per second of the whole file."""
        return None if self.bytes is None or not self.duration else 8 * self.bytes / self.duration


@dataclass(frozen=True)
class Summary:
    """A metric over all pairs: mean, lowest, what `PERCENTILES` of the pairs lie at or below, which
    pair is the worst."""

    mean: float
    min: float
    percentiles: tuple[float, ...]
    worst: int


@dataclass(frozen=True)
class Comparison:
    """Scores of every pair of pictures, and what a user should know.

    `scores`: names ("psnr_y", "psnr_u", "psnr_v", "psnr_611" in dB, at most 100; "ssim", "ms_ssim"
    in [-1, 1]; "vmaf" in 0 ... 100; "xpsnr_y", "xpsnr_u", "xpsnr_v" in dB, at most 100) to a
    number per pair. `numbers` and `times` of each pair: which picture of the reference, and its
    seconds after the first one.
    """

    reference: Side
    distorted: Side
    width: int
    height: int
    bit_depth: int
    matched_by: str
    numbers: array[int]
    times: array[float]
    scores: Mapping[str, array[float]]
    notes: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Pairs."""
        return len(self.times)

    def summary(self, name: str) -> Summary:
        """The score called `name`, over all pairs."""
        values = np.asarray(self.scores[name])
        levels = tuple(float(np.percentile(values, p, method="lower")) for p in PERCENTILES)
        return Summary(float(values.mean()), float(values.min()), levels, int(values.argmin()))

    @property
    def bits_per_pixel(self) -> float | None:
        """Bits of the distorted file per luma sample of its pictures."""
        if self.distorted.bytes is None:
            return None
        return 8 * self.distorted.bytes / (self.width * self.height * self.distorted.frames)


@dataclass
class _Source:
    """An open video. `origin` and `end` are known once a picture has been read."""

    name: str
    info: VideoInfo
    pictures: Iterator[Picture]
    timed: bool
    total: int | None
    bytes: int | None
    reader: VideoReader | None
    seen: int = 0
    unmatched: int = 0
    origin: Fraction = field(default_factory=Fraction)
    end: Fraction = field(default_factory=Fraction)

    def next(self) -> Picture | None:
        """The next picture; None at the end."""
        picture = next(self.pictures, None)
        if picture is not None:
            base = self.info.time_base
            if not self.seen:
                self.origin = picture.pts * base
            self.end = (picture.pts + picture.duration) * base
            self.seen += 1
        return picture

    def time(self, picture: Picture) -> Fraction:
        """Seconds after the first picture."""
        return picture.pts * self.info.time_base - self.origin

    def side(self) -> Side:
        """What was seen of it."""
        return Side(self.name, self.seen, self.unmatched, self.bytes, float(self.end - self.origin))


@contextlib.contextmanager
def _opened(path: PathLike, options: CompareOptions) -> Iterator[_Source]:
    name = "standard input" if is_standard_stream(path) else os.fspath(path)
    with open_input(path) as stream:
        start = _peek(stream)
        # What a pipe has given cannot be read again by another reader.
        piped = is_standard_stream(path) or not Path(path).is_file()
        size = None if piped else os.path.getsize(path)
        if start.startswith(SIGNATURE):
            opened = read_stp(stream, path, max_pixels=options.max_pixels)
            items = opened.decoded(options.device, options.threads)
            pictures = (item for item in items if isinstance(item, Picture))
            with contextlib.closing(items):
                yield _Source(name, opened.info, pictures, True, opened.frames, size, None)
            return
        with VideoReader(stream if piped else path, carry="none") as video:
            pictures = (item for item in video if isinstance(item, Picture))
            timed = not start.startswith(_Y4M)
            yield _Source(name, video.info, pictures, timed, video.info.frames, size, video)


def _peek(stream: BinaryIO) -> bytes:
    """The first bytes, which stay to be read."""
    peek = getattr(stream, "peek", None)
    start: bytes = peek(len(_Y4M)) if peek is not None else b""
    return start[: len(_Y4M)]


def compare_steps(
    reference: PathLike, distorted: PathLike, options: CompareOptions
) -> Iterator[Progress | Comparison]:
    """Compare two videos, yielding progress after every pair of pictures and the result at the end.

    Pictures are paired by their time after the first picture of their video, within half a
    picture's duration; by number where one of the videos has no time stamps. UsageError where the
    sizes differ, InputError for what cannot be read or has no pair.
    """
    wanted, missing = _available(options)
    with contextlib.ExitStack() as stack:
        a, b = (stack.enter_context(_opened(path, options)) for path in (reference, distorted))
        if (a.info.width, a.info.height) != (b.info.width, b.info.height):
            raise UsageError(
                f"{b.name} is {b.info.width}x{b.info.height} and "
                f"{a.name} is {a.info.width}x{a.info.height}: "
                "only pictures of one size can be compared"
            )
        by_time = options.match == "time" or (options.match == "auto" and a.timed and b.timed)
        depth = max(a.info.bit_depth, b.info.bit_depth)
        meters = [
            stack.enter_context(meter)
            for meter in _meters(replace(a.info, bit_depth=depth), wanted, options)
        ]
        numbers, times = array("q"), array("d")
        scores = {name: array("d") for metric in wanted for name in _COLUMNS.get(metric, ())}
        for time, left, right in _pairs(a, b, by_time):
            planes = _at_depth(left.planes, a.info, depth), _at_depth(right.planes, b.info, depth)
            for name, value in _score(*planes, depth, wanted).items():
                scores[name].append(value)
            numbers.append(a.seen - 1)
            times.append(float(time))
            for meter in meters:
                meter.add(*planes)
            yield Progress(len(times), a.total, 0)
        if not times:
            raise InputError(f"{b.name}: no picture is at a time of one of {a.name}")
        notes = [*_notes(a, b, by_time), *missing]
        for meter in meters:
            try:
                scores.update(_measured(meter))
            except StcodecError as error:
                if options.metrics != "all":
                    raise
                notes.append(f"left out: {error}")
        size = a.info.width, a.info.height, depth
        how = "time" if by_time else "number"
        said = tuple(dict.fromkeys(notes))
        yield Comparison(a.side(), b.side(), *size, how, numbers, times, scores, said)


def _available(options: CompareOptions) -> tuple[tuple[str, ...], list[str]]:
    """The metrics that are wanted and there, and a line for each that is not; StcodecError for one
    that was asked for by name."""
    wanted, missing = list(options.metric_names()), []
    for name, label, where, filter in (
        ("vmaf", "VMAF", vmaf.available, "libvmaf"),
        ("xpsnr", "XPSNR", xpsnr.available, "the filter xpsnr"),
    ):
        if name not in wanted or where() is not None:
            continue
        if options.metrics != "all":
            raise StcodecError(
                f"{label} needs an ffmpeg with {filter} on PATH, or: pip install 'stcodec[bench]'"
            )
        wanted.remove(name)
        missing.append(
            f"{label} is left out: it needs an ffmpeg with {filter} (pip install 'stcodec[bench]')"
        )
    return tuple(wanted), missing


def _meters(info: VideoInfo, wanted: Sequence[str], options: CompareOptions) -> Iterator[Meter]:
    """What FFmpeg measures of it."""
    if "vmaf" in wanted:
        yield vmaf.VmafMeter(info, threads=options.threads or None)
    if "xpsnr" in wanted:
        yield xpsnr.XpsnrMeter(info)


def _measured(meter: Meter) -> dict[str, array[float]]:
    """The scores of a meter, by name."""
    result = array("d", meter.result())
    if isinstance(meter, xpsnr.XpsnrMeter):
        return {f"xpsnr_{plane}": array("d", scores) for plane, scores in meter.planes.items()}
    return {"vmaf": result}


def _pairs(a: _Source, b: _Source, by_time: bool) -> Iterator[tuple[Fraction, Picture, Picture]]:
    """Pictures that belong together, with the time of the first one's; counts those without a
    partner."""
    left, right = a.next(), b.next()
    while left is not None and right is not None:
        gap = a.time(left) - b.time(right)
        shorter = min(left.duration * a.info.time_base, right.duration * b.info.time_base)
        if by_time and 2 * abs(gap) > shorter:
            if gap < 0:
                a.unmatched += 1
                left = a.next()
            else:
                b.unmatched += 1
                right = b.next()
            continue
        yield a.time(left), left, right
        left, right = a.next(), b.next()
    for source, rest in ((a, left), (b, right)):
        while rest is not None:
            source.unmatched += 1
            rest = source.next()


def _at_depth(planes: Planes, info: VideoInfo, depth: int) -> Planes:
    """The planes with `depth` bits per sample."""
    if info.bit_depth == depth:
        return planes
    if info.color_range == FULL_RANGE:
        scale = ((1 << depth) - 1) / ((1 << info.bit_depth) - 1)
        y, u, v = (np.round(p * scale).astype(np.uint16) for p in planes)
    else:
        y, u, v = (
            np.left_shift(p.astype(np.uint16), depth - info.bit_depth, dtype=np.uint16)
            for p in planes
        )
    return y, u, v


def _score(
    reference: Planes, distorted: Planes, depth: int, wanted: tuple[str, ...]
) -> dict[str, float]:
    """The scores of one pair but those that FFmpeg measures."""
    peak = float((1 << depth) - 1)
    scores: dict[str, float] = {}
    if "psnr" in wanted:
        y, u, v = (psnr(mse(p, q), peak) for p, q in zip(reference, distorted, strict=True))
        scores.update(psnr_y=y, psnr_u=u, psnr_v=v, psnr_611=weighted_611(y, u, v))
    if "ssim" in wanted or "ms-ssim" in wanted:
        luma = (
            torch.from_numpy(planes[0].astype(np.float32) / peak)
            for planes in (reference, distorted)
        )
        one, many = ssim_and_ms_ssim(*luma, scales="ms-ssim" in wanted)
        scores.update({"ssim": one} if "ssim" in wanted else {})
        scores.update({"ms_ssim": many} if "ms-ssim" in wanted else {})
    return scores


def _notes(a: _Source, b: _Source, by_time: bool) -> list[str]:
    notes = [
        f"{s.name}: {note}"
        for s in (a, b)
        for note in (s.reader.notes if s.reader else s.info.notes)
    ]
    for one, other in ((a, b), (b, a)):
        if one.unmatched:
            where = "at that time " if by_time else ""
            notes.append(
                f"{one.unmatched} of {one.seen} pictures of {one.name} "
                f"have no partner {where}in {other.name}"
            )
    if not by_time:
        notes.append("pictures are paired by number")
    if a.info.bit_depth != b.info.bit_depth:
        notes.append(
            f"bit depths differ ({a.info.bit_depth} and {b.info.bit_depth}): "
            "compared at the higher one"
        )
    for what, kind in (
        ("color_range", "ranges"),
        ("color_matrix", "colour matrices"),
        ("rotation", "rotations"),
    ):
        left, right = getattr(a.info, what), getattr(b.info, what)
        # 0 is an unknown range, 2 an unspecified matrix.
        said = what == "rotation" or (
            left and right and (what == "color_range" or 2 not in (left, right))
        )
        if left != right and said:
            notes.append(f"{kind} differ ({left} and {right}): samples are compared as they are")
    return notes


_PANELS = (
    ("PSNR in dB", ("psnr_611", "psnr_y", "psnr_u", "psnr_v")),
    ("SSIM", ("ssim", "ms_ssim")),
    ("VMAF", ("vmaf",)),
    ("XPSNR in dB", ("xpsnr_y", "xpsnr_u", "xpsnr_v")),
)


def plot(comparison: Comparison, path: PathLike) -> None:
    """Draw the scores over time, a panel for each kind, into `path` (see `plotting.check`)."""
    shown = [(unit, [n for n in names if n in comparison.scores]) for unit, names in _PANELS]
    shown = [(unit, names) for unit, names in shown if names]
    size = 10, 2.6 * len(shown) + 0.6
    with plotting.figure(path, len(shown), 1, size, sharex=True) as axes:
        for axis, (unit, names) in zip(axes[:, 0], shown, strict=True):
            for name in names:
                label = f"{name} (mean {comparison.summary(name).mean:.4g})"
                axis.plot(comparison.times, comparison.scores[name], linewidth=1, label=label)
            axis.set_ylabel(unit)
            axis.grid(True, alpha=0.3)
            axis.legend(fontsize=7, loc="lower right")
        axes[-1, 0].set_xlabel("seconds")
        sides = comparison.reference, comparison.distorted
        left, right = (os.path.basename(side.name) for side in sides)
        axes[0, 0].set_title(f"{right} against {left}", fontsize=10)
