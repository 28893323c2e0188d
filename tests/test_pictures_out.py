"""Numbered pictures out of a `.stp` file, read back by PyAV alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import stcodec
from tests.conftest import interrupt, make_video, run
from tests.media import clip, moving_planes, write_clip

FAST = ("--model", "dct", "--effort", "0", "-q", "50")
# Red, green, blue, grey: Y, Cb, Cr of limited range for BT.601 and BT.709, as the two
# recommendations' tables of colour bars give them.
BARS = {6: [(81, 90, 240), (145, 54, 34), (41, 240, 110), (126, 128, 128)]}
BARS[1] = [(63, 102, 240), (173, 42, 26), (32, 240, 118), (126, 128, 128)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]


def pixels(path: Path, format: str = "rgb24") -> np.ndarray:
    with av.open(str(path)) as container:
        frame: Any = next(container.decode(video=0))
        return np.asarray(frame.to_ndarray(format=format))


def bars(path: Path, matrix: int, bits: int = 8, **more: Any) -> Path:
    """Three pictures of four flat squares of 16x16 in the colours of BARS."""

    def frame() -> Any:
        made = av.VideoFrame(64, 16, "yuv420p" if bits == 8 else "yuv420p10le")
        for plane, size, n in zip(made.planes, (16, 8, 8), range(3), strict=True):
            kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
            rows = np.zeros((size, plane.line_size // kind.itemsize), kind)
            for i, colour in enumerate(BARS[matrix]):
                rows[:, i * size : (i + 1) * size] = colour[n] << (bits - 8)
            plane.update(rows.tobytes())
        return made

    return write_clip(
        path, [frame() for _ in range(3)], colorspace=5 if matrix == 6 else 1, color_range=1, **more
    )


def coded(source: Path) -> Path:
    target = source.with_suffix(".stp")
    done = run("encode", source, target, *FAST)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize(
    ("matrix", "ending"), [(6, "png"), (1, "png"), (1, "jpg"), (1, "bmp"), (6, "tif")]
)
def test_colours_are_those_of_the_matrix(tmp_path: Path, matrix: int, ending: str) -> None:
    source = coded(bars(tmp_path / "in.mkv", matrix))
    frames = tmp_path / "frames"
    frames.mkdir()
    done = run("decode", source, frames / f"%03d.{ending}")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in frames.iterdir()) == [f"00{n}.{ending}" for n in (1, 2, 3)]
    seen = pixels(frames / f"003.{ending}")
    assert seen.shape == (16, 64, 3)
    for i, colour in enumerate(COLOURS):
        assert np.abs(seen[8, 16 * i + 8].astype(int) - colour).max() <= 6


def test_ten_bits_become_sixteen_and_jpeg_says_that_it_has_fewer(tmp_path: Path) -> None:
    source = coded(bars(tmp_path / "in.mkv", 1, 10))
    for ending, depth in (("png", 16), ("tif", 16), ("jpg", 8)):
        done = run("decode", source, tmp_path / f"%d.{ending}")
        assert done.returncode == 0, done.stderr
        with av.open(str(tmp_path / f"1.{ending}")) as container:
            frame = next(container.decode(video=0))
            assert max(c.bits for c in frame.format.components) == depth
        assert ("holds 8 bits" in done.stderr) == (depth == 8)
    grey = pixels(tmp_path / "1.png", "rgb48le")[8, 56].astype(int)
    assert np.abs(grey - 65535 * (504 - 64) / 876).max() < 65535 / 255


def test_pictures_of_a_part_and_what_is_left_out(bee_stp: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    done = run("decode", bee_stp, whole / "%d.png")
    assert done.returncode == 0
    notes = [line for line in done.stderr.splitlines() if "left out" in line]
    assert len(notes) == 1
    assert "audio (aac)" in notes[0]
    assert run("decode", bee_stp, part / "%d.png", "--start", "0.3", "--end", "0.5").returncode == 0
    pts = [Fraction(n * 1001, 30000) for n in range(20)]
    inside = [n for n, t in enumerate(pts, 1) if Fraction(3, 10) <= t < Fraction(1, 2)]
    assert len(list(part.iterdir())) == len(inside)
    for n, original in enumerate(inside, 1):
        assert (part / f"{n}.png").read_bytes() == (whole / f"{original}.png").read_bytes()
    with stcodec.open(bee_stp) as video:
        theirs = video[4:5].tensors(rgb=True)[0].permute(1, 2, 0).numpy().astype(float)
    seen = pixels(whole / "5.png")
    assert np.abs(seen - theirs * 255).max() <= 0.51
    # And they can be encoded again.
    assert (
        run("encode", whole / "%d.png", tmp_path / "again.stp", "--fps", "30", *FAST).returncode
        == 0
    )
    assert (
        run("verify", tmp_path / "again.stp")
        .stdout.strip()
        .endswith("intact, 20 frames in 3 chunks")
    )


def test_existing_pictures_are_refused(tmp_path: Path) -> None:
    source = coded(write_clip(tmp_path / "in.mkv", clip(3)))
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0002.png").write_bytes(b"precious")
    (frames / "0009.png").write_bytes(b"of old")
    (frames / "2.png").write_bytes(b"another name")
    done = run("decode", source, frames / "%04d.png")
    assert done.returncode == 4
    assert "0002.png" in done.stderr
    assert (frames / "0002.png").read_bytes() == b"precious"
    assert len(list(frames.iterdir())) == 3
    done = run("decode", source, frames / "%04d.png", "-y")
    assert done.returncode == 0
    assert "1 picture" in done.stderr
    assert pixels(frames / "0002.png").shape == (48, 64, 3)
    assert (frames / "0009.png").read_bytes() == b"of old"
    assert sorted(p.name for p in frames.iterdir()) == [
        "0001.png",
        "0002.png",
        "0003.png",
        "0009.png",
        "2.png",
    ]


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("one.png", 2, "frames/%04d.png"),
        ("%d-%d.png", 2, "one place"),
        ("no/no/%d.png", 1, "does not exist"),
    ],
)
def test_names_that_will_not_do(
    bee_stp: Path, tmp_path: Path, name: str, code: int, text: str
) -> None:
    done = run("decode", bee_stp, tmp_path / name)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_turned_video_becomes_upright_pictures(tmp_path: Path) -> None:
    source = coded(
        write_clip(tmp_path / "in.mp4", clip(2), "libx264", options={"crf": "5"}, rotation=90)
    )
    assert run("decode", source, tmp_path / "%d.png").returncode == 0
    with av.open(str(tmp_path / "in.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 90  # counterclockwise, as FFmpeg counts
    upright = np.rot90(moving_planes(64, 48, 0)[0].astype(float), 1)
    grey = pixels(tmp_path / "1.png", "gray").astype(float)
    assert grey.shape == upright.shape == (64, 48)
    assert np.corrcoef(grey.ravel(), upright.ravel())[0, 1] > 0.95


def test_an_interrupt_and_damage_leave_no_picture(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mkv", width=320, height=240, frames=48)
    source = coded(tmp_path / "in.mkv")
    whole = source.read_bytes()
    frames = tmp_path / "frames"
    frames.mkdir()
    (tmp_path / "cut.stp").write_bytes(whole[: len(whole) * 2 // 3])
    assert run("decode", tmp_path / "cut.stp", frames / "%d.png").returncode == 3
    assert list(frames.iterdir()) == []
    interrupt(
        "decode", source, frames / "%d.png", when=lambda: list(frames.glob(".*partial/1.png"))
    )
    assert list(frames.iterdir()) == []
