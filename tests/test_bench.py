"""Benchmarks as a user runs them: rates of real files, tables, plots, page, cache; BD-rate against
its definition."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import stcodec
from stcodec.bench import speed
from stcodec.bench.curves import Curve, Point, bd_rate, summary, with_bd_rates
from stcodec.bench.peers import coded_bytes, encode, find_peer
from stcodec.bench.sources import prepare
from stcodec.codec.model_files import load_model
from stcodec.options import EncodeOptions
from stcodec.quality import vmaf, xpsnr
from tests.conftest import make_video, psnr, run

TABLE = "path\tkind\tevaluate_at_scale\nvideos/pan.mkv\tmoving\t0.5\n"


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with the results of one `bench rd`."""
    folder = tmp_path_factory.mktemp("bench")
    make_video(folder / "pan.mkv", width=192, height=128, frames=9)
    make_video(folder / "pan2.mkv", width=64, height=48, frames=4)
    (folder / "SOURCES.tsv").write_text(TABLE)
    return folder, _rd(folder, "r.json", ("pan.mkv", "pan2.mkv"))


def _rd(
    folder: Path, result: str, clips: tuple[str, ...], *more: object
) -> subprocess.CompletedProcess[str]:
    names = (
        "--sources",
        folder / "SOURCES.tsv",
        "--cache",
        folder / "cache",
        "--json",
        folder / result,
    )
    what = (
        "--peers",
        "svtav1-p12",
        "--metrics",
        "psnr,ssim,vmaf,xpsnr",
        "--models",
        "dct",
        "--qualities",
        "10,30,50",
    )
    return run(
        "bench", "rd", *(folder / clip for clip in clips), *names, *what, "--frames", 8, *more
    )


