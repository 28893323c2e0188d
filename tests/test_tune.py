"""`--tune ssim`: bits go to smooth parts, and any decoder reads the result."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stcodec.bench.payloads import Plan, measure
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import load_model
from stcodec.codec.patches import PatchSize
from stcodec.common.values import Planes
from stcodec.encoder import tuning
from stcodec.encoder.activity import price_factors
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.errors import UsageError
from stcodec.options import EncodeOptions
from tests.conftest import make_video, run


def half_smooth(height: int, width: int) -> np.ndarray:
    """Faint patterns on the left, strong ones on the right."""
    random = np.random.default_rng(4)
    noise = random.normal(size=(height, width))
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, 2, 1)) / 2
    return 128 + noise * np.where(np.arange(width) < width // 2, 4.0, 30.0)


def test_texture_pays_more() -> None:
    luma = torch.from_numpy(half_smooth(64, 96) / 255).float()[None, None]
    none, some, all_of_it = (price_factors(luma, PatchSize(), s) for s in (0.0, 0.3, 1.0))
    assert bool((none == 1).all()) and none.shape == (96,)
    for factors in (some, all_of_it):
        assert abs(float(factors.log().mean())) < 1e-5
        smooth, texture = factors.view(8, 12)[:, :6], factors.view(8, 12)[:, 6:]
        assert float(smooth.max()) < 1 < float(texture.min())
    least, most = tuning.ACTIVITY_RANGE
    assert float(all_of_it.max() / all_of_it.min()) <= math.exp(most - least) * 1.001
    assert bool(torch.isfinite(price_factors(torch.zeros_like(luma), PatchSize(), 1.0)).all())


def test_smooth_parts_come_out_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "ACTIVITY_PSNR", 0.0)
    luma = half_smooth(64, 96).clip(0, 255).astype(np.uint8)
    picture: Planes = luma, *(np.full((32, 48), 128, np.uint8),) * 2
    errors = []
    for ssim in (False, True):
        encoder = ChunkEncoder(load_model("dct"), 96, 64, 8, CodecSettings(34, ssim=ssim))
        payload = encoder.encode([picture], True).payload
        (decoded,) = ChunkDecoder(load_model("dct"), 96, 64, 8).decode(payload, True)
        error = (decoded[0].astype(float) - luma) ** 2
        errors.append((error[:, :48].mean(), error[:, 48:].mean()))
    (smooth, texture), (tuned_smooth, tuned_texture) = errors
    assert tuned_smooth < 0.97 * smooth and tuned_smooth / tuned_texture < 0.97 * smooth / texture


def test_the_command_takes_it(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    make_video(source, width=64, height=48, frames=3)
    targets = [tmp_path / f"{tune}.stp" for tune in ("psnr", "ssim")]
    for tune, target in zip(("psnr", "ssim"), targets, strict=True):
        done = run("encode", "--model", "dct", "--tune", tune, source, target)
        assert done.returncode == 0, done.stderr
        assert run("verify", target).returncode == 0
    assert targets[0].read_bytes() != targets[1].read_bytes()
    done = run("encode", "--tune", "film", source, tmp_path / "b.stp")
    assert done.returncode == 2 and "tune must be psnr or ssim, not 'film'" in done.stderr
    with pytest.raises(UsageError):
        EncodeOptions(tune="film")


@pytest.mark.slow
def test_a_benchmark_keeps_both_apart(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    make_video(source, width=64, height=48, frames=4)
    found = [
        measure(
            Plan([source], ["dct"], (24,), 4, cache=tmp_path / "cache", tune=tune), lambda _: None
        ).curves["a"]["stp:dct"][0]
        for tune in ("psnr", "ssim", "psnr")
    ]
    assert found[0] == found[2] and found[0]["psnr_y"] != found[1]["psnr_y"]
