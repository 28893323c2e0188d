"""`stcodec bench`."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stcodec.commands.shared import policy
from stcodec.common.files import Overwrite, check_input, check_output, temporary_output
from stcodec.errors import InputError, StcodecError
from stcodec.options import EncodeOptions, default
from stcodec.terminal import report as reporting

_overwrite = click.option(
    "-y", "-f", "--yes", "overwrite", flag_value="yes", help="Overwrite existing outputs."
)


@click.group()
def bench() -> None:
    """Measure rate, distortion and speed against other codecs (pip install 'stcodec[bench]')."""


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and the command."""
    import av
    import torch

    import stcodec

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "libraries": {
            k: ".".join(map(str, v)) for k, v in av.library_versions.items() if k == "libavcodec"
        },
        "stcodec": stcodec.__version__,
        "command": _command(),
    }


def _command() -> str:
    """The command, with absolute paths cut down to names: they say more of a machine than of a
    measurement."""
    return " ".join(
        ["stcodec", *(Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:])]
    )


def _numbers(ctx: click.Context, param: click.Parameter, text: str) -> list[int]:
    try:
        return [int(n) for n in text.split(",") if n]
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error


def _words(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _sizes(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    words = _words(ctx, param, text)
    for word in words:
        if not re.fullmatch(r"[1-9]\d{1,3}p", word):
            raise click.BadParameter(f"{word!r} is no number of rows such as 720p")
    return words


def _chosen(known: dict[str, str]) -> Any:
    def callback(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
        words = _words(ctx, param, text)
        for word in words:
            if word not in known:
                raise click.BadParameter(f"{word!r}: choose from {', '.join(known)}")
        return list(dict.fromkeys(known[word] for word in words))

    return callback


_METRICS = {"psnr": "psnr", "ssim": "ms-ssim", "ms-ssim": "ms-ssim", "vmaf": "vmaf"}
_MODEL = default(EncodeOptions, "model")
_QUALITY = default(EncodeOptions, "quality")


@bench.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    help="Table with the columns path, kind, evaluate_at_scale (tabs).",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 8, min_open=True),
    help="Measure at this scale, not the table's.",
)
@click.option(
    "--frames", type=int, default=0, help="At most so many frames of each clip; 0 takes all."
)
@click.option(
    "--models", default=_MODEL, show_default=True, callback=_words, help="Models, by commas."
)
@click.option(
    "--motion",
    default="mctf",
    show_default=True,
    callback=_words,
    help="mctf, none, or both by commas.",
)
@click.option("--effort", type=int, default=default(EncodeOptions, "effort"), show_default=True)
@click.option(
    "--peers",
    default="x264-medium",
    show_default=True,
    help="Other codecs, by commas: encoder, preset and perhaps a tune, as in x264-veryslow-psnr, x265-medium, svtav1-p6.",
)
@click.option(
    "--qualities",
    default="0,10,20,30,40,50",
    show_default=True,
    callback=_numbers,
    help="Qualities of the .stp files.",
)
@click.option(
    "--metrics",
    default="psnr",
    show_default=True,
    callback=_chosen(_METRICS),
    help="psnr, ssim (MS-SSIM) and vmaf, by commas. PSNR is always measured.",
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
    help="Write plots as .png or .svg, one file per metric.",
)
@_overwrite
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
    from stcodec.bench import curves as tables
    from stcodec.bench import plots
    from stcodec.bench.peers import find_peers
    from stcodec.bench.sources import read_table

    found_peers = find_peers(peers)
    for target in (json_path, plot_path):
        if target is not None:
            check_output(target, policy(overwrite, str(target)))
    if plot_path is not None:
        plots.check(plot_path)
    for clip in clips:
        check_input(clip)
    table = read_table(sources)

    from stcodec.bench.rd import Plan, measure
    from stcodec.quality import vmaf

    if "vmaf" in metrics and vmaf.available() is None:
        reporting.note(
            "VMAF is left out: there is no ffmpeg with libvmaf (pip install 'stcodec[bench]')"
        )
        metrics = [metric for metric in metrics if metric != "vmaf"]
    plan = Plan(
        clips=clips,
        table=table,
        scale=scale,
        motions=motion,
        metrics=metrics,
        peers=found_peers,
        **more,
    )
    curves: list[tables.Curve] = []
    described = []
    for measured, found in measure(plan, reporting.say):
        described.append(measured.description())
        curves += found
        reporting.say("\n".join(["", *tables.clip_table(found), ""]))
        if json_path is not None:
            found_so_far = {"clips": described, "curves": [asdict(c) for c in curves]}
            _write_json(json_path, "rate_distortion", found_so_far)
    for c in curves:
        if c.clip == curves[0].clip:
            reporting.say(f"{c.codec}: {c.settings}")
    if len({c.clip for c in curves}) > 1:
        for key in tables.measured(curves, ("psnr", "ms-ssim", "vmaf")):
            reporting.say("\n".join(["", *tables.summary(curves, key)]))
        reporting.say("\n".join(["", *tables.overview(curves)]))
    if plot_path is not None:
        plots.plot(curves, plot_path)


def _write_json(path: Path, event: str, content: dict[str, Any]) -> None:
    whole = reporting.versioned(event, **_rounded({"machine": machine(), **content}))
    with temporary_output(path) as temporary:
        temporary.write_text(json.dumps(whole) + "\n")


def _rounded(value: Any) -> Any:
    """Numbers to six digits after the point: more would only make files larger."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value


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
@click.option("--model", default=_MODEL, show_default=True)
@click.option("-q", "--quality", type=click.IntRange(0, 63), default=_QUALITY, show_default=True)
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=default(EncodeOptions, "effort"),
    show_default=True,
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Threads of every codec; 0: its default.",
)
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
@_overwrite
def speed(
    clip: Path,
    sizes: list[str],
    frames: int,
    model: str,
    quality: int,
    effort: int,
    threads: int,
    peers: str,
    json_path: Path | None,
    overwrite: str | None,
) -> None:
    """Frames per second of encode and decode, by stage, with complexity and peak memory."""
    check_input(clip)
    if json_path is not None:
        check_output(json_path, policy(overwrite, str(json_path)))
    from stcodec.bench.peers import find_peers

    found = find_peers(peers)
    from stcodec.bench import speed as measuring
    from stcodec.bench.page import complexity_line

    complexity = asdict(measuring.count(clip, model, quality))
    reporting.say(f"{model}: {complexity_line(complexity)}")
    results = []
    options = EncodeOptions(
        quality=quality, model=model, threads=threads, effort=effort, overwrite=Overwrite.YES
    )
    for result in measuring.measure(clip, sizes, frames, options, found, reporting.say):
        results.append(asdict(result))
        if json_path is not None:
            _write_json(json_path, "speed", {"speed": results, "complexity": complexity})


@bench.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The page; plots go beside it.",
)
@_overwrite
def report(results: tuple[Path, ...], output: Path, overwrite: str | None) -> None:
    """A Markdown page with plots from the JSON files of `bench rd` and `bench speed`."""
    from stcodec.bench.page import page

    check_output(output, policy(overwrite, str(output)))
    contents = []
    for path in results:
        check_input(path)
        try:
            contents.append(json.loads(path.read_text()))
        except ValueError as error:
            raise InputError(f"{path}: not a result of a benchmark ({error})") from error
    try:
        text = page(contents, output, _command())
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{', '.join(map(str, results))}: not results of this version's benchmarks ({error!r})"
        ) from error
    try:
        with temporary_output(output) as temporary:
            temporary.write_text(text)
    except OSError as error:
        raise StcodecError(f"{output}: cannot be written ({error.strerror})") from error
