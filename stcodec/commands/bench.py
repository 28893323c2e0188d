"""`stcodec bench`."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stcodec.commands.bench_options import (
    MODEL,
    QUALITY,
    check_outputs,
    chosen,
    numbers,
    overwrite_option,
    scale_option,
    words,
)
from stcodec.commands.bench_payloads import payloads
from stcodec.common.files import Overwrite, check_input
from stcodec.options import EncodeOptions, default
from stcodec.terminal import report as reporting
from stcodec.terminal.guesses import Group


@click.group(cls=Group)
def bench() -> None:
    """Measure rate, distortion and speed against other codecs (pip install 'stcodec[bench]')."""


def _sizes(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    found = words(ctx, param, text)
    for word in found:
        if not re.fullmatch(r"[1-9]\d{1,3}p", word):
            raise click.BadParameter(f"{word!r} is no number of rows such as 720p")
    return found


def _counts(ctx: click.Context, param: click.Parameter, text: str) -> list[int]:
    found = words(ctx, param, text)
    if not found or not all(word.isdecimal() for word in found):
        raise click.BadParameter(f"{text!r} is no list of whole numbers")
    return [int(word) for word in found]


_METRICS = {
    "psnr": "psnr",
    "ssim": "ms-ssim",
    "ms-ssim": "ms-ssim",
    "vmaf": "vmaf",
    "xpsnr": "xpsnr",
}


@bench.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    help="Table with the columns path, kind, evaluate_at_scale (tabs).",
)
@scale_option
@click.option(
    "--frames", type=int, default=0, help="At most so many frames of each clip; 0 takes all."
)
@click.option(
    "--models", default=MODEL, show_default=True, callback=words, help="Models, by commas."
)
@click.option(
    "--motion",
    default="mctf",
    show_default=True,
    callback=words,
    help="mctf, none, or both by commas.",
)
@click.option(
    "--effort",
    type=click.IntRange(0, 2),
    default=default(EncodeOptions, "effort"),
    show_default=True,
)
@click.option(
    "--peers",
    default="x264-medium",
    show_default=True,
    help="Other codecs, by commas: encoder, preset and perhaps a tune, as in x264-veryslow-psnr, "
    "x265-medium, svtav1-p6.",
)
@click.option(
    "--qualities",
    default="0,10,20,30,40,50",
    show_default=True,
    callback=numbers,
    help="Qualities of the .stp files.",
)
@click.option(
    "--metrics",
    default="psnr",
    show_default=True,
    callback=chosen(_METRICS),
    help="psnr, ssim (MS-SSIM), vmaf and xpsnr, by commas. PSNR is always measured.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps the peers' results, by content of the clip and settings.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="Write everything as JSON, after each clip.",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Write plots as .png, .svg or .pdf, one file per metric.",
)
@overwrite_option
def rd(
    clips: tuple[Path, ...],
    sources: Path | None,
    scale: float | None,
    motion: list[str],
    peers: str,
    metrics: list[str],
    json_path: Path | None,
    plot_path: Path | None,
    overwrite: str | None,
    **more: Any,
) -> None:
    """Rate and distortion of CLIPS: whole files, real decodes, BD-rate against x264-medium."""
    from stcodec.bench.peers import find_peers
    from stcodec.bench.sources import read_table
    from stcodec.common import plotting

    found_peers = find_peers(peers)
    check_outputs(overwrite, json_path, plot_path)
    if plot_path is not None:
        plotting.check(plot_path)
    for clip in clips:
        check_input(clip)
    table = read_table(sources)

    from stcodec.bench.rd import Plan, run
    from stcodec.quality import vmaf, xpsnr

    for name, found, what in (
        ("vmaf", vmaf.available, "libvmaf"),
        ("xpsnr", xpsnr.available, "the filter xpsnr"),
    ):
        if name in metrics and found() is None:
            more_said = f"there is no ffmpeg with {what} (pip install 'stcodec[bench]')"
            reporting.note(f"{name.upper()} is left out: {more_said}")
            metrics = [metric for metric in metrics if metric != name]
    plan = Plan(
        clips=clips,
        table=table,
        scale=scale,
        motions=motion,
        metrics=metrics,
        peers=found_peers,
        **more,
    )
    run(plan, json_path, plot_path, reporting.say)


@bench.command()
@click.option(
    "--seeds", type=click.IntRange(1), default=2, show_default=True, help="Grounds for each scene."
)
@click.option("-q", "--quality", type=click.IntRange(0, 63), default=QUALITY, show_default=True)
@click.option("--model", default=MODEL, show_default=True)
def events(seeds: int, quality: int, model: str) -> None:
    """Events found in made-up scenes against those that were drawn: precision and recall."""
    from stcodec.bench import event_truth

    event_truth.run(seeds, quality, model, reporting.say)


@bench.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    help="Table with the columns path, kind, evaluate_at_scale (tabs).",
)
@scale_option
@click.option(
    "--frames", type=click.IntRange(3), default=33, show_default=True, help="Of each clip, at most."
)
@click.option("-q", "--quality", type=click.IntRange(0, 63), default=36, show_default=True)
@click.option("--model", default=MODEL, show_default=True)
def interpolate(
    clips: tuple[Path, ...],
    sources: Path | None,
    scale: float | None,
    frames: int,
    quality: int,
    model: str,
) -> None:
    """What decode --interpolate 2 makes in place of pictures that were left out: PSNR, beside
    repeated and blended pictures and FFmpeg's minterpolate, where there is one."""
    for clip in clips:
        check_input(clip)
    from stcodec.bench import interpolation
    from stcodec.bench.sources import read_table

    interpolation.run(clips, read_table(sources), scale, frames, quality, model, reporting.say)


