"""Every kind of media file in: samples and time stamps; each file is made with PyAV."""

from __future__ import annotations

import functools
import io
import itertools
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media import (
    assert_same,
    clip,
    copy,
    demuxed,
    fill,
    frame_of,
    moving_planes,
    read,
    times,
    write_clip,
)

# --- samples in


@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv420p10le", 10)])
@pytest.mark.parametrize("size", [(2, 2), (35, 17), (3, 1)])
def test_420_planes_are_read_exactly(
    tmp_path: Path, pix_fmt: str, bits: int, size: tuple[int, int]
) -> None:
    planes = [moving_planes(*size, i, bits) for i in range(3)]
    codec, name = (
        ("rawvideo", "a.nut") if min(size) == 1 else ("ffv1", "a.mkv")
    )  # FFV1 refuses a height of 1
    path = write_clip(tmp_path / name, [frame_of(p, pix_fmt) for p in planes], codec)
    reader, pictures, _ = read(path)
    assert (reader.info.width, reader.info.height, reader.info.bit_depth) == (*size, bits)
    assert reader.info.notes == ()
    assert len(pictures) == 3
    for picture, expected in zip(pictures, planes, strict=True):
        assert_same(picture.planes, expected)
        assert all(p.flags.c_contiguous for p in picture.planes)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("nv12", 8), ("p010le", 10)])
def test_interleaved_chroma_is_taken_apart_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pix_fmt: str, bits: int
) -> None:
    y, u, v = moving_planes(36, 20, 0, bits)
    shift = 6 if bits == 10 else 0
    path = tmp_path / "a.yuv"
    path.write_bytes((y << shift).tobytes() + (np.stack([u, v], 2) << shift).tobytes())
    layout = {"pixel_format": pix_fmt, "video_size": "36x20"}
    monkeypatch.setattr(
        av, "open", functools.partial(av.open, format="rawvideo", container_options=layout)
    )
    monkeypatch.setattr("stcodec.media.probe.chroma_location", lambda stream: 0)
    _, pictures, _ = read(path)
    assert len(pictures) == 1
    assert_same(pictures[0].planes, (y, u, v))


def test_full_range_jpeg_pictures_are_exact_and_tagged(tmp_path: Path) -> None:
    frames = [frame_of(moving_planes(32, 32, 0), "yuvj420p")]
    path = write_clip(tmp_path / "a.avi", frames, codec="mjpeg", color_range=2)
    reader, pictures, _ = read(path)
    assert reader.info.color_range == 2
    assert reader.info.notes == ()
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "yuvj420p"
    for plane, samples in zip(frame.planes, pictures[0].planes, strict=True):
        expected = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv444p", 8), ("yuv422p", 8), ("yuv444p10le", 10)])
def test_halved_chroma_keeps_levels(tmp_path: Path, pix_fmt: str, bits: int) -> None:
    frame = av.VideoFrame(32, 32, pix_fmt)
    level = 150 << (bits - 8)
    for plane in frame.planes:
        fill(
            plane, np.full((plane.height, plane.width), level, np.uint8 if bits == 8 else np.uint16)
        )
    reader, pictures, _ = read(write_clip(tmp_path / "a.mkv", [frame]))
    assert reader.info.bit_depth == bits
    for samples in pictures[0].planes:
        assert abs(samples.astype(int) - level).max() <= 1 << (bits - 8)


def test_gray_becomes_limited_range(tmp_path: Path) -> None:
    frame = frame_of([np.full((32, 32), 150, np.uint8)], "gray")
    reader, pictures, _ = read(write_clip(tmp_path / "a.png", [frame], codec="png"))
    luma, u, v = pictures[0].planes
    assert reader.info.color_range == 1
    assert abs(int(luma.mean()) - round(16 + 150 * 219 / 255)) <= 1
    assert set(np.unique([u, v])) == {128}


def test_a_full_range_jpeg_keeps_its_range_when_its_chroma_is_halved(tmp_path: Path) -> None:
    frame = frame_of([np.full((32, 32), level, np.uint8) for level in (250, 100, 160)], "yuvj444p")
    path = write_clip(tmp_path / "a.avi", [frame], codec="mjpeg", options={"q": "1"}, color_range=2)
    reader, pictures, _ = read(path)
    assert reader.info.color_range == 2
    for plane, level in zip(pictures[0].planes, (250, 100, 160), strict=True):
        assert abs(plane.astype(int) - level).max() <= 3


@pytest.mark.parametrize(
    ("height", "matrix", "red"), [(720, 1, (63, 102, 240)), (480, 6, (81, 90, 240))]
)
def test_rgb_becomes_limited_range_yuv_of_the_usual_matrix(
    tmp_path: Path, height: int, matrix: int, red: tuple[int, int, int]
) -> None:
    frame = av.VideoFrame(16, height, "rgb24")
    fill(frame.planes[0], np.tile(np.array([255, 0, 0], np.uint8), (height, 16)))
    reader, pictures, _ = read(write_clip(tmp_path / "a.png", [frame], codec="png"))
    assert (reader.info.color_matrix, reader.info.color_range) == (matrix, 1)
    for plane, level in zip(pictures[0].planes, red, strict=True):
        assert abs(plane.astype(int) - level).max() <= 1


