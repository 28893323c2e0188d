"""A tiny model from a folder to a file: packed, looked at, trained, killed, resumed, exported; it
codes and is measured."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import stcodec
from stcodec.codec.model_files import load_model
from stcodec.training import checkpoint, pack
from stcodec.training.__main__ import main
from stcodec.training.pack import PackSettings
from tests.conftest import make_video, run

TINY = ("--model", "dct", "--width", 8, "--prior-blocks", 1, "--filter-blocks", 1, "--memory", 4)
CROPS = ("--screen-share", 0, "--crop", "80x64", "--chunks", 1)
ONE = ("--batch", 1)


def training(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Run a command in this process; what it wrote to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    before, threads = sys.argv, torch.get_num_threads()
    sys.argv = ["training", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        ended: object = 0
    except SystemExit as exit_:
        ended = exit_.code or 0
    finally:
        sys.argv = before
        torch.set_num_threads(threads)
    assert ended == code, err.getvalue()
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, a photo, and files that are neither."""
    target = tmp_path_factory.mktemp("videos")
    make_video(target / "pan.mkv", width=160, height=96, frames=24)
    make_video(target / "small.mp4", width=96, height=80, frames=10)
    y, x = np.mgrid[0:120, 0:160]
    photo = np.stack([x % 256, y * 2 % 256, (x * y) % 251], 2).astype(np.uint8)
    Image.fromarray(photo).save(target / "photo.png")
    (target / "broken.mp4").write_bytes(b"no video")
    (target / "notes.txt").write_text("nothing")
    return target


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "shards"
    said, _ = training("pack", folder, target, "--frames", 16)
    assert "left out" in said and "broken.mp4" in said
    return target


def test_loop_filters_are_fitted(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "filtered.safetensors"
    said, _ = training("filters", packed, target, "--model", "dct", "--crops", 8, *CROPS)
    assert re.findall(r"(\d): 32 pictures, squared error -\d.* and -\d", said) == ["1", "2"]
    model, start = load_model(str(target)), load_model("dct")
    assert model.filter_start is not None and model.filter_start.any()
    assert model.config == start.config and start.filter_start is None


def test_a_pack_holds_the_planes_as_they_are(folder: Path, packed: Path) -> None:
    clips, photos = pack.read(packed)
    assert sorted(tuple(y.shape) for y, _, _ in clips) == [(10, 80, 96), (16, 96, 160)]
    assert [tuple(y.shape) for y, _, _ in photos] == [(1, 120, 160)]
    wide = next(c for c in clips if c[0].shape[2] == 160)
    with av.open(str(folder / "pan.mkv")) as container:
        # The clip is the middle of the video.
        wanted = [f.to_ndarray(format="yuv420p") for f in container.decode(video=0)][4:20]
    for read, frame in zip(wide[0].numpy(), wanted, strict=True):
        assert np.abs(read.astype(int) - frame[:96]).mean() < 1.5
    chroma = np.stack([f[96:120].reshape(48, 80) for f in wanted]).astype(int)
    assert np.abs(wide[1].numpy() - chroma).mean() < 1.5


def test_shards_are_no_larger_than_asked_for(folder: Path, tmp_path: Path) -> None:
    whole = pack.pack(folder, tmp_path / "a", PackSettings(frames=8, crf=30), lambda _: None)
    assert len(whole) == 1
    limit = whole[0].stat().st_size
    parts = pack.pack(
        folder,
        tmp_path / "b",
        PackSettings(frames=8, crf=30, shard_megabytes=limit / 1e6),
        lambda _: None,
    )
    assert len(parts) > 1 and all(s.stat().st_size <= limit for s in parts)
    assert [len(found) for found in pack.read(tmp_path / "b")] == [2, 1]


def test_a_picture_of_what_is_trained_on(packed: Path, tmp_path: Path) -> None:
    shares = ("--photo-share", 0.4, "--screen-share", 0.3)
    training("look", packed, tmp_path / "sheet.png", *CROPS, "--batch", 3, *shares)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 82, 3 * 66)
        assert np.asarray(sheet).std() > 10


