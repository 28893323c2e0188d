"""Pictures out, and errors; each output is read back with PyAV alone."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import stcodec
from stcodec.common.values import Picture, VideoInfo
from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.media.writer import open_writer, output_format
from tests.conftest import psnr
from tests.media import (
    DATA,
    assert_same,
    clip,
    copy,
    frame_of,
    moving_planes,
    read,
    times,
    write_clip,
)


@pytest.mark.parametrize(("bits", "ending"), [(8, "mp4"), (10, "mp4"), (8, "mkv"), (10, "mkv")])
def test_h264_output_keeps_depth_and_quality(tmp_path: Path, bits: int, ending: str) -> None:
    pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
    planes = [moving_planes(96, 64, i, bits) for i in range(10)]
    source = write_clip(tmp_path / "a.mkv", [frame_of(p, pix_fmt) for p in planes])
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].pix_fmt == pix_fmt
    pictures = read(target)[1]
    scale = 1 << (bits - 8)
    worst = min(
        psnr(p.planes[0] / scale, q[0] / scale) for p, q in zip(pictures, planes, strict=True)
    )
    assert worst > 39  # the noise of the pattern is harder than any camera's


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("count", [1, 2])
def test_very_few_pictures_out(tmp_path: Path, count: int, codec: str) -> None:
    frames = [frame_of(moving_planes(64, 64, i)) for i in range(count)]
    source = write_clip(tmp_path / "a.nut", frames, "rawvideo")
    copy(source, tmp_path / "b.mp4", codec=codec)
    assert times(tmp_path / "b.mp4") == times(source)


@pytest.mark.parametrize("size", [(35, 17), (2, 2), (1, 1)])
def test_odd_and_tiny_sizes_out(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = [frame_of(moving_planes(*size, i)) for i in range(3)]
    copy(write_clip(tmp_path / "a.nut", frames, "rawvideo"), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [size] * 3


def plain_info(width: int, height: int, bits: int) -> VideoInfo:
    rate = Fraction(30000, 1001)
    return VideoInfo(
        width, height, bits, 1 / rate, rate, Fraction(4, 3), 0, 1, 2, 2, 2, 0, None, None
    )


@pytest.mark.parametrize(
    ("bits", "size"), [(8, (34, 18)), (8, (35, 17)), (10, (34, 18)), (10, (3, 5))]
)
def test_y4m_holds_the_planes_exactly(bits: int, size: tuple[int, int]) -> None:
    planes = [moving_planes(*size, i, bits) for i in range(3)]
    buffer = io.BytesIO()
    writer = open_writer(buffer, plain_info(*size, bits), format="y4m")
    for i, p in enumerate(planes):
        writer.write(Picture(p, i, 1))
    writer.close()
    header = buffer.getvalue().split(b"\n")[0].split()
    assert header[0] == b"YUV4MPEG2"
    assert {b"W%d" % size[0], b"H%d" % size[1], b"F30000:1001", b"A4:3"} <= set(header)
    buffer.seek(0)
    with av.open(buffer) as container:
        assert len(list(container.decode(video=0))) == 3
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    buffer.seek(0)
    for picture, expected in zip(read(buffer)[1], planes, strict=True):
        assert_same(picture.planes, expected)


@pytest.mark.parametrize(
    ("location", "tag"), [(0, b"C420jpeg"), (1, b"C420mpeg2"), (2, b"C420jpeg"), (3, b"C420paldv")]
)
def test_y4m_names_the_chroma_location(location: int, tag: bytes) -> None:
    buffer = io.BytesIO()
    open_writer(
        buffer, dataclasses.replace(plain_info(2, 2, 8), chroma_location=location), format="y4m"
    ).close()
    assert tag in buffer.getvalue().split()


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        (range(6), None),
        # 25 pictures in a second, in the milliseconds of Matroska.
        ([0, 41, 79, 120, 161, 199], None),
        # A screen that stands still for two seconds.
        ([0, 40, 80, 2080, 2120], "YUV4MPEG2 knows no times: pictures come at "),
    ],
)
def test_y4m_says_that_it_loses_times(
    tmp_path: Path, moments: Sequence[int], said: str | None
) -> None:
    base = Fraction(1, 25) if isinstance(moments, range) else Fraction(1, 1000)
    source = write_clip(tmp_path / "in.mkv", clip(len(moments)), pts=moments, time_base=base)
    stcodec.encode(source, tmp_path / "in.stp", model="dct", effort=0)
    notes = stcodec.decode(tmp_path / "in.stp", tmp_path / "out.y4m").notes
    assert [note[: len(said or "")] for note in notes] == ([] if said is None else [said])


def test_y4m_says_what_it_cannot_hold(tmp_path: Path) -> None:
    reader, _, _ = read(
        write_clip(tmp_path / "a.mp4", clip(2), "libx264", audio="aac", rotation=90)
    )
    notes = open_writer(io.BytesIO(), reader.info, reader.streams, format="y4m").notes
    assert any("aac" in n for n in notes)
    assert any("270 degrees" in n for n in notes)


@pytest.mark.parametrize("name", ["bee.mp4", "butterfly.mp4"])
def test_real_clip_round_trip(tmp_path: Path, name: str) -> None:
    target = tmp_path / "b.mp4"
    copy(DATA / name, target)
    assert times(target) == times(DATA / name)
    pairs = zip(read(DATA / name)[1], read(target)[1], strict=True)
    assert min(psnr(a.planes[0], b.planes[0]) for a, b in pairs) > 39


def test_errors_name_the_file_and_the_reason(tmp_path: Path) -> None:
    text, empty, sound = tmp_path / "notes.txt", tmp_path / "empty.mp4", tmp_path / "sound.wav"
    text.write_text("no media at all\n" * 50)
    empty.touch()
    with av.open(str(sound), "w") as out:
        stream: Any = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="stereo", samples=800)
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
    for path in (tmp_path / "missing.mp4", text, empty, sound, tmp_path):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) > len(str(path)) + 5


def test_an_output_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StcodecError) as caught:
        open_writer(tmp_path / "no" / "b.mp4", plain_info(32, 32, 8), format="mp4")
    assert str(caught.value).startswith(f"{tmp_path / 'no' / 'b.mp4'}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        output_format("a.xyz")
    with pytest.raises(UsageError):
        open_writer(tmp_path / "b.mp4", plain_info(32, 32, 8), format="mp4", codec="nonsense")
