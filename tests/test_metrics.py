"""Metrics against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from stcodec.quality.metrics import QualityMeter


def test_metrics_against_their_formulas() -> None:
    rng = np.random.default_rng(0)
    a = [rng.integers(0, 256, s, dtype=np.uint8) for s in ((64, 64), (32, 32), (32, 32))]
    b = [
        np.clip(p.astype(int) + d, 0, 255).astype(np.uint8)
        for p, d in zip(a, (2, 4, 8), strict=True)
    ]
    meter = QualityMeter(8, ("psnr", "ssim", "ms-ssim"))
    meter.add(tuple(a), tuple(b))
    quality = meter.result()
    errors = [np.mean((x.astype(float) - y.astype(float)) ** 2) for x, y in zip(a, b, strict=True)]
    wanted = [10 * np.log10(255**2 / e) for e in errors]
    assert [quality.psnr_y, quality.psnr_u, quality.psnr_v] == pytest.approx(wanted)
    assert quality.psnr_611 == pytest.approx((6 * wanted[0] + wanted[1] + wanted[2]) / 8)
    assert quality.ssim is not None
    assert 0.98 < quality.ssim < 1
    assert quality.ms_ssim is not None
    assert 0.98 < quality.ms_ssim < 1
