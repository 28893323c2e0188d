"""Plots of rate and distortion by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stcodec.bench.curves import BD_RATES, Curve
from stcodec.common.files import temporary_output
from stcodec.errors import StcodecError, UsageError

PLOTTED = {"psnr": "PSNR 6:1:1 (dB)", "ms-ssim": "MS-SSIM (dB)", "vmaf": "VMAF"}
_WIDTH = 1100  # pixels of three columns


def check(base: Path) -> None:
    """UsageError where the ending of `base` is none of a plot."""
    if base.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"{base}: plots are .png or .svg")


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
    """Write one PNG (or SVG, by the ending) per metric, a panel per clip; returns the files. See
    `paths`."""
    check(base)
    if not curves:
        raise StcodecError("there is nothing to plot")
    written = paths(base, curves)
    for key, path in written.items():
        with temporary_output(path) as temporary:
            _plot(curves, key, temporary)
    return list(written.values())


def _plot(curves: Sequence[Curve], key: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    clips = list(dict.fromkeys(c.clip for c in curves))
    codecs = list(dict.fromkeys(c.codec for c in curves))
    own = [c for c in codecs if c.startswith("stp:")]
    styles: dict[str, dict[str, object]] = {
        c: {"color": f"C{i % 10}", "linewidth": 1} for i, c in enumerate(codecs)
    }
    for i, c in enumerate(own):
        styles[c] = {
            "color": "black",
            "linewidth": 1.8,
            "linestyle": ("-", "--", ":", "-.")[i % 4],
            "zorder": 3,
        }
    columns = min(3, len(clips))
    rows = -(-len(clips) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.8 * columns, 3.6 * rows), squeeze=False)
    for number in range(rows * columns):
        axis = axes[number // columns][number % columns]
        if number >= len(clips):
            axis.set_visible(False)
            continue
        for curve in (c for c in curves if c.clip == clips[number]):
            points = sorted(curve.points, key=lambda p: p.bytes)
            axis.plot(
                [p.bytes / 1000 for p in points],
                [BD_RATES[key].quality(p) for p in points],
                marker="o",
                markersize=4,
                label=curve.codec,
                **styles[curve.codec],
            )
        axis.set(title=clips[number], xlabel="kB", ylabel=PLOTTED[key], xscale="log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.grid(True, alpha=0.25)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(
        path,
        dpi=_WIDTH / 14.4,
        metadata={"Software": None} if path.suffix.lower() == ".png" else None,
    )
    plt.close(figure)
    if path.suffix.lower() == ".png":
        _shrink(path)


def _shrink(path: Path) -> None:
    """Few colours are in use: a palette makes the file several times smaller."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)
