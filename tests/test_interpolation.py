"""Pictures between those of a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import stcodec
from tests.conftest import moving_picture, read_times, run
from tests.media import frame_of, write_clip

SIZE, FRAMES = (128, 96), 21
INSIDE = (slice(16, -16), slice(16, -16))
"""What comes in at the edge has no motion."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth picture of a pan, with a cut to its negative after the eleventh."""
    folder = tmp_path_factory.mktemp("film")
    frames = [scene(4 * i) if i < 11 else negative(4 * i) for i in range(FRAMES)]
    write_clip(folder / "a.mkv", [frame_of(f) for f in frames], audio="flac")
    stcodec.encode(folder / "a.mkv", folder / "a.stp", quality=45, model="dct", threads=1)
    return folder / "a.stp"


def scene(i: float) -> list[np.ndarray]:
    return moving_picture(i, *SIZE)  # type: ignore[arg-type]


def negative(i: float) -> list[np.ndarray]:
    return [(p // 3).astype(np.uint8) for p in scene(i)]


def luma(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [f.to_ndarray()[: SIZE[1]].astype(float)[INSIDE] for f in file.decode(video=0)]


@pytest.mark.parametrize("times", [2, 4])
def test_between_pictures_things_move(film: Path, tmp_path: Path, times: int) -> None:
    plain, more = tmp_path / "a.y4m", tmp_path / "b.mkv"
    assert run("decode", film, plain).returncode == 0
    done = run("decode", film, more, "--interpolate", times, "--codec", "ffv1")
    assert done.returncode == 0, done.stderr
    stamps = read_times(more)
    # From the last picture and from that before the cut there is nowhere to go; those stay longer.
    spots = [Fraction(k, 25 * times) for k in range(times * (FRAMES - 1) + 1)]
    spots = [s for s in spots if not Fraction(10, 25) < s < Fraction(11, 25)]
    assert [round(float(t), 3) for t in stamps] == [round(float(s), 3) for s in spots]
    kept, made = luma(plain), luma(more)
    for place, picture in zip(spots, made, strict=True):
        at = place * 25
        if at.denominator == 1:
            assert np.array_equal(picture, kept[int(at)])
            continue
        wanted = (scene if at < 11 else negative)(float(4 * at))[0][INSIDE]
        before, after = kept[int(at)], kept[int(at) + 1]
        own = np.square(picture - wanted).mean()
        assert own < np.square((before + after) / 2 - wanted).mean() / 2
        assert own < np.square(before - wanted).mean() / 4


def test_duration_and_sound_stay(film: Path, tmp_path: Path) -> None:
    stcodec.decode(film, tmp_path / "a.mp4", audio="aac")
    stcodec.decode(film, tmp_path / "b.mp4", audio="aac", interpolate="2", crop="64:48:32:10")
    with av.open(str(tmp_path / "a.mp4")) as plain, av.open(str(tmp_path / "b.mp4")) as more:
        assert more.streams.video[0].width == 64
        assert float(more.duration or 0) == pytest.approx(float(plain.duration or 0), abs=5e4)
        assert len(more.streams.audio) == 1


def test_a_part_in_time(film: Path, tmp_path: Path) -> None:
    done = run("decode", film, tmp_path / "a.mkv", "--interpolate", 2, "--start", 0.2, "--end", 0.4)
    assert done.returncode == 0, done.stderr
    assert len(read_times(tmp_path / "a.mkv")) == 9


def test_what_does_not_go(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.y4m"
    for bad in (["--rate", "1/2"], ["--salvage"]):
        done = run("decode", film, target, "--interpolate", "2", *bad)
        assert done.returncode == 2 and "whole" in done.stderr and not target.exists()
    assert run("decode", film, target, "--interpolate", "3").returncode == 2
    with pytest.raises(stcodec.UsageError, match="interpolate"):
        stcodec.decode(film, target, interpolate="3")
