"""Decoding some pictures alone, by leaving levels of the tree out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import stcodec
from stcodec.codec import decoder
from stcodec.codec.tree import QUICK_SHAPES, SHAPES
from stcodec.common.values import Packet
from stcodec.container import stp
from tests.conftest import read_times, run
from tests.media import clip, frame_of, write_clip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 pictures: two whole chunks, and one of five."""
    folder = tmp_path_factory.mktemp("film")
    write_clip(folder / "a.mkv", clip(21), audio="flac")
    stcodec.encode(folder / "a.mkv", folder / "a.stp", quality=30, threads=1)
    return folder / "a.stp"


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


# What is shown where of 21 pictures, the last of each group; the last chunk shows 0 to 4 of its 8.
SHOWN = {
    "1/2": [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20],
    "1/4": [3, 7, 11, 15, 19, 20],
    "1/8": [7, 15, 20],
}


@pytest.mark.parametrize("rate", SHOWN)
def test_some_pictures_are_those_of_all(film: Path, tmp_path: Path, rate: str) -> None:
    whole, some = tmp_path / "whole.y4m", tmp_path / "some.y4m"
    assert run("decode", film, whole).returncode == 0
    done = run("decode", film, some, "--rate", rate)
    assert done.returncode == 0, done.stderr
    expected, found = pictures(whole), pictures(some)
    assert len(found) == len(SHOWN[rate])
    for number, picture in zip(SHOWN[rate], found, strict=True):
        if number < 20:
            np.testing.assert_array_equal(picture, expected[number])
        else:  # a copy of the last picture, which is coded in its stead
            assert np.abs(picture.astype(float) - expected[number]).mean() < 3
    with av.open(str(some)) as container:
        assert container.streams.video[0].average_rate == Fraction(25) * Fraction(rate)


def test_long_trees_among_short_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of one kind lie on other levels in a tree of 16, and teach one coder of motion."""
    long = iter([True, False, True])
    monkeypatch.setattr("stcodec.encoder.search.is_steady", lambda *_: next(long))
    write_clip(tmp_path / "a.mkv", clip(56))
    stcodec.encode(tmp_path / "a.mkv", tmp_path / "a.stp", quality=30, threads=1)
    with open(tmp_path / "a.stp", "rb") as stream:
        chunks = [item for item in stp.Reader(stream) if not isinstance(item, Packet)]
    assert [len(chunk.pts) for chunk in chunks] == [8, 16, 8, 8, 16]
    with stcodec.open(tmp_path / "a.stp") as video:
        expected = [picture.planes for picture in video]
    for nth in (2, 4, 8):
        target = tmp_path / f"{nth}.y4m"
        stcodec.decode(tmp_path / "a.stp", target, rate=f"1/{nth}", threads=1)
        found = pictures(target)
        assert len(found) == 56 // nth
        for picture, planes in zip(found, expected[nth - 1 :: nth], strict=True):
            np.testing.assert_array_equal(picture[: len(planes[0])], planes[0])


def test_only_what_is_shown_is_made(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = decoder.PictureMaker._picture
    monkeypatch.setattr(
        decoder.PictureMaker,
        "_picture",
        lambda self, frame, *more: (made.append(frame.step.frames[0]), make(self, frame, *more))[1],
    )
    stcodec.decode(film, film.with_name("few.y4m"), rate="1/8", overwrite=True)
    assert made == [7, 7, 7]


def test_times_and_sound_stay(film: Path, tmp_path: Path) -> None:
    assert run("decode", film, tmp_path / "a.mkv", "--rate", "1/4").returncode == 0
    # The first picture is there from the beginning.
    times = [0, *SHOWN["1/4"][1:]]
    found = read_times(tmp_path / "a.mkv")
    assert all(
        abs(t - Fraction(n, 25)) < Fraction(1, 900) for t, n in zip(found, times, strict=True)
    )
    with av.open(str(tmp_path / "a.mkv")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == 21 * 1920


def test_a_part_at_a_lower_rate(film: Path, tmp_path: Path) -> None:
    whole, some = tmp_path / "whole.y4m", tmp_path / "some.y4m"
    part = ("--start", "0.36", "--end", "0.64")  # pictures 9 to 15
    assert run("decode", film, whole, *part).returncode == 0
    assert run("decode", film, some, *part, "--rate", "1/4").returncode == 0
    expected, found = pictures(whole), pictures(some)
    assert len(found) == 2
    for picture, number in zip(found, (11, 15), strict=True):
        np.testing.assert_array_equal(picture, expected[number - 9])


def test_trees_with_more_key_frames(tmp_path: Path) -> None:
    """Light that changes with every picture is coded with two or four key frames in a chunk."""
    rng = np.random.default_rng(3)
    ground, grey = np.kron(rng.integers(40, 210, (12, 16)), np.ones((4, 4))), np.full((24, 32), 128)
    lights = [ground * (0.9 if t % 2 else 1.0) for t in range(16)]
    planes = [[p.astype(np.uint8) for p in (luma, grey, grey)] for luma in lights]
    source, coded = (
        write_clip(tmp_path / "a.mkv", [frame_of(p) for p in planes]),
        tmp_path / "a.stp",
    )
    stcodec.encode(source, coded, quality=40, threads=1, model="dct")
    with open(coded, "rb") as stream:
        chunks = [item for item in stp.Reader(stream) if not isinstance(item, Packet)]
    trees = [chunk.payload[2] & 7 for chunk in chunks]
    assert any(tree % SHAPES in QUICK_SHAPES for tree in trees)
    stcodec.decode(coded, tmp_path / "w.y4m")
    expected = pictures(tmp_path / "w.y4m")
    for rate, nth in (("1/2", 2), ("1/4", 4), ("1/8", 8)):
        stcodec.decode(coded, tmp_path / "s.y4m", rate=rate, overwrite=True)
        found = pictures(tmp_path / "s.y4m")
        for picture, number in zip(found, range(nth - 1, 16, nth), strict=True):
            np.testing.assert_array_equal(picture, expected[number])


def test_rates_that_there_are_not(film: Path, tmp_path: Path) -> None:
    for more in (("--rate", "1/3"), ("--rate", "1/2", "--salvage")):
        done = run("decode", film, tmp_path / "a.y4m", *more)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert list(tmp_path.iterdir()) == []
