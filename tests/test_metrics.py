"""Metrics against their formulas, written out window by window in double precision."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from stcodec.errors import UsageError
from stcodec.quality.metrics import QualityMeter, ms_ssim, ssim, ssim_and_ms_ssim

BUTTERFLY = Path(__file__).parent / "data" / "butterfly.mp4"
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik 2003, section 3.2
C1, C2 = 0.01**2, 0.03**2


def plain_terms(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure at each place (Wang et al. 2004, equations 6 and 13 to 16).

    a, b: float64 [h, w] in [0, 1]. The window is 11 samples wide, or as many as fit, an odd number.
    """
    size = max(n for n in range(1, 12, 2) if n <= min(a.shape))
    offset = np.arange(size) - size // 2
    window = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = (np.lib.stride_tricks.sliding_window_view(p, (size, size)) for p in (a, b))
    mean_x, mean_y = ((window * p).sum((2, 3)) for p in (x, y))
    off_x, off_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
    var_x, var_y, both = (
        (window * p).sum((2, 3)) for p in (off_x * off_x, off_y * off_y, off_x * off_y)
    )
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * both + C2) / (var_x + var_y + C2)


def halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2x2 samples; an odd last row or column is dropped."""
    h, w = (n // 2 for n in plane.shape)
    return plane[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3))


def plain_ssim_and_ms_ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """SSIM, and MS-SSIM on as many of the five scales as an 11x11 window fits on, one at least."""
    scales = [(a, b)]
    while len(scales) < 5 and min(scales[-1][0].shape) // 2 >= 11:
        scales.append((halved(scales[-1][0]), halved(scales[-1][1])))
    weights = np.array(WEIGHTS[: len(scales)])
    weights /= weights.sum()
    single, product = 0.0, 1.0
    for k, (weight, pair) in enumerate(zip(weights, scales, strict=True)):
        luminance, structure = plain_terms(*pair)
        whole = (luminance * structure).mean()
        single = whole if k == 0 else single
        product *= max(whole if k == len(scales) - 1 else structure.mean(), 0.0) ** weight
    return float(single), float(product)


def noise_pair(height: int, width: int, peak: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A rough texture, and the same with noise, darker and with less contrast: integers."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4 + 1, width // 4 + 1)).repeat(4, 0).repeat(4, 1)
    a = 0.6 * coarse[:height, :width] + 0.4 * rng.random((height, width))
    b = 0.8 * a + 0.05 + rng.normal(0, 0.12, a.shape)
    dtype = np.uint8 if peak < 256 else np.uint16
    x, y = (np.round(p.clip(0, 1) * peak).astype(dtype) for p in (a, b))
    return x, y


def measured(a: np.ndarray, b: np.ndarray, depth: int) -> tuple[float, float]:
    """SSIM and MS-SSIM of two luma planes by the meter."""
    meter = QualityMeter(depth, ("ssim", "ms-ssim"))
    chroma = [np.zeros(((a.shape[0] + 1) // 2, (a.shape[1] + 1) // 2), a.dtype)] * 2
    meter.add((a, *chroma), (b, *chroma))
    quality = meter.result()
    assert quality.ssim is not None and quality.ms_ssim is not None
    return quality.ssim, quality.ms_ssim


# 176 samples are five scales, 175 are four, 22 are two and 21 one; below 11 the window shrinks.
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(
    ("height", "width"), [(176, 180), (175, 93), (45, 67), (22, 24), (21, 40), (8, 9), (1, 3)]
)
def test_ssim_and_ms_ssim_against_their_formulas(height: int, width: int, depth: int) -> None:
    peak = (1 << depth) - 1
    a, b = noise_pair(height, width, peak, height + depth)
    found = measured(a, b, depth)
    assert found == pytest.approx(plain_ssim_and_ms_ssim(a / peak, b / peak), abs=5e-6)
    if height > 8:
        assert found[0] < 0.8  # far from one, so that an error would show


def test_ssim_and_ms_ssim_of_real_pictures() -> None:
    with av.open(str(BUTTERFLY)) as video:
        first, *_, later = itertools.islice(video.decode(video=0), 3)
    a, b = (f.to_ndarray(format="gray")[60:236, 100:280] for f in (first, later))
    found = measured(a, b, 8)
    assert found == pytest.approx(plain_ssim_and_ms_ssim(a / 255, b / 255), abs=5e-6)
    tensors = [torch.from_numpy(p.astype(np.float32) / 255) for p in (a, b)]
    both = ssim_and_ms_ssim(tensors[0], tensors[1])
    assert both == pytest.approx(found, abs=1e-6)
    alone = ssim_and_ms_ssim(tensors[0], tensors[1], scales=False)
    assert alone[0] == pytest.approx(found[0], abs=1e-6) and np.isnan(alone[1])


def test_ssim_of_pictures_for_which_it_is_known() -> None:
    rng = np.random.default_rng(2)
    texture = torch.from_numpy(rng.random((176, 200)).astype(np.float32))
    assert ssim(texture, texture) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(texture, texture) == pytest.approx(1, abs=1e-6)
    # Of flat pictures the luminance term is left, at the last scale alone in MS-SSIM.
    dark, bright = (torch.full((176, 176), v) for v in (0.25, 0.75))
    luminance = (2 * 0.25 * 0.75 + C1) / (0.25**2 + 0.75**2 + C1)
    # Single precision is off by 1e-7 in a variance, to which C2 = 9e-4 is added.
    assert ssim(dark, bright) == pytest.approx(luminance, rel=5e-4)
    assert ms_ssim(dark, bright) == pytest.approx(luminance ** WEIGHTS[-1], rel=5e-4)
    # A negative is anti-correlated: below zero, and MS-SSIM stops at zero.
    assert ssim(texture, 1 - texture) < -0.9
    assert ms_ssim(texture, 1 - texture) == 0
    other = torch.from_numpy(rng.random((176, 200)).astype(np.float32))
    assert ssim(texture, other) == pytest.approx(ssim(other, texture), abs=1e-6)
    assert ms_ssim(texture, other) == pytest.approx(ms_ssim(other, texture), abs=1e-6)


def planes(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, s, dtype=np.uint8) for s in ((64, 64), (32, 32), (32, 32))]


def test_psnr_against_its_formula() -> None:
    a = planes(0)
    b = [
        np.clip(p.astype(int) + d, 0, 255).astype(np.uint8)
        for p, d in zip(a, (2, 4, 8), strict=True)
    ]
    meter = QualityMeter(8)
    meter.add(tuple(a), tuple(b))
    quality = meter.result()
    errors = [np.mean((x.astype(float) - y.astype(float)) ** 2) for x, y in zip(a, b, strict=True)]
    wanted = [10 * np.log10(255**2 / e) for e in errors]
    assert [quality.psnr_y, quality.psnr_u, quality.psnr_v] == pytest.approx(wanted)
    assert quality.psnr_611 == pytest.approx((6 * wanted[0] + wanted[1] + wanted[2]) / 8)
    assert quality.ssim is None and quality.ms_ssim is None


def test_psnr_of_several_frames() -> None:
    """Frames are averaged in decibels, and, apart, as errors; a perfect plane counts 100 dB."""
    a = planes(1)
    meter = QualityMeter(8)
    for shift in (0, 1, 4):
        b = tuple((p.astype(int) ^ shift).astype(np.uint8) for p in a)
        meter.add(tuple(a), b)
    quality = meter.result()
    each = [100.0, 10 * np.log10(255**2), 10 * np.log10(255**2 / 16)]
    assert quality.frames == 3
    assert quality.psnr_611 == pytest.approx(np.mean(each))
    assert quality.psnr_611_worst == pytest.approx(each[2])
    assert quality.psnr_611_of_mean == pytest.approx(10 * np.log10(255**2 / (17 / 3)))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="no frames"):
        QualityMeter().result()
    with pytest.raises(UsageError, match="unknown metric vmaf"):
        QualityMeter(8, ("vmaf",))
    with pytest.raises(UsageError, match="bit depth 7"):
        QualityMeter(7)
    a = planes(3)
    with pytest.raises(UsageError, match="differ in size"):
        QualityMeter().add(tuple(a), tuple(p[:-2] for p in a))
