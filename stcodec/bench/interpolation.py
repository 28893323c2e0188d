"""Pictures that were left out, against those that `decode --interpolate` makes in their stead, and
against other ways to make them."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

import stcodec
from stcodec.bench.sources import Clip, Table, first_info, pictures, prepare
from stcodec.common.values import Picture, Planes
from stcodec.media.y4m import Y4MWriter
from stcodec.quality.filters import ffmpeg_with
from stcodec.quality.metrics import mse, psnr, weighted_611

WAYS = ("repeat", "blend", "minterpolate", "stcodec")
_MINTERPOLATE = "minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1"
# FFmpeg's filter may begin some pictures late.
_LATEST = 8


def run(
    clips: Sequence[Path],
    table: Table,
    scale: float | None,
    frames: int,
    quality: int,
    model: str,
    say: Callable[[str], None],
) -> None:
    """Say of each clip how near to its every second picture each way comes: PSNR 6:1:1 in dB, mean
    over pictures. The other ones are coded at `quality` first, and every way starts from what is
    decoded of them."""
    ffmpeg = ffmpeg_with("minterpolate")
    say("  ".join([f"{'PSNR 6:1:1, dB':28}", *(f"{way:>12}" for way in WAYS)]))
    rows = []
    for clip in clips:
        with tempfile.TemporaryDirectory() as folder:
            source = prepare(clip, Path(folder), table, scale, frames)
            found = _measure(source, Path(folder), quality, model, ffmpeg)
        say("  ".join([f"{source.name[:28]:28}", *map(_cell, found)]))
        rows.append(found)
    means = [_mean([row[way] for row in rows]) for way in range(len(WAYS))]
    say("  ".join([f"{'mean':28}", *map(_cell, means)]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _cell(value: float | None) -> str:
    return f"{'-':>12}" if value is None else f"{value:12.2f}"


def _measure(
    source: Clip, folder: Path, quality: int, model: str, ffmpeg: str | None
) -> list[float | None]:
    """What each of WAYS comes to."""
    whole = list(pictures(source.path))
    whole = whole[: len(whole) - (len(whole) + 1) % 2]
    wanted = whole[1::2]
    half, coded, back = (folder / name for name in ("half.y4m", "half.stp", "back.y4m"))
    rate = source.rate / 2
    _write(half, whole[::2], rate, source)
    stcodec.encode(half, coded, quality=quality, model=model)
    stcodec.decode(coded, back)
    kept = list(pictures(back))
    stcodec.decode(coded, back, interpolate="2", overwrite=True)
    found = list(pictures(back))
    pairs = list(itertools.pairwise(kept))
    return [
        _quality(wanted, (first for first, _ in pairs)),
        _quality(wanted, (_blend(*pair) for pair in pairs)),
        None if ffmpeg is None else _minterpolated(ffmpeg, kept, wanted, folder, rate, source),
        _quality(wanted, found[1::2]),
    ]


def _write(path: Path, planes: Sequence[Planes], rate: Fraction, source: Clip) -> None:
    info = first_info(source.path)
    with open(path, "wb") as stream:
        writer = Y4MWriter(stream, replace(info, frame_rate=rate, time_base=1 / rate))
        for number, picture in enumerate(planes):
            writer.write(Picture(picture, number, 1))


def _blend(first: Planes, second: Planes) -> Planes:
    y, u, v = (
        ((a.astype(np.uint16) + b + 1) >> 1).astype(np.uint8)
        for a, b in zip(first, second, strict=True)
    )
    return y, u, v


def _minterpolated(
    ffmpeg: str, kept: list[Planes], wanted: list[Planes], folder: Path, rate: Fraction, clip: Clip
) -> float | None:
    """What FFmpeg's filter comes to, of the pictures that it makes."""
    before, after = folder / "before.y4m", folder / "after.y4m"
    _write(before, kept, rate, clip)
    measure = _MINTERPOLATE.format(rate=f"{2 * rate.numerator}/{rate.denominator}")
    # A program that was found on PATH or belongs to a package, and no shell.
    subprocess.run(  # noqa: S603
        [ffmpeg, "-loglevel", "error", "-nostdin", "-y", "-i", before, "-vf", measure, after],
        check=True,
    )
    made = list(pictures(after))

    # Which of its pictures stand between which: those that were there come through as they are.
    def strangeness(late: int) -> float:
        same = list(zip(made[-late % 2 :: 2], kept[(late + 1) // 2 :], strict=False))
        return sum(mse(a[0], b[0]) for a, b in same) / max(1, len(same))

    late = min(range(_LATEST), key=strangeness)
    pairs = list(zip(made[(late + 1) % 2 :: 2], wanted[late // 2 :], strict=False))
    return _quality([b for _, b in pairs], [a for a, _ in pairs]) if pairs else None


def _quality(wanted: Sequence[Planes], found: Iterator[Planes] | Sequence[Planes]) -> float:
    scores = [
        weighted_611(*(psnr(mse(a, b), 255) for a, b in zip(x, y, strict=True)))
        for x, y in zip(wanted, found, strict=False)
    ]
    return sum(scores) / len(scores)
