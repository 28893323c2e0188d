"""`stcodec bench`: wiring of the measurements."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stcodec.options import EncodeOptions, default


@click.group()
def bench() -> None:
    """Measure rate, distortion and speed against other codecs (pip install 'stcodec[bench]')."""


def _log(text: str) -> None:
    print(text, flush=True)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import av
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "command": " ".join(["stcodec", *sys.argv[1:]]),
    }


def _numbers(text: str) -> list[int]:
    try:
        return [int(n) for n in text.split(",") if n]
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error


@bench.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--sources", type=click.Path(path_type=Path), help="Table with the columns path, kind, evaluate_at_scale."
)
@click.option("--scale", type=float, help="Measure at this scale instead of the table's.")
@click.option("--frames", type=int, default=0, help="At most so many frames of each clip; 0 takes all.")
@click.option("--models", default=default(EncodeOptions, "model"), show_default=True, help="Models, by commas.")
@click.option("--motion", default="mctf", show_default=True, help="mctf, none, or both by commas.")
@click.option("--peers", default="x264-medium", show_default=True, help="Other codecs, by commas.")
@click.option("--qualities", default="10,20,30,40,50", show_default=True, help="Qualities of the .stp files.")
@click.option("--ms-ssim", is_flag=True, help="Measure MS-SSIM too.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps the peers' results.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write everything as JSON.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Write plots as PNG.")
def rd(
    clips: tuple[Path, ...],
    sources: Path | None,
    scale: float | None,
    frames: int,
    models: str,
    motion: str,
    peers: str,
    qualities: str,
    ms_ssim: bool,
    cache: Path | None,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Rate and distortion of CLIPS: whole files, real decodes, BD-rate against x264-medium."""
    from stcodec.bench import rd as measuring
    from stcodec.bench.peers import find_peers

    curves = measuring.measure(
        clips,
        sources,
        scale,
        frames,
        models.split(","),
        motion.split(","),
        find_peers(peers),
        _numbers(qualities),
        ms_ssim,
        cache,
        _log,
    )
    for text in measuring.summary(curves):
        _log(text)
    if json_path is not None:
        content = {"machine": machine(), "curves": [asdict(c) for c in curves]}
        json_path.write_text(json.dumps(content, indent=1))
    if plot_path is not None:
        measuring.plot(curves, plot_path)


@bench.command()
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--sizes", default="360p", show_default=True, help="360p, 720p, 1080p, by commas.")
@click.option("--frames", type=int, default=64, show_default=True)
@click.option("--model", default=default(EncodeOptions, "model"), show_default=True)
@click.option("-q", "--quality", type=int, default=default(EncodeOptions, "quality"), show_default=True)
@click.option("--threads", type=int, default=0, show_default=True)
@click.option("--peers", default="", help="Other codecs to time in the same run, by commas.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write everything as JSON.")
def speed(
    clip: Path, sizes: str, frames: int, model: str, quality: int, threads: int, peers: str, json_path: Path | None
) -> None:
    """Frames per second of encode and decode, by stage, with complexity and peak memory."""
    from stcodec.bench import speed as measuring
    from stcodec.bench.peers import find_peers

    chosen = [s for s in sizes.split(",") if s]
    for size in chosen:
        if size not in measuring.SIZES:
            raise click.BadParameter(f"{size!r}: choose from {', '.join(measuring.SIZES)}")
    results = measuring.measure(clip, chosen, frames, model, quality, threads, find_peers(peers), _log)
    parameters, encode_macs, decode_macs = measuring.complexity(model)
    memory = measuring.peak_memory()
    _log(
        f"{model}: {parameters} parameters, {encode_macs:.1f} + {decode_macs:.1f} kMAC per pixel (encode + decode); "
        f"peak memory of this run {memory:.0f} MB"
    )
    if json_path is not None:
        content = {
            "machine": machine(),
            "speed": [asdict(r) for r in results],
            "parameters": parameters,
            "kmac_encode": encode_macs,
            "kmac_decode": decode_macs,
            "peak_megabytes": memory,
        }
        json_path.write_text(json.dumps(content, indent=1))


@bench.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def report(results: tuple[Path, ...], output: Path) -> None:
    """A Markdown page from the JSON files of `bench rd` and `bench speed`."""
    from stcodec.bench.page import page

    output.write_text(page([json.loads(r.read_text()) for r in results]))
