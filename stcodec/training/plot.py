"""The curves of a run."""

from __future__ import annotations

from pathlib import Path

from stcodec.common import plotting
from stcodec.errors import InputError
from stcodec.training import checkpoint
from stcodec.training.engine import QUALITY_BANDS, band_name

_LABELS = {
    "loss": "loss (log of the cost)",
    "norm": "gradient norm",
    "bits_per_pixel": "bits per pixel",
    "psnr": "PSNR 6:1:1 (dB)",
}


def plot(folder: Path, target: Path) -> None:
    """Draw loss, gradient norm, bits per pixel and PSNR per band of quality, from the log of
    `folder`, into `target` (see `plotting.check`). InputError for a log without steps."""
    rows = [row for row in checkpoint.read_log(folder) if "loss" in row]
    if not rows:
        raise InputError(f"{folder / 'log.jsonl'}: holds no steps of training")
    steps = [row["step"] for row in rows]
    with plotting.figure(target, 2, 2, (12, 8), dpi=80) as axes:
        panels = dict(zip(_LABELS, axes.flat, strict=True))
        for name, axis in panels.items():
            axis.set(xlabel="step", ylabel=_LABELS[name])
            axis.grid(True, alpha=0.3)
        for name in ("loss", "norm"):
            values = [row[name] for row in rows]
            panels[name].plot(steps, values, alpha=0.35)
            panels[name].plot(steps, _smooth(values), color="C0")
        for name in ("bits_per_pixel", "psnr"):
            for band in range(QUALITY_BANDS):
                seen = [(row["step"], row[name][band]) for row in rows]
                points = [(step, value) for step, value in seen if value is not None]
                if points:
                    x, y = zip(*points, strict=True)
                    panels[name].plot(x, _smooth(list(y)), label=f"quality {band_name(band)}")
        for name in ("norm", "bits_per_pixel"):
            panels[name].set_yscale("log")
        panels["bits_per_pixel"].legend(fontsize=7)


def _smooth(values: list[float]) -> list[float]:
    """Means over 15 values."""
    parts = (values[max(0, i - 7) : i + 8] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]
