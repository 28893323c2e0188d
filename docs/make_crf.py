"""What quality is worth as much as a CRF of x264, from measured curves: the tables of
docs/coming_from.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CRFS = (18, 23, 28, 33)
_FOLDER = Path(__file__).parent / "benchmarks"


def _curves(name: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return json.loads((_FOLDER / name).read_text())["curves"]


def quality_at(psnr: float, points: list[dict[str, Any]]) -> float:
    """The quality with a PSNR, by straight lines between what was measured, and beyond."""
    qualities = [point["setting"] for point in points]
    decibels = [point["psnr_611"] for point in points]
    pairs = len(points) - 2
    at = min(max(0, int(np.searchsorted(decibels, psnr)) - 1), pairs)
    share = (psnr - decibels[at]) / (decibels[at + 1] - decibels[at])
    return qualities[at] + share * (qualities[at + 1] - qualities[at])


def qualities() -> list[int]:
    """For each CRF the mean over clips of the quality with the same PSNR 6:1:1."""
    clips = _curves("payloads.json").values()
    return [
        round(
            float(
                np.mean(
                    [
                        quality_at(point["psnr_611"], curves["stp:stc-1"])
                        for curves in clips
                        for point in curves["x264-medium"]
                        if point["setting"] == crf
                    ]
                )
            )
        )
        for crf in CRFS
    ]


def of_default() -> list[str]:
    """Rows of a table: x264 at CRF 23 beside the default quality, clip by clip."""
    rows, all_of_them = [], []
    for clip, curves in sorted(_curves("default.json").items()):
        theirs = next(p for p in curves["x264-medium"] if p["setting"] == 23)
        ours = next(p for p in curves["stp:stc-1"] if p["setting"] == 26)
        all_of_them.append((theirs["psnr_611"], ours["psnr_611"]))
        sizes = f"{theirs['bytes'] / 1000:.1f} | {ours['bytes'] / 1000:.1f}"
        psnr = f"{theirs['psnr_611']:.2f} | {ours['psnr_611']:.2f}"
        rows.append(f"| {clip} | {psnr} | {sizes} |")
    means = " | ".join(f"{mean:.2f}" for mean in np.mean(all_of_them, axis=0))
    return [*rows, f"| mean | {means} | | |"]


if __name__ == "__main__":
    print(f"| `-q` | {' | '.join(map(str, qualities()))} |")
    print("\n".join(of_default()))
