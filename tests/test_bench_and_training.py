"""Metrics; a tiny model is fitted, trained, stopped, resumed, exported, and codes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from stcodec.metrics import QualityMeter
from stcodec.weights import load_model
from tests.conftest import make_video, run


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


def test_training_from_folder_to_model(tmp_path: Path, bee: Path) -> None:
    import subprocess
    import sys

    folder, model = tmp_path / "videos", tmp_path / "my.safetensors"
    folder.mkdir()
    (folder / "bee.mp4").write_bytes(bee.read_bytes())
    make_video(folder / "pan.mkv", width=160, height=96, frames=24)

    def train(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stcodec.training", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    pack, checkpoint = tmp_path / "pack.pt", tmp_path / "run.ckpt"
    common = ("--width", 16, "--prior-blocks", 1, "--filter-blocks", 1)
    train("pack", folder, pack, "--clips", 4, "--frames", 16, "--height", 64, "--size", 96)
    train("train", pack, checkpoint, "--steps", 6, "--minutes", 2, *common)
    # A checkpoint from before a new fit goes on with what the present base model has fitted.
    state = torch.load(checkpoint, weights_only=True)
    for weights in ("network", "average"):
        state[weights]["step_gain"] += 1.0
    torch.save(state, checkpoint)
    log = tmp_path / "run.log"
    log.write_text(train("train", pack, checkpoint, "--steps", 50, "--minutes", 2, *common))
    assert "goes on from step 6" in log.read_text()
    average = torch.load(checkpoint, weights_only=True)["average"]
    torch.testing.assert_close(average["step_gain"], load_model("dct").network.step_gain)
    train("plot", log, tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 5000
    train("export", pack, checkpoint, model, "--rounds", 1, "--steps", 60)
    coded = tmp_path / "a.stp"
    assert run("encode", bee, coded, "--model", model, "-q", 40).returncode == 0
    lost = run("decode", coded, tmp_path / "a.mp4")
    assert lost.returncode == 1
    assert "my" in lost.stderr
    environment = {"STCODEC_MODELS": str(tmp_path)}
    import os

    done = subprocess.run(
        [sys.executable, "-m", "stcodec", "decode", str(coded), str(tmp_path / "a.mp4")],
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(list(container.decode(video=0))) == 20
