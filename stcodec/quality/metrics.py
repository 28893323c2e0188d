"""Picture quality: PSNR, SSIM and MS-SSIM of decoded 4:2:0 pictures, accumulated frame by frame.

The headline of every table is `psnr_611`: the PSNR of each plane of each frame in dB, averaged over
the frames, then weighted (6 Y + U + V) / 8. That is the habit of the field (the JVET common test
conditions). The PSNR of the mean squared error is given as well (`..._of_mean`): it is never
higher, and it is the honest one where the quality of a clip swings. SSIM and MS-SSIM are those of
the luma plane, averaged over the frames.

SSIM: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
structural similarity", 2004. MS-SSIM: Wang, Simoncelli and Bovik, "Multiscale structural similarity
for image quality assessment", 2003.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.common.values import Planes
from stcodec.errors import UsageError

METRICS = ("psnr", "ssim", "ms-ssim")
MAX_PSNR = 100.0
"""Stands for a plane without any error, so that one such frame does not make the mean infinite
(dB)."""

_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class Quality:
    """Quality of a clip. PSNR in dB, at most `MAX_PSNR`; SSIM in [-1, 1], None where it was not
    asked for."""

    frames: int
    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    psnr_611_of_mean: float
    psnr_611_worst: float
    """The lowest weighted PSNR of any frame."""
    ssim: float | None = None
    ms_ssim: float | None = None


class QualityMeter:
    """Accumulates the quality of a clip; holds sums only, never pictures (but 24 bytes a frame of
    PSNR).

    `bit_depth` is 8 ... 16: the peak is 2 ** bit_depth - 1 also for limited-range video, as ffmpeg
    and the JVET have it. `metrics` are names of `METRICS`; PSNR is always measured. Raises
    `UsageError` for an unknown one.
    """

    def __init__(self, bit_depth: int = 8, metrics: Collection[str] = ("psnr",)) -> None:
        if not 8 <= bit_depth <= 16:
            raise UsageError(f"bit depth {bit_depth} is not in 8..16")
        unknown = sorted(set(metrics) - set(METRICS))
        if unknown:
            raise UsageError(f"unknown metric {unknown[0]}: choose from {', '.join(METRICS)}")
        self._peak = float(2**bit_depth - 1)
        self._metrics = frozenset(metrics)
        self._mse: list[tuple[float, float, float]] = []
        self._ssim: list[float] = []
        self._ms_ssim: list[float] = []

    def add(self, reference: Planes, decoded: Planes) -> None:
        """Take one frame: Y [h, w], U and V [ceil(h/2), ceil(w/2)], unsigned integers. Raises
        `UsageError` if sizes differ."""
        sizes = [plane.shape for plane in reference], [plane.shape for plane in decoded]
        if sizes[0] != sizes[1]:
            raise UsageError(f"pictures differ in size: {sizes[0][0]} and {sizes[1][0]}")
        y, u, v = (mse(a, b) for a, b in zip(reference, decoded, strict=True))
        self._mse.append((y, u, v))
        if self._metrics & {"ssim", "ms-ssim"}:
            a, b = (
                torch.from_numpy(p[0].astype(np.float32) / self._peak) for p in (reference, decoded)
            )
            if "ssim" in self._metrics:
                self._ssim.append(ssim(a, b))
            if "ms-ssim" in self._metrics:
                self._ms_ssim.append(ms_ssim(a, b))

    def result(self) -> Quality:
        """The quality of all frames so far. Raises `UsageError` when there is none."""
        if not self._mse:
            raise UsageError("no frames to measure")
        errors = np.array(self._mse)
        frames = np.array([[psnr(e, self._peak) for e in row] for row in self._mse])
        y, u, v = frames.mean(axis=0)
        return Quality(
            frames=len(errors),
            psnr_y=float(y),
            psnr_u=float(u),
            psnr_v=float(v),
            psnr_611=weighted_611(y, u, v),
            psnr_611_of_mean=weighted_611(*(psnr(e, self._peak) for e in errors.mean(axis=0))),
            psnr_611_worst=min(weighted_611(*row) for row in frames),
            ssim=float(np.mean(self._ssim)) if self._ssim else None,
            ms_ssim=float(np.mean(self._ms_ssim)) if self._ms_ssim else None,
        )


def mse(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Mean squared error of two planes of unsigned integers (up to 16 bits), exact."""
    difference = (reference.astype(np.int32) - decoded.astype(np.int32)).ravel()
    return float(np.einsum("i,i->", difference, difference, dtype=np.float64)) / difference.size


