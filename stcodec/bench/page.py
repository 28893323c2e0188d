"""The page of benchmark results, from the JSON of the measurements."""

from __future__ import annotations

from typing import Any

from stcodec.bench.rd import Curve, Point, summary
from stcodec.bench.speed import Speed, line

_HOW = """# Benchmarks

Written by `stcodec bench report`. Rates are the bytes of whole files (container included) and quality that of the pictures of
a real decode: PSNR of each plane, averaged over frames, then weighted 6:1:1. BD-rate is against x264-medium at its default
tuning (Akima interpolation over the common range; negative is better). Peers run at their default thread counts.

Limits: the clips are few and short, so the cost of the first picture of a clip weighs more than in long videos; PSNR is not
what an eye sees; timings are of a shared machine and only ratios within one run mean something.
"""


def page(results: list[dict[str, Any]]) -> str:
    """Markdown from the contents of result files."""
    parts = [_HOW]
    for result in results:
        machine = result["machine"]
        where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
        where += f", torch {machine['torch']}, PyAV {machine['av']}"
        if "curves" in result:
            curves = [
                Curve(c["clip"], c["kind"], c["codec"], [Point(**p) for p in c["points"]], c["bd_rate"])
                for c in result["curves"]
            ]
            parts += [
                "## Rate and distortion",
                f"    {machine['command']}",
                f"Measured on {where}.",
                "\n".join(summary(curves)),
            ]
            parts += ["### All points", "\n".join(_points(curves))]
        if "speed" in result:
            rows = "\n".join(line(Speed(**s)) for s in result["speed"])
            complexity = (
                f"{result['parameters']} parameters; {result['kmac_encode']:.1f} + {result['kmac_decode']:.1f} kMAC per pixel "
                f"(encode + decode); peak memory {result['peak_megabytes']:.0f} MB."
            )
            parts += ["## Speed", f"    {machine['command']}", f"Measured on {where}.", f"```\n{rows}\n```", complexity]
    return "\n\n".join(parts) + "\n"


def _points(curves: list[Curve]) -> list[str]:
    lines = ["| clip | codec | setting: kB / dB |", "|---|---|---|"]
    for c in curves:
        cells = ", ".join(f"{p.setting}: {p.bytes / 1000:.1f} / {p.psnr_611:.2f}" for p in c.points)
        lines.append(f"| {c.clip} | {c.codec} | {cells} |")
    return lines
