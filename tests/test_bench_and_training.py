"""Benchmarks run on a small clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stcodec.bench.rd import Point, bd_rate
from stcodec.metrics import QualityMeter
from tests.conftest import make_video, run


def test_rate_distortion_of_a_clip(tmp_path: Path) -> None:
    source = tmp_path / "clip.mkv"
    make_video(source, width=96, height=64, frames=9)
    target, plot, page = tmp_path / "r.json", tmp_path / "r.png", tmp_path / "r.md"
    done = run(
        "bench",
        "rd",
        source,
        "--qualities",
        "10,25,40",
        "--json",
        target,
        "--plot",
        plot,
        "--cache",
        tmp_path / "cache",
    )
    assert done.returncode == 0, done.stderr
    curves = json.loads(target.read_text())["curves"]
    assert [c["codec"].split(":")[0] for c in curves] == ["x264-medium", "stp"]
    assert curves[0]["bd_rate"] == pytest.approx(0, abs=1e-6)
    assert plot.stat().st_size > 5000
    assert run("bench", "report", target, "-o", page).returncode == 0
    assert "BD-rate against x264-medium" in page.read_text()


def test_bd_rate_of_half_the_bytes() -> None:
    points = [Point(q, int(1000 * 1.5**i), 30.0 + 2 * i, 0, 0, 0, None) for i, q in enumerate(range(5))]
    half = [Point(p.setting, p.bytes // 2, p.psnr_611, 0, 0, 0, None) for p in points]
    assert bd_rate(points, half) == pytest.approx(-50, abs=0.5)
    far = [Point(p.setting, p.bytes, p.psnr_611 + 50, 0, 0, 0, None) for p in points]
    assert bd_rate(points, far) is None


def test_metrics_against_their_formulas() -> None:
    rng = np.random.default_rng(0)
    a = [rng.integers(0, 256, s, dtype=np.uint8) for s in ((64, 64), (32, 32), (32, 32))]
    b = [np.clip(p.astype(int) + d, 0, 255).astype(np.uint8) for p, d in zip(a, (2, 4, 8), strict=True)]
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