@bench.command()
@click.argument("clip", type=click.Path(path_type=Path))
@click.option(
    "--sizes",
    default="360p,720p,1080p",
    show_default=True,
    callback=_sizes,
    help="Rows that the clip is scaled to, by commas.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="At most so many frames.",
)
@click.option("--model", default=MODEL, show_default=True)
@click.option("-q", "--quality", type=click.IntRange(0, 63), default=QUALITY, show_default=True)
@click.option(
    "--effort",
    type=click.IntRange(0, 2),
    default=default(EncodeOptions, "effort"),
    show_default=True,
)
@click.option(
    "--threads",
    default="0",
    show_default=True,
    callback=_counts,
    help="Threads of every codec, or several numbers of them by commas; 0: its default.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda[:N].")
@click.option(
    "--peers",
    default="x264-medium,x265-medium,svtav1-p6",
    show_default=True,
    help="Other codecs to time in the same run, by commas.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="Write everything as JSON, after each codec.",
)
@overwrite_option
def speed(
    clip: Path,
    sizes: list[str],
    frames: int,
    model: str,
    quality: int,
    effort: int,
    threads: list[int],
    device: str,
    peers: str,
    json_path: Path | None,
    overwrite: str | None,
) -> None:
    """Frames per second of encode and decode, by stage, with complexity and peak memory."""
    check_input(clip)
    check_outputs(overwrite, json_path)
    from stcodec.bench.peers import find_peers

    found = find_peers(peers)
    from stcodec.bench import results as files
    from stcodec.bench import speed as measuring
    from stcodec.bench.page import complexity_line

    complexity = asdict(measuring.count(clip, model, quality))
    reporting.say(f"{model}: {complexity_line(complexity)}")
    results = []
    options = EncodeOptions(
        quality=quality,
        model=model,
        effort=effort,
        device=device,
        overwrite=Overwrite.YES,
    )
    for result in measuring.measure(clip, sizes, frames, options, found, reporting.say, threads):
        results.append(asdict(result))
        if json_path is not None:
            files.write(json_path, "speed", {"speed": results, "complexity": complexity})


@bench.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The page; plots go beside it.",
)
@overwrite_option
def report(results: tuple[Path, ...], output: Path, overwrite: str | None) -> None:
    """A Markdown page with plots from the JSON files of the other benchmarks."""
    from stcodec.bench.page import write_page

    check_outputs(overwrite, output)
    write_page(results, output)


bench.add_command(payloads)