def test_a_gif_loses_its_transparency_with_a_note(tmp_path: Path) -> None:
    frames = [frame_of([np.full((10, 20), value, np.uint8)], "rgb8") for value in (0b11100000, 3)]
    reader, pictures, _ = read(write_clip(tmp_path / "a.gif", frames, codec="gif"))
    assert len(pictures) == 2
    assert any("transparency" in n for n in reader.info.notes)


def test_interlaced_input_is_noted(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mp4", clip(4, 64, 64), "libx264", options={"x264-params": "tff=1"}
    )
    assert any("interlaced" in n for n in read(path)[0].info.notes)


class _Pipe(io.RawIOBase):
    """Bytes that can be read once, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._data.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.y4m", "rawvideo"), ("a.h264", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264")],
)
def test_files_and_pipes(tmp_path: Path, name: str, codec: str) -> None:
    path = write_clip(tmp_path / name, clip(4), codec=codec)
    assert len(read(path)[1]) == 4
    assert len(read(io.BufferedReader(_Pipe(path.read_bytes())))[1]) == 4


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(write_clip(tmp_path / "a.mkv", clip(1)), tmp_path / "concat:b.mkv")
    monkeypatch.chdir(tmp_path)
    assert len(read("concat:b.mkv")[1]) == 1
    copy(Path("concat:b.mkv"), Path("pipe:c.mkv"))
    assert len(times(tmp_path / "pipe:c.mkv")) == 1


# --- time stamps


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_variable_frame_rate_survives_exactly(tmp_path: Path, start: int, ending: str) -> None:
    stamps = [20 * (start + p) for p in (0, 1, 2, 5, 6, 13, 14, 15, 16, 30)]
    base = Fraction(1, 600)
    scale = {"video_track_timescale": "600"}
    source = write_clip(
        tmp_path / "a.mp4", clip(10), "libx264", stamps, base, container_options=scale
    )
    expected = [p * base for p in stamps]
    assert times(source) == expected
    reader, pictures, _ = read(source)
    assert [p.pts * reader.info.time_base for p in pictures] == expected
    assert [p.duration for p in pictures[:-1]] == [
        b.pts - a.pts for a, b in itertools.pairwise(pictures)
    ]
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    assert times(target) == expected
    with av.open(str(target)) as container:
        assert max(int(f.pict_type) for f in container.decode(video=0)) == 3  # B-frames are in use


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_no_picture_before_zero_is_lost_and_sound_moves_along(tmp_path: Path, ending: str) -> None:
    stamps = [i - 3 for i in range(10)]
    kept = {"avoid_negative_ts": "disabled"}
    source = write_clip(
        tmp_path / "a.mkv", clip(10), "ffv1", stamps, audio="flac", container_options=kept
    )
    before = times(source)
    assert before[0] == Fraction(-3, 25)
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    assert times(target) == [t + Fraction(3, 25) for t in before]
    moved = demuxed(target)[0]
    assert abs(moved.pts * moved.time_base - Fraction(3, 25)) <= Fraction(1, 1000)


def test_rate_with_denominator_survives(tmp_path: Path) -> None:
    base = Fraction(1001, 30000)
    source = write_clip(tmp_path / "a.mp4", clip(8), "libx264", time_base=base, rate=30)
    copy(source, tmp_path / "b.mp4")
    assert times(tmp_path / "b.mp4") == [i * base for i in range(8)]


def test_matroska_output_keeps_times_to_its_millisecond(tmp_path: Path) -> None:
    stamps = [3 * i * i for i in range(9)]
    source = write_clip(tmp_path / "a.mp4", clip(9), "libx264", stamps, Fraction(1, 600))
    copy(source, tmp_path / "b.mkv")
    for a, b in zip(times(source), times(tmp_path / "b.mkv"), strict=True):
        assert abs(a - b) <= Fraction(1, 2000)


def test_raw_h264_gets_time_stamps_from_its_rate(tmp_path: Path) -> None:
    reader, pictures, _ = read(write_clip(tmp_path / "a.h264", clip(12), "libx264"))
    seconds = [float(p.pts * reader.info.time_base) for p in pictures]
    assert np.allclose(np.diff(seconds), 1 / 25, atol=1e-4)


def test_repeated_time_stamps_are_repaired_with_a_note(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "b.mkv"), "w") as out:
        video: Any = out.add_stream("ffv1", rate=25)
        video.width, video.height = 64, 48
        stamps = iter([0, 40, 40, 40, 160, 200])
        for frame in [*clip(6), None]:
            for packet in video.encode(frame):
                packet.time_base = Fraction(1, 1000)
                packet.pts = packet.dts = next(stamps)
                out.mux(packet)
    reader, pictures, _ = read(tmp_path / "b.mkv")
    found = [p.pts for p in pictures]
    assert len(found) == 6
    assert all(a < b for a, b in itertools.pairwise(found))
    assert found[:2] == [0, 40]
    assert any("repaired" in n for n in reader.notes)


def test_open_gop_stream_is_read_in_order(tmp_path: Path) -> None:
    options = {"x264-params": "open-gop=1:keyint=10:bframes=3:b-pyramid=normal"}
    reader, pictures, _ = read(write_clip(tmp_path / "a.mp4", clip(30), "libx264", options=options))
    assert [p.pts * reader.info.time_base for p in pictures] == [Fraction(i, 25) for i in range(30)]