def psnr(error: float, peak: float) -> float:
    """PSNR in dB of a mean squared error, at most `MAX_PSNR`."""
    return MAX_PSNR if error <= 0 else min(MAX_PSNR, 10 * math.log10(peak * peak / error))


def weighted_611(y: float, u: float, v: float) -> float:
    """The weighted mean of the three planes' PSNR, (6 Y + U + V) / 8."""
    return float(6 * y + u + v) / 8


def ssim(reference: Tensor, decoded: Tensor) -> float:
    """SSIM of two planes [h, w] with values in [0, 1]: mean over the places where the 11x11
    Gaussian window fits.

    The window shrinks to the largest odd size that fits where a picture is smaller than 11.
    """
    structure, luminance = _ssim_terms(reference, decoded)
    return float((structure * luminance).mean())


def ms_ssim(reference: Tensor, decoded: Tensor) -> float:
    """MS-SSIM of two planes [h, w] with values in [0, 1].

    Five scales need 176 samples on the short side. A smaller picture is measured on as many scales
    as its window fits on, with the weights of those renormalised to a sum of one, so that values of
    such pictures compare only among themselves. Negative contrast terms (pictures that are
    anti-correlated) count as zero.
    """
    return ssim_and_ms_ssim(reference, decoded)[1]


def ssim_and_ms_ssim(
    reference: Tensor, decoded: Tensor, *, scales: bool = True
) -> tuple[float, float]:
    """`ssim` and `ms_ssim` of two planes at the price of the latter; without `scales`, the second
    is NaN."""
    short = min(reference.shape)
    count = max(1, sum(short >> k >= _WINDOW for k in range(len(_MS_WEIGHTS)))) if scales else 1
    weights = [w / sum(_MS_WEIGHTS[:count]) for w in _MS_WEIGHTS[:count]]
    a, b = reference, decoded
    product, single = 1.0, 0.0
    for k, weight in enumerate(weights):
        if k:
            a, b = (F.avg_pool2d(plane[None, None], 2)[0, 0] for plane in (a, b))
        structure, luminance = _ssim_terms(a, b)
        both = float((structure * luminance).mean()) if k in (0, count - 1) else 0.0
        single = single if k else both
        product *= max(both if k == count - 1 else float(structure.mean()), 0.0) ** weight
    return single, product if scales else math.nan


def _ssim_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The contrast-structure term and the luminance term at every place of the window."""
    size = min(_WINDOW, (min(a.shape) - 1) | 1 if min(a.shape) % 2 else min(a.shape) - 1)
    size = max(size, 1)
    x = torch.arange(size, dtype=a.dtype, device=a.device) - (size - 1) / 2
    window = torch.exp(-(x * x) / (2 * _SIGMA * _SIGMA))
    window = window / window.sum()
    moments = torch.stack((a, b, a * a, b * b, a * b))[:, None]
    moments = F.conv2d(F.conv2d(moments, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))[:, 0]
    mean_a, mean_b = moments[0], moments[1]
    var_a, var_b = moments[2] - mean_a * mean_a, moments[3] - mean_b * mean_b
    covariance = moments[4] - mean_a * mean_b
    c1, c2 = _K1 * _K1, _K2 * _K2
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    return structure, luminance
