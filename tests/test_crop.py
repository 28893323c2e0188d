"""Decoding a part of the pictures."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import stcodec
from stcodec.codec.patches import PatchSize
from stcodec.codec.regions import Canvas, Region
from stcodec.common.values import Picture
from tests.conftest import run
from tests.media import clip, frame_of, write_clip


def part_of(picture: Picture, width: int, height: int, x: int, y: int) -> list[np.ndarray]:
    """A part of planes; x and y are even."""
    luma, *chroma = picture.planes
    right, bottom = x // 2 + (width + 1) // 2, y // 2 + (height + 1) // 2
    return [
        luma[y : y + height, x : x + width],
        *(p[y // 2 : bottom, x // 2 : right] for p in chroma),
    ]


PARTS = ["48:32:40:20", "33:21:0:0", "15:9:144:80", "160:16:0:48", "160:90:0:0"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_that_of_the_whole(bee_stp: Path, part: str) -> None:
    """By a model with networks, whose reach counts."""
    place = tuple(map(int, part.split(":")))
    with stcodec.open(bee_stp, device="cpu") as whole:
        expected = [part_of(p, *place) for p in whole]
    with stcodec.open(bee_stp, device="cpu", crop=part) as some:
        assert (some.info.width, some.info.height) == place[:2]
        found = [p.planes for p in some]
        assert some[5:9].tensors(rgb=True).shape == (4, 3, place[1], place[0])
    assert len(found) == len(expected) == 20
    for these, those in zip(found, expected, strict=True):
        for a, b in zip(these, those, strict=True):
            np.testing.assert_array_equal(a, b)


def test_fast_motion(tmp_path: Path) -> None:
    """A part is predicted from what lies far from it, up and down and to both sides."""
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 256, (20, 30)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    planes = [np.roll(texture, (3 * i, 11 * i), (0, 1))[:96, :176] for i in range(18)]
    grey = np.full((48, 88), 128, np.uint8)
    write_clip(tmp_path / "a.mkv", [frame_of((y, grey, grey)) for y in planes])
    stcodec.encode(tmp_path / "a.mkv", tmp_path / "a.stp", quality=20, model="dct")
    with stcodec.open(tmp_path / "a.stp", device="cpu") as whole:
        expected = [part_of(p, 32, 16, 80, 40) for p in whole]
    with stcodec.open(tmp_path / "a.stp", device="cpu", crop="32:16:80:40") as some:
        for picture, those in zip(some, expected, strict=True):
            for a, b in zip(picture.planes, those, strict=True):
                np.testing.assert_array_equal(a, b)


def test_little_beyond_is_made(bee_stp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stcodec.codec.reconstruction import Reconstruction

    parts: list[Region | None] = []
    predict = Reconstruction.predict

    def noted(self, step, quality, fields, pictures, part=None):  # type: ignore[no-untyped-def]
        if step.level:
            parts.append(part)
        return predict(self, step, quality, fields, pictures, part)

    monkeypatch.setattr(Reconstruction, "predict", noted)
    with stcodec.open(bee_stp, device="cpu", crop="16:16:0:0") as video:
        assert len(list(video)) == 20
    assert parts and sum(p is None for p in parts) < len(parts) / 4
    assert sorted(p.right * p.bottom for p in parts if p)[len(parts) // 4] <= 48 * 48


def test_the_command(bee_stp: Path, tmp_path: Path) -> None:
    done = run("decode", bee_stp, tmp_path / "a.y4m", "--crop", "50x30:21:11", "--rate", "1/4")
    assert done.returncode == 0, done.stderr
    assert "begins a little earlier" in done.stderr
    with stcodec.open(bee_stp, device="cpu") as whole, av.open(str(tmp_path / "a.y4m")) as file:
        frames = list(file.decode(video=0))
        assert len(frames) == 5 and (frames[0].width, frames[0].height) == (50, 30)
        luma = frames[1].to_ndarray()[:30]
        np.testing.assert_array_equal(luma, part_of(whole[7], 50, 30, 20, 10)[0])
    for bad, said in (("200:20:0:0", "does not lie in a picture"), ("a", "no part of a picture")):
        done = run("decode", bee_stp, tmp_path / "b.y4m", "--crop", bad)
        assert done.returncode == 2 and said in done.stderr and not (tmp_path / "b.y4m").exists()
    done = run("decode", bee_stp, tmp_path / "b.y4m", "--crop", "8:8", "--salvage")
    assert done.returncode == 2 and "salvage" in done.stderr


def test_of_a_picture_that_is_turned(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mov", clip(9, 96, 64), codec="mpeg4", rotation=90)
    stcodec.encode(tmp_path / "a.mov", tmp_path / "a.stp", model="dct")
    # 24 across, 16 down as it is shown, at 8, 20.
    with (
        stcodec.open(tmp_path / "a.stp") as whole,
        stcodec.open(tmp_path / "a.stp", crop="24:16:8:20") as some,
    ):
        turns = -whole.info.rotation // 90
        assert turns and some.info.rotation == whole.info.rotation
        shown = np.rot90(whole[8].planes[0], turns)
        found = np.rot90(some[8].planes[0], turns)
        np.testing.assert_array_equal(found, shown[20:36, 8:32])


def test_regions_stay_in_the_picture() -> None:
    canvas = Canvas.of(100, 60, PatchSize())
    assert canvas.whole == (0, 0, 64, 112)
    assert canvas.grown(Region(20, 20, 30, 30), 8, 8) == (0, 0, 48, 48)
    assert canvas.grown(Region(-90, -80, -70, -60)) == (0, 0, 16, 16)
    assert canvas.grown(Region(200, 300, 220, 310)) == (48, 96, 64, 112)
