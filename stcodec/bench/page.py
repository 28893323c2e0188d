"""The page of benchmark results, from the JSON of the measurements."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stcodec.bench import payload_tables, plots
from stcodec.bench.curves import BD_RATES, Curve, measured, overview, summary
from stcodec.bench.payload_tables import references
from stcodec.bench.payloads import Results
from stcodec.bench.peers import ANCHOR
from stcodec.bench.results import command, read, write_text
from stcodec.bench.speed import Run, Speed, stages_of
from stcodec.errors import InputError


def _text(name: str, **values: str) -> str:
    """A text that lies beside this file, with values in it."""
    return (Path(__file__).parent / f"page_{name}.md").read_text().rstrip("\n").format(**values)


def _paragraph(text: str) -> str:
    """Prose in lines of at most 100 columns."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def write_page(paths: Sequence[Path], output: Path) -> None:
    """The page of result files, as a file; InputError where they are not of this version,
    StcodecError where nothing can be written."""
    contents = read(paths)
    try:
        text = page(contents, output, command())
    except (KeyError, TypeError, AttributeError) as error:
        names = ", ".join(map(str, paths))
        raise InputError(
            f"{names}: not results of this version's benchmarks ({error!r})"
        ) from error
    write_text(output, text)


def page(results: Sequence[dict[str, Any]], output: Path, made_by: str) -> str:
    """Markdown from the contents of result files, for `output`; plots go into a folder of its name
    beside it."""
    parts = [_text("how", command=made_by, anchor=ANCHOR)]
    numbers = itertools.count(1)
    for result in results:
        if result["event"] == "payloads":
            parts += _payloads(result)
        elif "curves" in result:
            parts += _rate_distortion(result, output, next(numbers))
        if "speed" in result:
            parts += _speed(result)
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _where(machine: dict[str, Any]) -> str:
    libraries = "".join(f", {k} {v}" for k, v in machine["libraries"].items())
    where = (
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}, PyAV {machine['av']}{libraries}."
    )
    return f"    {machine['command']}\n\n{_paragraph(where)}"


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


def _payloads(result: dict[str, Any]) -> list[str]:
    """The results of one `bench payloads`."""
    found = Results.from_json(result)
    length = f"at most {found.frames} frames" if found.frames else "all frames"
    parts = [f"## Payloads, {length}", _where(result["machine"])]
    if found.settings:
        changed = ", ".join(f"{name} = {value}" for name, value in found.settings.items())
        parts.append(f"With {changed}.")
    for codec in found.codecs(own=True):
        parts.append("\n".join(payload_tables.summary(found, codec, references(found))))
    parts += ["### Clips", "\n".join(payload_tables.clips(found)), "### Where the bytes are"]
    shares = (
        "Shares of the payload by ideal length; headers and rounding are the rest. Kinds of frames "
        "are in [architecture.md](architecture.md)."
    )
    parts.append(_paragraph(shares))
    for codec in found.codecs(own=True):
        parts.append("\n".join(payload_tables.details(found, codec)))
    return parts


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
    parts = ["## Speed", _where(machine), _text("speed", load=load)]
    if machine["load"] is not None and machine["load"] > 1.5 * machine["cores"]:
        parts.append(_text("disturbed"))
    parts.append("\n".join(_speed_table(speeds)))
    own = [s for s in speeds if s.networks is not None]
    parts += ["### Where the time goes", _stage_text(own), "\n".join(_stage_table(own))]
    text = (
        f"The model has {complexity_line(counted)}: matrix products and convolutions, "
        "counted while a chunk without intra frames is coded; "
        "elementwise work, such as the sums of absolute differences of the motion search, has none."
    )
    return [*parts, "### Arithmetic", _paragraph(text), "\n".join(_complexity_table(counted))]


def _speed_table(speeds: list[Speed]) -> list[str]:
    lines = [
        "| size | codec | encode, frames/s | decode, frames/s | networks alone, frames/s "
        "| encode, frames per CPU second | decode, frames per CPU second "
        "| peak memory, MB: encode | decode | kB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for s in speeds:
        encode, decode = (f"{s.frames / run.seconds:.2f}" for run in (s.encode, s.decode))
        # A system that counts processor time in ticks finds none in a few small frames.
        work = [
            f"{s.frames / run.cpu_seconds:.2f}" if run.cpu_seconds else ""
            for run in (s.encode, s.decode)
        ]
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
    return _paragraph(
        "Milliseconds per frame in each stage, over all threads: they work at the same time, so "
        "that the sum may exceed the wall clock, and a stage that waits for a core counts the "
        f"wait. Cores kept busy, by size: {text}."
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
