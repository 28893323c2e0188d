"""The page of benchmark results, from the JSON of the measurements."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from stcodec.bench import plots
from stcodec.bench.curves import BD_RATES, Curve, measured, overview, summary
from stcodec.bench.peers import ANCHOR
from stcodec.bench.speed import Run, Speed, stages_of

_HOW = f"""# Benchmarks

Written from the JSON of the measurements below by

    {{command}}

Change nothing here by hand.

## How it is measured

* Sources become 8-bit 4:2:0 planes of even size, scaled where the table of clips says so (bicubic, antialiased, plane by plane).
  Every codec gets exactly these planes, and every quality is that of the decoded planes against them.
* Rates are the bytes of whole files: `.stp` with its index, MP4 with its boxes and with what the encoders write about themselves.
  "Coded video alone" takes packets and parameter sets only: without MP4's boxes (1.2 kB for 32 frames) and without the text that
  encoders write about themselves (x264 0.6 kB, x265 2.3 kB), which weigh in the smallest files.
* The pictures are those of a real decode of the written file.
* PSNR of each plane in dB, averaged over frames, then weighted 6:1:1 (Y, U, V). MS-SSIM and VMAF are of luma; for BD-rate,
  MS-SSIM is taken as -10 log10(1 - x).
* BD-rate is against {ANCHOR} with its default tuning: Akima interpolation (package `bjontegaard`) over the range of quality that both
  curves cover, at least a quarter of the anchor's. Negative is better. n/a: they overlap less, or quality does not rise with rate.
  Means are of the percentages; where some clips have none, it says how many have one.