def test_a_run_that_is_killed_goes_on_and_gives_a_model(
    folder: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, model = tmp_path / "run", tmp_path / "my.safetensors"
    often = ("--steps", 20, "--every", 5, "--log-every", 5, "--threads", 1)
    common = ("train", packed, place, *TINY, *CROPS, *ONE, *often)
    command = [sys.executable, "-m", "stcodec.training", *map(str, common)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (
        not (place / "checkpoint.pt").exists()
        and time.monotonic() < deadline
        and first.poll() is None
    ):
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    before = torch.load(place / "checkpoint.pt", weights_only=True)
    assert 5 <= before["step"] < 20
    assert f"goes on from step {before['step']}" in training(*common)[0]
    after = torch.load(place / "checkpoint.pt", weights_only=True)
    assert after["step"] == 20
    # The first step only starts SOAP's preconditioners.
    assert after["optimiser"]["state"][0]["step"] == 19
    rows = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert {"loss", "norm", "bits_per_pixel", "psnr", "megapixels_per_second"} <= set(rows[-1])
    assert 0 < rows[-1]["rate"] < rows[0]["rate"]
    assert (place / "ema.safetensors").stat().st_size < 16 << 20
    training("plot", place, tmp_path / "run.png")
    assert "already exists" in training("plot", place, tmp_path / "run.png", code=4)[1]
    with Image.open(tmp_path / "run.png") as picture:
        assert picture.size[0] > 500
    training("export", packed, place, model, *CROPS, "--threads", 1, "--crops", 2, "--steps", 30)
    card = model.with_suffix(".md").read_text()
    assert "20 steps" in card and "`dct`" in card
    coded, back = tmp_path / "a.stp", tmp_path / "a.mp4"
    clip = folder / "small.mp4"
    stcodec.encode(clip, coded, model=str(model), quality=40)
    monkeypatch.setenv("STCODEC_MODELS", str(tmp_path))
    stcodec.decode(coded, back)
    with av.open(str(back)) as container:
        assert len(list(container.decode(video=0))) == 10
    measured = run(
        "bench",
        "rd",
        clip,
        "--models",
        "my",
        "--qualities",
        "10,30,50",
        "--json",
        tmp_path / "b.json",
    )
    assert measured.returncode == 0, measured.stderr
    assert len(json.loads((tmp_path / "b.json").read_text())["curves"][-1]["points"]) == 3


def test_a_model_from_nothing_with_wide_patches(packed: Path, tmp_path: Path) -> None:
    model = tmp_path / "wide.safetensors"
    some = (*CROPS, "--threads", 1, "--crops", 2, "--steps", 20)
    said, _ = training("linear", packed, model, *some, "--patch", "16x8", "--rounds", 2)
    sizes = [int(line.split()[-2]) for line in said.splitlines() if line.startswith("coded")]
    assert len(sizes) == 2 and sizes[1] < 0.8 * sizes[0]
    config = load_model(str(model)).config
    assert (config.patch.h, config.patch.w, config.groups) == (8, 16, (12, 48, 96, 192))


def test_the_time_of_a_step_in_parts(packed: Path) -> None:
    some = (*CROPS, *ONE, "--threads", 1, "--steps", 1, "--table", 3)
    said, _ = training("profile", packed, "--model", "dct", *some)
    lines = said.splitlines()
    assert lines[0] == "1 crops of 80x64, 8 frames, on cpu"
    names = ["pictures", "motion", "forward", "backward", "optimiser"]
    stages = [line.split() for line in lines if line.endswith(" %") and " ms " in line]
    assert [stage[0] for stage in stages] == names
    assert all(float(stage[1]) >= 0 for stage in stages)
    assert sum(float(stage[3]) for stage in stages) == pytest.approx(100, abs=0.5)
    arithmetic = next(line for line in lines if line.startswith("arithmetic"))
    assert float(arithmetic.split(": ")[1].split()[0]) > 0
    shares = [float(line.split()[0]) for line in lines[-3:]]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0


@pytest.mark.slow
def test_compiled_networks_learn_the_same(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Graphs are made, forward and backward, as always, but run as they are: machine code takes a
    # minute or more.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    common = (
        *TINY,
        *CROPS,
        *ONE,
        "--intra",
        "--intra-width",
        16,
        "--steps",
        4,
        "--log-every",
        1,
        "--threads",
        1,
    )
    said, _ = training("train", packed, tmp_path / "compiled", *common, "--compile")
    assert "without compilation" not in said
    training("train", packed, tmp_path / "plain", *common)
    compiled, plain = (
        [
            json.loads(line)["loss"]
            for line in (tmp_path / name / "log.jsonl").read_text().splitlines()
        ]
        for name in ("compiled", "plain")
    )
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_a_run_goes_on_without_a_compiler_that_fails(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise AssertionError("wrong layout\nand more")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    said, _ = training(
        "train",
        packed,
        tmp_path / "run",
        *TINY,
        *CROPS,
        *ONE,
        "--steps",
        2,
        "--threads",
        1,
        "--compile",
    )
    assert (
        said.count("goes on without compilation and recording, one of which failed: wrong layout\n")
        == 1
    )
    assert "step 2," in said


def test_intra_frames_are_trained_alone(
    folder: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, target = tmp_path / "run", tmp_path / "own.safetensors"
    new = ("--intra", "--intra-width", 16, *CROPS, "--batch", 2)
    common = (*new, "--steps", 4, "--log-every", 2, "--threads", 1)
    assert "2 clips, 1 photos" in training("train", packed, place, "--model", "dct", *common)[0]
    training("export", packed, place, target, *CROPS, "--rounds", 0)
    base, own = load_model("dct"), load_model(str(target))
    assert own.config.intra_width == 16
    assert any(bool(p.any()) for p in own.network.surroundings.end.parameters())
    assert torch.equal(own.scale_networks.other[0].w1, base.scale_networks.other[0].w1)
    clip, coded = folder / "small.mp4", tmp_path / "a.stp"
    stcodec.encode(clip, coded, model=str(target))
    # The same beside what another run has trained.
    rest, both = tmp_path / "rest", tmp_path / "both.safetensors"
    training("train", packed, rest, *TINY, *CROPS, *ONE, "--steps", 2, "--threads", 1)
    training("export", packed, rest, both, *CROPS, "--rounds", 0, "--intra", place)
    joined = load_model(str(both))
    assert (joined.config.width, joined.config.intra_width) == (8, 16)
    for one, other in zip(
        joined.network.surroundings.parameters(),
        own.network.surroundings.parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert torch.equal(joined.scale_networks.intra[0].w1, own.scale_networks.intra[0].w1)
    monkeypatch.setenv("STCODEC_MODELS", str(tmp_path))
    assert run("verify", "--deep", coded).returncode == 0


def test_other_processes_draw_batches(packed: Path, tmp_path: Path) -> None:
    common = (*TINY, *CROPS, *ONE, "--steps", 5, "--log-every", 1, "--threads", 1)
    more = ("--search", "dense", "--reuse", 1, "--capture")
    for name, workers in ("here", 0), ("ahead", 2):
        said, _ = training("train", packed, tmp_path / name, *common, *more, "--workers", workers)
        assert "step 5," in said and "failed" not in said
    here, ahead = (
        [row["loss"] for row in checkpoint.read_log(tmp_path / name)] for name in ("here", "ahead")
    )
    assert here == pytest.approx(ahead, rel=1e-4)
    empty = tmp_path / "empty"
    empty.mkdir()
    _, err = training("train", empty, tmp_path / "no", *common, "--workers", 1, code=3)
    assert "holds no shards" in err


BLOCKED = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("av", "zstandard"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["training", *sys.argv[1:]]
runpy.run_module("stcodec.training", run_name="__main__")
"""


def test_the_launcher_trains_without_pyav_and_the_compressor(
    folder: Path, packed: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("cv2") is None:
        # Without OpenCV photos can be read, but no clips.
        packed, photos = tmp_path / "p", tmp_path / "photos"
        photos.mkdir()
        (photos / "photo.png").write_bytes((folder / "photo.png").read_bytes())
        training("pack", photos, packed)
    script, python = tmp_path / "blocked.py", tmp_path / "python"
    script.write_text(BLOCKED)
    # Called as `python -m stcodec.training ...`.
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    launcher = Path(__file__).parent.parent / "stcodec" / "training" / "gpu_run.sh"
    environment = {**os.environ, "PYTHON": str(python), "COLLECT": "collected"}

    def launch(place: str, *options: object) -> subprocess.CompletedProcess[str]:
        command = map(str, (launcher, packed, tmp_path / place, 5, *TINY, *CROPS, *ONE, *options))
        return subprocess.run(
            list(command),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    # The launcher ends as the training ends.
    failed = launch("failed", "--crop", "80x60")
    assert failed.returncode == 2 and "such as 80x64" in failed.stdout
    done = launch("run", "--steps", 2, "--log-every", 1, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "step 2" in done.stdout
    collected = sorted((tmp_path / "collected").iterdir())
    assert max(p.stat().st_size for p in collected) <= 15 << 20
    parts = [p for p in collected if p.name.startswith("checkpoint.pt")]
    assert (
        b"".join(p.read_bytes() for p in parts) == (tmp_path / "run" / "checkpoint.pt").read_bytes()
    )
    assert {p.name for p in collected if p not in parts} == {
        "ema.safetensors",
        "log.jsonl",
        "options.json",
        "output.log",
    }


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("train", "{empty}", "{empty}/run"), "holds no shards", 3),
        (("pack", "{empty}", "{empty}/p"), "holds no videos and no photos", 3),
        (("plot", "{empty}", "{empty}/p.png"), "there is no log", 3),
        (("plot", "{empty}", "{empty}/p.txt"), "ending of a plot must be one of .png", 2),
        (("pack", "{packed}", "{packed}"), "already exists (-y overwrites)", 4),
        (("train", "{packed}", "{empty}/run", "--model", "none"), "'none' is not installed", 1),
        (("train", "{packed}", "{empty}/run", "--width-of-crop", "80"), "train --help", 2),
        (
            ("export", "{packed}", "{empty}", "{empty}/m.safetensors"),
            "does not say how the run was started",
            3,
        ),
        (("train", "{packed}", "{empty}/run", "--crop", "80x60"), "such as 80x64", 2),
    ],
)
def test_errors_are_one_line(
    arguments: tuple[str, ...], message: str, code: int, packed: Path, tmp_path: Path
) -> None:
    filled = [a.format(empty=tmp_path, packed=packed) for a in arguments]
    _, said = training(*filled, code=code)
    assert message in said
    assert len(said.strip().splitlines()) == 1
