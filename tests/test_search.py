"""Targets of size and quality, and predictions from samples, as a user asks for them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import stcodec
from stcodec.common.values import Picture, Planes
from stcodec.errors import UsageError
from stcodec.flows.grouping import chunks
from stcodec.flows.rate_control import Control, Rates
from stcodec.flows.sampling import survey
from stcodec.media.reader import VideoReader
from stcodec.options import parse_amount
from stcodec.quality import vmaf, xpsnr
from stcodec.quality.metrics import Quality, QualityMeter
from tests.conftest import make_video, run


def quality_of(source: Path, coded: Path) -> Quality:
    """The measured quality of a .stp file."""
    meter = QualityMeter(metrics=("psnr", "ms-ssim"))
    with VideoReader(source) as video, stcodec.open(coded) as decoded:
        pictures: list[Planes] = [p.planes for p in video if isinstance(p, Picture)]
        for a, b in zip(pictures, decoded, strict=True):
            meter.add(a, b.planes)
    return meter.result()


@pytest.mark.parametrize(("text", "amount"), [("8.2kB", 8200), ("15KiB", 15360), ("40000", 40000)])
def test_target_size_is_met_within_3_percent_and_keeps_all_frames(
    bee: Path, tmp_path: Path, text: str, amount: int
) -> None:
    target = tmp_path / "a.stp"
    done = run("encode", bee, target, "--target-size", text)
    assert done.returncode == 0, done.stderr
    assert abs(target.stat().st_size / amount - 1) <= 0.03
    assert run("verify", target).stdout.strip().endswith("intact, 20 frames in 3 chunks")
    assert [p.name for p in tmp_path.iterdir()] == ["a.stp"]


def test_target_bitrate_counts_the_audio(bee: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.stp"
    done = run("encode", bee, target, "--target-bitrate", "150k", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["output_bytes"] == target.stat().st_size
    assert abs(8 * target.stat().st_size / said["duration"] / 150_000 - 1) <= 0.03
    assert done.stderr == ""


def test_a_size_that_is_too_small_writes_nothing(bee: Path, tmp_path: Path) -> None:
    done = run("encode", bee, tmp_path / "a.stp", "--target-size", "6.2kB", "--quiet")
    assert done.returncode == 5
    assert "at quality 0 the output has" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_sound_alone_exceeds_is_refused_before_anything_is_coded(
    bee: Path, tmp_path: Path
) -> None:
    """As 25 for 25MB, which a film would be coded for to no end."""
    done = run("encode", bee, tmp_path / "a.stp", "--target-size", "25")
    assert done.returncode == 5
    [line] = done.stderr.splitlines()
    assert "25 bytes are out of reach: carried streams and headers alone have " in line
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_is_too_large_gets_the_highest_quality_and_a_note(
    bee: Path, tmp_path: Path
) -> None:
    done = run("encode", bee, tmp_path / "a.stp", "--target-size", "1MB")
    assert done.returncode == 0
    assert "the highest quality needs no more" in done.stderr
    assert json.loads(run("info", tmp_path / "a.stp", "--json").stdout)["quality"] == 63


@pytest.mark.parametrize(("option", "wanted"), [("--min-psnr", 36.0), ("--min-ssim", 0.985)])
def test_the_lowest_quality_that_meets_a_metric(
    bee: Path, tmp_path: Path, option: str, wanted: float
) -> None:
    target, lower = tmp_path / "a.stp", tmp_path / "b.stp"
    done = run("encode", bee, target, option, wanted)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tried quality") >= 3
    quality = json.loads(run("info", target, "--json").stdout)["quality"]
    assert run("encode", bee, lower, "-q", quality - 1).returncode == 0
    reached = [quality_of(bee, p) for p in (target, lower)]
    values = [q.psnr_611 if option == "--min-psnr" else q.ms_ssim for q in reached]
    assert values[0] is not None and values[1] is not None
    assert values[0] >= wanted > values[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wanted"), [("vmaf", 80), ("xpsnr", 34)])
def test_the_lowest_quality_that_meets_a_metric_of_ffmpeg(
    bee: Path, tmp_path: Path, name: str, wanted: int
) -> None:
    if {"vmaf": vmaf, "xpsnr": xpsnr}[name].available() is None:
        pytest.skip("no FFmpeg that measures it")
    target = tmp_path / "a.stp"
    done = run("encode", bee, target, f"--min-{name}", wanted, "--model", "dct")
    assert done.returncode == 0, done.stderr
    tried = {
        int(q): float(v)
        for q, v in re.findall(rf"tried quality (\d+): .*{name.upper()} ([\d.]+)", done.stderr)
    }
    quality = json.loads(run("info", target, "--json").stdout)["quality"]
    assert tried[quality] >= wanted > tried[quality - 1]
    compared = json.loads(run("compare", bee, target, "--json").stdout)
    key = "vmaf" if name == "vmaf" else "xpsnr_y"
    assert compared["summary"][key]["mean"] == pytest.approx(tried[quality], abs=0.5)


def test_a_quality_out_of_reach(bee: Path, tmp_path: Path) -> None:
    done = run("encode", bee, tmp_path / "a.stp", "--min-psnr", "99", "--quiet")
    assert done.returncode == 5
    assert "quality 63 gives" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_sample_predicts_size_and_quality(bee: Path, bee_stp: Path) -> None:
    done = run("sample", bee, "-q", "30", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert abs(said["output_bytes"] / bee_stp.stat().st_size - 1) < 0.01
    measured = quality_of(bee, bee_stp)
    assert said["psnr"] == pytest.approx(measured.psnr_611, abs=0.01)
    assert said["ms_ssim"] == pytest.approx(measured.ms_ssim, abs=0.001)


@pytest.mark.parametrize(
    "options",
    [
        ("--target-size", "10kB", "-q", "32"),
        ("--target-size", "10kB", "--min-psnr", "30"),
        ("--target-bitrate", "lots"),
        ("--min-ssim", "1.5"),
    ],
)
def test_targets_exclude_each_other_and_quality(
    bee: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert run("encode", bee, tmp_path / "a.stp", *options).returncode == 2
    with pytest.raises(UsageError):
        stcodec.encode(bee, tmp_path / "a.stp", target_size=10_000, quality=20)


def test_amounts() -> None:
    assert [parse_amount(t) for t in ("25MB", "1.5 kB", "2MiB", "800k", "1GiB", "7")] == [
        25_000_000, 1500, 2 << 20, 800_000, 1 << 30, 7,
    ]  # fmt: skip
    with pytest.raises(UsageError):
        parse_amount("-3MB")


@pytest.mark.slow
def test_a_long_video_is_sampled_in_part_and_met_in_size(tmp_path: Path) -> None:
    source, target = tmp_path / "long.mkv", tmp_path / "a.stp"
    make_video(source, width=32, height=32, frames=300)
    from stcodec.codec.model_files import load_model
    from stcodec.options import EncodeOptions

    options = EncodeOptions()
    seen = survey(source, options, load_model(options.model))
    assert not seen.whole and seen.frames == 300 and sum(n for n, _ in seen.rates.chunks) == 300
    assert sum(len(c.pictures) for run in seen.runs for c in run) <= 200
    with VideoReader(source) as video:
        assert seen.rates.chunks == [
            (len(c.pictures), c.first) for c in chunks(video) if hasattr(c, "pictures")
        ]
    done = run("encode", source, target, "--target-size", "12kB")
    assert done.returncode == 0, done.stderr
    assert abs(target.stat().st_size - 12_000) <= 360
    assert run("verify", target).stdout.strip().startswith(f"{target}: intact, 300 frames in ")


def test_control_spends_its_budget_where_the_expectation_was_wrong() -> None:
    rates = Rates([(8, i % 16 == 0) for i in range(100)])
    rates.kinds = {True: {32: 400.0}, False: {32: 100.0}}
    control = Control(rates.table(), 90_000.0)
    random = np.random.default_rng(1)
    for frames, first in rates.chunks:
        quality = control.choose()
        actual = (
            1.15
            * frames
            * (400 if first else 100)
            * 2 ** ((quality - 32) * 0.11)
            * random.uniform(0.8, 1.2)
        )
        control.coded(quality, round(actual))
    assert abs(sum(control.sizes) / 90_000 - 1) < 0.03
    assert max(control.qualities) - min(control.qualities) <= 8