def test_rd_measures_what_files_hold(
    measured: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, done = measured
    assert done.returncode == 0, done.stderr
    for text in (
        "x264-medium: libx264, preset medium, CRF 18 23 28 33 38",
        "pan (moving)",
        "pan2 (other)",
        "PSNR 6:1:1",
    ):
        assert text in done.stdout
    result = json.loads((folder / "r.json").read_text())
    curves, clips = result["curves"], result["clips"]
    assert [(c["name"], c["kind"], c["scale"], c["width"], c["frames"]) for c in clips] == [
        ("pan", "moving", 0.5, 96, 8),
        ("pan2", "other", 1, 64, 4),
    ]
    assert [(c["clip"], c["codec"]) for c in curves] == [
        (clip, codec)
        for clip in ("pan", "pan2")
        for codec in ("x264-medium", "svtav1-p12", "stp:dct")
    ]
    assert curves[0]["bd_rate"]["psnr"] == pytest.approx(0, abs=1e-6)
    # The same by hand: the scaled clip, encoded and decoded by the command, read by PyAV.
    clip = prepare(folder / "pan.mkv", tmp_path, {}, 0.5, 8)
    assert (clip.width, clip.height, clip.frames) == (96, 64, 8)
    coded, back = tmp_path / "a.stp", tmp_path / "a.y4m"
    stcodec.encode(clip.path, coded, quality=30, model="dct", threads=1)
    stcodec.decode(coded, back, threads=1)
    point = curves[2]["points"][1]
    assert (point["setting"], point["bytes"]) == (30, coded.stat().st_size)
    assert 0 < point["stream_bytes"] < point["bytes"]
    assert point["psnr_y"] == pytest.approx(_psnr_y(clip.path, back), abs=1e-4)
    assert 0.9 < point["ms_ssim"] < 1
    if vmaf.available() is not None:
        assert point["vmaf"] == pytest.approx(np.mean(vmaf.vmaf(clip.path, back)), abs=1e-4)
    else:
        assert "VMAF is left out" in done.stderr
        assert point["vmaf"] is None

    if xpsnr.available() is not None:
        assert point["xpsnr"] == pytest.approx(np.mean(xpsnr.xpsnr(clip.path, back)), abs=1e-4)
        assert "XPSNR Y" in done.stdout


def _psnr_y(a: Path, b: Path) -> float:
    with av.open(str(a)) as x, av.open(str(b)) as y:
        pairs = zip(x.decode(video=0), y.decode(video=0), strict=True)
        return float(
            np.mean(
                [psnr(f.to_ndarray()[: f.height], g.to_ndarray()[: f.height]) for f, g in pairs]
            )
        )


def test_cache_serves_the_peers_and_only_them(
    measured: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = measured
    kept = sorted((folder / "cache").iterdir())
    assert len(kept) == 20  # two clips, two peers, five points
    for path in kept:
        path.write_text(path.read_text().replace('"psnr_611": ', '"psnr_611": 1'))
    refused = _rd(folder, "r.json", ("pan.mkv", "pan2.mkv"))
    assert refused.returncode == 4
    assert "already exists" in refused.stderr
    again = _rd(folder, "r2.json", ("pan2.mkv",), "--plot", folder / "r.png")
    assert again.returncode == 0, again.stderr
    assert (
        "svtav1-p12: libsvtav1, preset 12, CRF 23 32 41 50 58, one thread, MP4 (from the cache)"
        in again.stdout
    )
    first, second = (
        json.loads((folder / name).read_text())["curves"] for name in ("r.json", "r2.json")
    )
    assert second[0]["points"][0]["psnr_611"] > 100
    assert second[2]["points"] == first[5]["points"]
    for name in ("r.png", "r-ms-ssim.png", *(["r-vmaf.png"] if vmaf.available() else [])):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_gpu_is_measured_in_a_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("synchronize", "reset_peak_memory_stats", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3e6)
    monkeypatch.setattr(speed, "_on_cpu", lambda _: False)
    source = tmp_path / "a.mp4"
    make_video(source, frames=3)
    coded, options = tmp_path / "own.stp", EncodeOptions(model="dct", effort=0)
    there = speed._encode_own(source, coded, options)
    back, networks = speed._decode_own(coded, tmp_path / "own.y4m", options, 96, 128)
    assert networks is None and there.waits == back.waits == 0
    assert there.device_megabytes == back.device_megabytes == 3.0
    assert there.stages and back.stages


def test_speed_and_page(
    measured: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = measured
    small = folder / "small.mkv"
    make_video(small, width=32, height=18, frames=3)
    speeds, page = tmp_path / "s.json", tmp_path / "page.md"
    what = ("--sizes", "72p", "--frames", 3, "--peers", "x264-ultrafast")
    wrong = run("bench", "speed", small, *what, "--threads", "1,two")
    assert wrong.returncode == 2 and "whole numbers" in wrong.stderr
    done = run(
        "bench", "speed", small, *what, "--json", speeds, timeout=600
    )  # six processes, one after another
    assert done.returncode == 0, done.stderr
    result = json.loads(speeds.read_text())
    own, peer = result["speed"]
    assert (own["width"], own["height"], own["frames"], peer["codec"]) == (
        128,
        72,
        3,
        "x264-ultrafast",
    )
    assert {"motion", "network", "scales", "entropy", "container"} <= set(own["encode"]["stages"])
    assert {"network", "scales", "entropy", "container", "output"} <= set(own["decode"]["stages"])
    assert own["encode"]["megabytes"] > own["encode"]["start_megabytes"] > 50
    assert own["networks"] > 0
    assert peer["networks"] is None
    # Per patch: what goes in and out of the networks, their blocks, the memory once in 8 frames,
    # the inverse transform; where no networks work, that of patches in which something is coded.
    config, counted = load_model("stc-1").config, result["complexity"]
    channels, width, memory = config.patch.channels, config.width, config.memory
    products = (channels + memory + 3 * channels) * width + 2 * width * channels
    products += (config.prior_blocks + config.filter_blocks) * (5 * width * width + 9 * width)
    kinds = [1, 2, 3, 3, 4, 4, 4, 4]
    share = sum(config.networks[kind] for kind in kinds) / len(kinds)
    products = share * products + (width + memory) * 2 * memory / 8
    padded = 32 * 32 / (32 * 18) / 64 / 1000
    for side in ("encode", "decode"):
        counts = counted[side]
        forward = channels * channels if side == "encode" else 0  # the transform of the source
        found = counts["network"] + counts.get("other", 0.0)
        least = products + share * channels * channels + forward
        assert padded * least * (1 - 1e-5) <= found
        assert found <= padded * (products + channels * channels + forward) * (1 + 1e-5)
    shutil.copy(folder / "r.json", tmp_path / "r.json")
    assert (
        run(
            "bench", "report", tmp_path / "r.json", speeds, tmp_path / "r.json", "-o", page
        ).returncode
        == 0
    )
    text = page.read_text()
    for wanted in (
        "BD-rate against x264-medium",
        "pan (moving)",
        "kMAC per pixel",
        "| wall clock |",
    ):
        assert wanted in text
    assert str(folder) not in text
    assert {"rd.png", "rd-2.png"} <= {p.name for p in (tmp_path / "page").iterdir()}
    assert run("bench", "report", speeds, "-o", page).returncode == 4
    (tmp_path / "bad.json").write_text('{"curves": 1}')
    bad = run("bench", "report", tmp_path / "bad.json", "-o", page, "-y")
    assert bad.returncode == 3
    assert "bad.json" in bad.stderr
    assert page.read_text() == text


def test_usage_errors_name_what_is_wrong(tmp_path: Path, bee: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("path\tkind\n")
    for arguments, code, words in (
        (("rd", bee, "--peers", "x266-medium"), 2, "x266-medium"),
        (("rd", bee, "--metrics", "psnr,taste"), 2, "taste"),
        (("rd", tmp_path / "none.mp4"), 3, "none.mp4"),
        (("rd", bee, "--sources", table), 3, "t.tsv"),
        (("rd", bee, "--json", tmp_path / "no" / "x.json"), 1, "x.json"),
        (("speed", bee, "--sizes", "tall"), 2, "tall"),
    ):
        done = run("bench", *arguments)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (
            code,
            True,
            False,
        ), done.stderr


def test_peers_are_not_handicapped(tmp_path: Path) -> None:
    """x264 must not cut its pictures into slices, as PyAV's default has it, and the tune must
    arrive."""
    make_video(tmp_path / "a.mkv", width=128, height=96, frames=5)
    clip = prepare(tmp_path / "a.mkv", tmp_path, {}, None, 0)
    for name, psy in (("x264-medium", b" psy=1 "), ("x264-faster-psnr", b" psy=0 ")):
        target = tmp_path / "a.mp4"
        encode(clip, find_peer(name), 30, target, threads=2)
        content = target.read_bytes()
        assert b"sliced_threads=0" in content
        assert psy in content
        with av.open(str(target)) as container:
            packets = sum(p.size for p in container.demux(video=0))
        assert packets - 1500 < coded_bytes(target) < packets < len(content)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no such call here")
def test_no_peer_takes_the_cores_from_others(tmp_path: Path) -> None:
    """SVT-AV1 makes its process a real-time one where it may, that is, as root."""
    make_video(tmp_path / "a.mkv", width=64, height=64, frames=3)
    clip = prepare(tmp_path / "a.mkv", tmp_path, {}, None, 0)
    encode(clip, find_peer("svtav1-p12"), 40, tmp_path / "a.mp4", threads=1)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_bd_rate_of_half_the_bytes() -> None:
    points = [
        Point(q, int(1000 * 1.5**i), int(900 * 1.5**i), *(30.0 + 2 * i,) * 4, 0.9 + 0.01 * i)
        for i, q in enumerate(range(5))
    ]
    half = [dataclasses.replace(p, bytes=p.bytes // 2) for p in points]
    assert bd_rate(points, half) == pytest.approx(-50, abs=0.5)
    assert bd_rate(points, half, "ms-ssim") == pytest.approx(-50, abs=0.5)
    assert bd_rate(points, half, "vmaf") is None  # was not measured
    assert bd_rate(points, half, "psnr-streams") == pytest.approx(0)
    assert (
        bd_rate(points, [*half[:4], dataclasses.replace(half[4], psnr_611=35.0)]) is None
    )  # worse for more bytes
    far = [dataclasses.replace(p, psnr_611=p.psnr_611 + 50) for p in points]
    assert bd_rate(points, far) is None
    curves = with_bd_rates(
        [
            Curve("c", "k", name, "", p)
            for name, p in (("x264-medium", points), ("ours", half), ("far", far))
        ]
    )
    assert summary(curves)[-1].split("|")[2:4] == [f" {curves[1].bd_rate['psnr']:+.1f} % ", " n/a "]
