"""The curves of a run."""

from __future__ import annotations

from pathlib import Path

from stcodec.errors import InputError
from stcodec.training import checkpoint


def plot(folder: Path, target: Path) -> None:
    """Loss, gradient norm, bits per pixel and PSNR per band of quality, from the log of `folder`,
    as the PNG `target`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in checkpoint.read_log(folder) if "loss" in row]
    if not rows:
        raise InputError(f"{folder / 'log.jsonl'}: holds no steps of training")
    steps = [row["step"] for row in rows]
    figure, axes = plt.subplots(2, 2, figsize=(12, 8))
    for axis, name in ((axes[0][0], "loss"), (axes[0][1], "norm")):
        values = [row[name] for row in rows]
        axis.plot(steps, values, alpha=0.35)
        axis.plot(steps, _smooth(values), color="C0")
        axis.set(
            xlabel="step", ylabel={"loss": "loss (log of the cost)", "norm": "gradient norm"}[name]
        )
    axes[0][1].set_yscale("log")
    for axis, name in ((axes[1][0], "bits_per_pixel"), (axes[1][1], "psnr")):
        for band in range(8):
            points = [(row["step"], row[name][band]) for row in rows if row[name][band] is not None]
            if points:
                x, y = zip(*points, strict=True)
                axis.plot(x, _smooth(list(y)), label=f"quality {8 * band}-{8 * band + 7}")
        axis.set(
            xlabel="step",
            ylabel={"bits_per_pixel": "bits per pixel", "psnr": "PSNR 6:1:1 (dB)"}[name],
        )
    axes[1][0].set_yscale("log")
    axes[1][0].legend(fontsize=7)
    for axis in axes.flat:
        axis.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=80, format="png")
    plt.close(figure)


def _smooth(values: list[float]) -> list[float]:
    done: list[float] = []
    for i in range(len(values)):
        part = values[max(0, i - 7) : i + 8]
        done.append(sum(part) / len(part))
    return done