* Other codecs are libavcodec's encoders through PyAV, with the settings listed. For rates they run with one thread, so that
  files do not depend on the machine; for speed with their default number, and x264's threads work on whole pictures, as in its
  own program (PyAV's default is slices, which made files of a 640x360 clip 1.6 % larger at medium and 3 % at veryslow).

## Limits

* The clips are few, short and small. The first picture of a clip weighs more than in a long video, and so does what a file holds
  beside the coded video: see both tables.
* BD-rates of one clip can differ from the mean by tens of percent; the mean hides that, the tables do not.
* PSNR is not what an eye sees. {ANCHOR}, x264-veryslow and x265 are tuned for the eye by default, which costs them PSNR:
  compare `-psnr`. VMAF's model was made for 1080p on a large screen, and it rewards sharpening.
* Peers' results may come from a cache of earlier runs with the same clip, settings and libraries; settings then say "from the cache".
"""

_SPEED_LIMITS = """Every encode and decode runs in a process of its own, one after another; start-up (imports, weights) is not counted,
reading and writing raw video is. Peers are called through the same Python reader and writer, which costs fast ones more than slow ones.
"Networks alone" runs the networks of all frames without anything else. Times are of a shared machine: another load
disturbs them, and only ratios within one run mean something. The load average of the minute at the end was {load}."""


_DISTURBED = """

**Other work kept this machine busy**: these times are several times longer than on an idle one, and an encoder with many
threads got a larger share of the cores than one with few, so that even ratios mislead. Frames per second of CPU time (of all
threads) are less disturbed; arithmetic, memory and file sizes hold. For times run the command above on an idle machine, and
then the one at the top of this page."""


def page(results: list[dict[str, Any]], output: Path, command: str) -> str:
    """Markdown from the contents of result files, for `output`; plots go into a folder of its name
    beside it."""
    parts = [_HOW.format(command=command)]
    numbers = itertools.count(1)
    for result in results:
        if "curves" in result:
            parts += _rate_distortion(result, output, next(numbers))
        if "speed" in result:
            parts += _speed(result)
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _where(machine: dict[str, Any]) -> str:
    libraries = "".join(f", {k} {v}" for k, v in machine["libraries"].items())
    return (
        f"    {machine['command']}\n\nMeasured on {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}, PyAV {machine['av']}{libraries}."
    )


def _rate_distortion(result: dict[str, Any], output: Path, number: int) -> list[str]:
    """The results of one `bench rd`, the page's first, second, ..."""
    curves = [Curve.from_json(c) for c in result["curves"]]
    longest = max(c["frames"] for c in result["clips"])
    parts = [f"## Rate and distortion, at most {longest} frames", _where(result["machine"])]
    first = next(c.clip for c in curves)
    rows = [f"| {c.codec} | {c.settings} |" for c in curves if c.clip == first]
    parts.append("\n".join(["| codec | settings |", "|---|---|", *rows]))
    parts += ["\n".join(_clips(result["clips"])), "\n".join(overview(curves))]
    folder = output.parent / output.stem
    folder.mkdir(exist_ok=True)
    written = plots.plot(curves, folder / ("rd.png" if number == 1 else f"rd-{number}.png"))
    for key, path in zip(plots.plotted(curves), written, strict=True):
        parts.append(f"### {BD_RATES[key].label}")
        if key in measured(curves):
            parts.append("\n".join(summary(curves, key)))
        parts.append(
            f"![{BD_RATES[key].label} over bytes, a panel per clip]({folder.name}/{path.name})"
        )
    parts += [
        "### Coded video alone, without container",
        "\n".join(summary(curves, "psnr-streams")),
    ]
    return [*parts, "### All points", "\n".join(_points(curves))]


def _clips(clips: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| clip | content | scale | size | frames | frames/s |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for c in clips:
        cells = [
            c["name"],
            c["kind"],
            f"{c['scale']:g}",
            f"{c['width']}x{c['height']}",
            str(c["frames"]),
            f"{c['rate']:g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _points(curves: list[Curve]) -> list[str]:
    lines = ["| clip | codec | setting: kB / dB (PSNR 6:1:1) |", "|---|---|---|"]
    for c in curves:
        cells = ", ".join(f"{p.setting}: {p.bytes / 1000:.1f} / {p.psnr_611:.2f}" for p in c.points)
        lines.append(f"| {c.clip} | {c.codec} | {cells} |")
    return lines


def complexity_line(values: dict[str, Any]) -> str:
    """Parameters and kMAC per pixel in words."""
    encode, decode = sum(values["encode"].values()), sum(values["decode"].values())
    return (
        f"{values['parameters']} parameters and {values['scale_parameters']} integer ones; "
        f"{encode:.2f} kMAC per pixel to encode, {decode:.2f} to decode"
    )


def _speed(result: dict[str, Any]) -> list[str]:
    speeds = [Speed.from_json(s) for s in result["speed"]]
    machine, counted = result["machine"], result["complexity"]
    load = (
        "not known"
        if machine["load"] is None
        else f"{machine['load']:.1f} on {machine['cores']} cores"
    )
    limits = _SPEED_LIMITS.format(load=load)
    if machine["load"] is not None and machine["load"] > 1.5 * machine["cores"]:
        limits += _DISTURBED
    parts = ["## Speed", _where(machine), limits, "\n".join(_speed_table(speeds))]
    own = [s for s in speeds if s.networks is not None]
    parts += ["### Where the time goes", _stage_text(own), "\n".join(_stage_table(own))]
    text = (
        f"The model has {complexity_line(counted)}: matrix products and convolutions, "
        "counted while a chunk without intra frames is coded; "
        "elementwise work, such as the sums of absolute differences of the motion search, has none."
    )
    return [*parts, "### Arithmetic", text, "\n".join(_complexity_table(counted))]


def _speed_table(speeds: list[Speed]) -> list[str]:
    lines = [
        "| size | codec | encode, frames/s | decode, frames/s | networks alone, frames/s "
        "| encode, frames per CPU second | decode, frames per CPU second | peak memory, MB: encode | decode | kB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for s in speeds:
        encode, decode = (f"{s.frames / run.seconds:.2f}" for run in (s.encode, s.decode))
        work = [f"{s.frames / run.cpu_seconds:.2f}" for run in (s.encode, s.decode)]
        memory = [
            f"{run.megabytes:.0f} ({run.start_megabytes:.0f})" for run in (s.encode, s.decode)
        ]
        alone = "" if s.networks is None else f"{s.networks:.2f}"
        name = f"{s.size}, {s.width}x{s.height}, {s.frames} frames"
        cells = [
            name,
            f"{s.codec} ({s.settings})",
            encode,
            decode,
            alone,
            *work,
            *memory,
            f"{s.bytes / 1000:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "In brackets: memory before the work begins, which is that of Python and its packages.",
    ]


def _stage_text(own: list[Speed]) -> str:
    busy = {label: [_busy(getattr(s, label)) for s in own] for label in ("encode", "decode")}
    text = ", ".join(
        f"{label} {' / '.join(f'{b:.2f}' for b in values)}" for label, values in busy.items()
    )
    return (
        "Milliseconds per frame in each stage, over all threads: they work at the same time, so that the sum may exceed "
        f"the wall clock, and a stage that waits for a core counts the wait. Cores kept busy, by size: {text}."
    )


def _busy(run: Run) -> float:
    return run.cpu_seconds / run.seconds


def _stage_table(own: list[Speed]) -> list[str]:
    runs = [
        (s, label, run) for s in own for label, run in (("encode", s.encode), ("decode", s.decode))
    ]
    names = list(
        dict.fromkeys(
            name
            for _, _, run in sorted(runs, key=lambda r: r[1] != "encode")
            for name in stages_of(run)
        )
    )
    lines = [
        "| | " + " | ".join(f"{label} {s.size}" for s, label, _ in runs) + " |",
        "|---|" + "---:|" * len(runs),
    ]
    for name in names:
        cells = [
            f"{1000 * run.stages[name] / s.frames:.2f}" if name in run.stages else ""
            for s, _, run in runs
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append(
        "| wall clock | "
        + " | ".join(f"{1000 * run.seconds / s.frames:.2f}" for s, _, run in runs)
        + " |"
    )
    return lines


def _complexity_table(counted: dict[str, Any]) -> list[str]:
    lines = ["| kMAC per pixel | encode | decode |", "|---|---:|---:|"]
    for name in dict.fromkeys([*counted["encode"], *counted["decode"]]):
        cells = [
            f"{v:.2f}" if (v := counted[side].get(name)) else "" for side in ("encode", "decode")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
