"""Plots of rate and distortion by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stcodec.bench.curves import BD_RATES, Curve
from stcodec.common import plotting
from stcodec.errors import StcodecError

PLOTTED = {
    "psnr": "PSNR 6:1:1 (dB)",
    "ms-ssim": "MS-SSIM (dB)",
    "vmaf": "VMAF",
    "xpsnr": "XPSNR Y (dB)",
}
_WIDTH = 1100  # pixels of three columns


def plotted(curves: Sequence[Curve]) -> list[str]:
    """Those keys of `PLOTTED` that were measured at every point."""
    return [
        k
        for k in PLOTTED
        if all(BD_RATES[k].quality(p) is not None for c in curves for p in c.points)
    ]


def paths(base: Path, curves: Sequence[Curve]) -> dict[str, Path]:
    """Where the plot of each metric goes: `base` for PSNR, with the metric in its name for the
    others."""
    return {k: base if k == "psnr" else base.with_stem(f"{base.stem}-{k}") for k in plotted(curves)}


def plot(curves: Sequence[Curve], base: Path) -> list[Path]:
    """Write a file per metric, with a panel per clip; returns the files. See `paths` and
    `plotting.check`."""
    if not curves:
        raise StcodecError("there is nothing to plot")
    written = paths(base, curves)
    for key, path in written.items():
        _plot(curves, key, path)
    return list(written.values())


def _plot(curves: Sequence[Curve], key: str, path: Path) -> None:
    clips = list(dict.fromkeys(c.clip for c in curves))
    styles = _styles(list(dict.fromkeys(c.codec for c in curves)))
    columns = min(3, len(clips))
    rows = -(-len(clips) // columns)
    size = 4.8 * columns, 3.6 * rows
    with plotting.figure(path, rows, columns, size, dpi=_WIDTH / 14.4, palette=True) as axes:
        for axis in axes.flat[len(clips) :]:
            axis.set_visible(False)
        for axis, clip in zip(axes.flat, clips, strict=False):
            for curve in (c for c in curves if c.clip == clip):
                _draw(axis, curve, key, styles[curve.codec])
            _label(axis, clip, PLOTTED[key])
        axes[0][0].legend(fontsize=8)


def _styles(codecs: Sequence[str]) -> dict[str, dict[str, object]]:
    """Lines of each codec: ours are black and thick."""
    styles: dict[str, dict[str, object]] = {
        c: {"color": f"C{i % 10}", "linewidth": 1} for i, c in enumerate(codecs)
    }
    for i, c in enumerate(c for c in codecs if c.startswith("stp:")):
        dashes = ("-", "--", ":", "-.")[i % 4]
        styles[c] = {"color": "black", "linewidth": 1.8, "linestyle": dashes, "zorder": 3}
    return styles


def _draw(axis: Any, curve: Curve, key: str, style: dict[str, object]) -> None:
    points = sorted(curve.points, key=lambda p: p.bytes)
    kilobytes = [p.bytes / 1000 for p in points]
    values = [BD_RATES[key].quality(p) for p in points]
    axis.plot(kilobytes, values, marker="o", markersize=4, label=curve.codec, **style)


def _label(axis: Any, clip: str, unit: str) -> None:
    from matplotlib import ticker

    axis.set(title=clip, xlabel="kB", ylabel=unit, xscale="log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.grid(True, alpha=0.25)
