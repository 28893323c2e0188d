"""Pictures as they were: HDR, range, fields, mirrors, odd time lines, sequences and raw streams.
PyAV makes and reads every file."""

from __future__ import annotations

import itertools
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

import stcodec
from stcodec.errors import InputError, UsageError
from stcodec.options import parse_rate
from tests import forked
from tests.media import (
    assert_same,
    clip,
    copy,
    demuxed,
    frame_of,
    moving_planes,
    read,
    times,
    write_clip,
)

HDR = (
    "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ":cll=1000,400"
)
PQ = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}


def side_data(path: Path) -> dict[str, bytes]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return {d.type.name: bytes(d) for d in frame.side_data}


def hdr_clip(path: Path, tags: dict[str, int], params: str) -> Path:
    frames = [frame_of(moving_planes(64, 48, i, 10), "yuv420p10le") for i in range(3)]
    for frame in frames:
        for name, value in tags.items():
            setattr(frame, name, value)
    return write_clip(path, frames, "libx264", options={"x264-params": params}, **tags)


@pytest.fixture(scope="module")
def hdr10(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An HDR10 clip, and what it is coded to."""
    folder = tmp_path_factory.mktemp("hdr")
    source = hdr_clip(folder / "in.mp4", PQ, HDR)
    assert stcodec.encode(source, folder / "in.stp", model="dct").notes == ()
    return source, folder / "in.stp"


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "libx264"), ("mkv", "libx265"), ("mkv", "libsvtav1")]
)
def test_hdr10_survives(hdr10: tuple[Path, Path], tmp_path: Path, ending: str, codec: str) -> None:
    source, coded = hdr10
    target = tmp_path / f"out.{ending}"
    assert stcodec.decode(coded, target, codec=codec).notes == ()
    before, after = side_data(source), side_data(target)
    assert (
        after["CONTENT_LIGHT_LEVEL"]
        == before["CONTENT_LIGHT_LEVEL"]
        == struct.pack("=2I", 1000, 400)
    )
    values = []
    for data in (before, after):
        numbers = struct.unpack("=22i", data["MASTERING_DISPLAY_METADATA"])
        values.append([n / d for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)])
    np.testing.assert_allclose(values[1], values[0], atol=1e-4)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p10le"
        assert {name: int(getattr(frame, name)) for name in PQ} == PQ
    with stcodec.open(coded) as video:
        assert video.info.content_light == (1000, 400)
        assert video.info.mastering_display is not None


def test_an_encoder_without_hdr_says_so(hdr10: tuple[Path, Path], tmp_path: Path) -> None:
    notes = stcodec.decode(hdr10[1], tmp_path / "out.mkv", codec="ffv1").notes
    assert len([n for n in notes if "HDR" in n]) == 1


@pytest.mark.parametrize("color_range", [1, 2])
def test_hlg_and_both_ranges_survive(tmp_path: Path, color_range: int) -> None:
    tags = {"color_range": color_range, "color_primaries": 9, "color_trc": 18, "colorspace": 9}
    source = hdr_clip(tmp_path / "in.mkv", tags, "threads=1")
    stcodec.encode(source, tmp_path / "in.stp", model="dct")
    for ending in ("mp4", "mkv"):
        stcodec.decode(tmp_path / "in.stp", tmp_path / f"out.{ending}")
        with av.open(str(tmp_path / f"out.{ending}")) as container:
            frame = next(container.decode(video=0))
            assert {name: int(getattr(frame, name)) for name in tags} == tags


@pytest.mark.parametrize(("params", "order", "letter"), [("tff=1", 2, b"It"), ("bff=1", 3, b"Ib")])
def test_interlaced_input_is_said_and_stays_interlaced(
    tmp_path: Path, params: str, order: int, letter: bytes
) -> None:
    plain, source = write_clip(tmp_path / "plain.mkv", clip(4, 64, 64)), tmp_path / "in.mp4"
    # FFmpeg's encoder goes by what each frame says.
    marked = ["-vf", f"setfield={params[:3]}", "-c:v", "libx264", "-x264-params", params]
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg, "-v", "error", "-i", str(plain), *marked, str(source)], check=True)
    notes = stcodec.encode(source, tmp_path / "in.stp", model="dct").notes
    assert len([n for n in notes if "interlaced" in n]) == 1
    for ending in ("mp4", "mkv"):
        stcodec.decode(tmp_path / "in.stp", tmp_path / f"out.{ending}")
        with av.open(str(tmp_path / f"out.{ending}")) as container:
            frames = list(container.decode(video=0))
            assert all(f.interlaced_frame for f in frames)
            assert container.streams.video[0].codec_context.field_order == order
    stcodec.decode(tmp_path / "in.stp", tmp_path / "out.y4m")
    assert letter in (tmp_path / "out.y4m").read_bytes().split(b"\n")[0].split()
    assert read(tmp_path / "out.y4m")[0].info.field_order == ("tt" if order == 2 else "bb")


def test_a_mirror_image_goes_through_a_file(tmp_path: Path) -> None:
    frame = clip(1)[0]
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height = frame.width, frame.height
        video.set_display_rotation(90, hflip=True)
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    stcodec.encode(tmp_path / "in.mp4", tmp_path / "in.stp", model="dct")
    stcodec.decode(tmp_path / "in.stp", tmp_path / "out.mp4")
    assert (
        side_data(tmp_path / "out.mp4")["DISPLAYMATRIX"]
        == side_data(tmp_path / "in.mp4")["DISPLAYMATRIX"]
    )


# --- time lines


def seconds(path: Path, kind: str) -> Fraction:
    return min(p.pts * p.time_base for p in demuxed(path, kind) if p.pts is not None)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("first", [-3, 10])
def test_pictures_that_start_early_or_late_stay_in_sync(
    tmp_path: Path, first: int, ending: str
) -> None:
    pts = [first, first + 1, first + 3, first + 4, first + 9, first + 10]
    frames, options = clip(6), {"avoid_negative_ts": "disabled"}
    source = write_clip(
        tmp_path / "in.mkv", frames, "ffv1", pts, audio="flac", container_options=options
    )
    stcodec.encode(source, tmp_path / "in.stp", model="dct")
    target = tmp_path / f"out.{ending}"
    notes = stcodec.decode(tmp_path / "in.stp", target).notes
    shift = max(0, -times(source)[0])
    assert any(f"later by {float(shift):.3f} s" in n for n in notes) == (first < 0), notes
    assert times(target) == [t + shift for t in times(source)]
    difference = seconds(target, "audio") - seconds(source, "audio") - shift
    assert abs(difference) <= Fraction(1, 500)


def test_an_edit_list_that_hides_the_first_pictures(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    write_clip(
        source, clip(20), "libx264", options={"x264-params": "keyint=5:bframes=2"}, audio="aac"
    )
    data = bytearray(source.read_bytes())
    at = data.index(b"elst")
    assert struct.unpack_from(">II", data, at + 4) == (0, 1)
    start = struct.unpack_from(">i", data, at + 16)[0]
    with av.open(str(source)) as container:
        base = container.streams.video[0].time_base
    struct.pack_into(">i", data, at + 16, start + round(Fraction(7, 25) / base))
    source.write_bytes(data)
    wanted = times(source)
    assert len(wanted) == 13
    stcodec.encode(source, tmp_path / "in.stp", model="dct")
    stcodec.decode(tmp_path / "in.stp", tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == wanted
    assert abs(seconds(tmp_path / "out.mp4", "audio") - seconds(source, "audio")) <= Fraction(
        1, 500
    )


@pytest.mark.parametrize("name", ["in.mp4", "in.ts"])
def test_b_frames_and_open_gops(tmp_path: Path, name: str) -> None:
    params = "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-adapt=0:scenecut=0"
    source = write_clip(tmp_path / name, clip(24), "libx264", options={"x264-params": params})
    assert any(p.pts != p.dts for p in demuxed(source, "video"))
    copy(source, tmp_path / "out.mp4")
    start = times(source)[0]
    assert [t - start for t in times(source)] == [Fraction(i, 25) for i in range(24)]
    assert times(tmp_path / "out.mp4") == times(source)


def test_a_cut_at_an_open_gop_gives_what_decodes(tmp_path: Path) -> None:
    params = "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-adapt=0:scenecut=0"
    source = write_clip(tmp_path / "in.ts", clip(24), "libx264", options={"x264-params": params})
    data = source.read_bytes()
    part = tmp_path / "part.ts"
    part.write_bytes(data[: 188 * 2] + data[len(data) // 188 // 3 * 188 :])
    _, pictures, _ = read(part)
    with av.open(str(part)) as container:
        shown = []
        for packet in container.demux(video=0):
            try:
                shown += packet.decode()
            except av.error.InvalidDataError:
                continue
    assert len(pictures) == len(shown)
    assert [p.pts for p in pictures] == [f.pts for f in shown]


# --- sequences, GIF, raw streams


def write_pictures(folder: Path, numbers: list[int], ending: str = "png") -> None:
    folder.mkdir()
    codec, pix_fmt = {
        "png": ("png", "rgb24"),
        "jpg": ("mjpeg", "yuvj420p"),
        "rgba.png": ("png", "rgba"),
    }[ending]
    for number in numbers:
        frame = frame_of(moving_planes(32, 24, number)).reformat(format=pix_fmt)
        with av.open(
            str(folder / f"{number:04d}.{ending}"), "w", format="image2", options={"update": "1"}
        ) as out:
            stream: Any = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 32, 24, pix_fmt
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))


def test_a_sequence_of_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "frames", [7, 8, 9, 10, 12, 13])
    pattern = tmp_path / "frames" / "%04d.png"
    result = stcodec.encode(pattern, tmp_path / "a.stp", model="dct", framerate=parse_rate("29.97"))
    assert result.frames == 4
    assert result.input_bytes == sum(
        (tmp_path / "frames" / f"{n:04d}.png").stat().st_size for n in (7, 8, 9, 10)
    )
    assert [n for n in result.notes if "0011.png is missing" in n and "2 pictures" in n]
    stcodec.decode(tmp_path / "a.stp", tmp_path / "a.mp4")
    assert times(tmp_path / "a.mp4") == [Fraction(1001 * i, 30000) for i in range(4)]
    with (
        av.open(str(tmp_path / "frames" / "0007.png")) as one,
        av.open(str(tmp_path / "a.mp4")) as two,
    ):
        a, b = (next(c.decode(video=0)).to_ndarray(format="gray").astype(int) for c in (one, two))
    assert np.abs(a - b).mean() < 8


def test_sequences_that_are_not_there(tmp_path: Path) -> None:
    write_pictures(tmp_path / "frames", [1, 2], "jpg")
    done = stcodec.encode(tmp_path / "frames" / "%04d.jpg", tmp_path / "a.stp", model="dct")
    assert [n for n in done.notes if "25 frames/s" in n]
    for wrong in ("%04d.png", "%03d.jpg", "x%04d.jpg"):
        with pytest.raises(InputError, match="no such pictures"):
            stcodec.encode(tmp_path / "frames" / wrong, tmp_path / "b.stp", model="dct")
    (tmp_path / "100%04d.mkv").write_bytes(write_clip(tmp_path / "c.mkv", clip(2)).read_bytes())
    assert stcodec.encode(tmp_path / "100%04d.mkv", tmp_path / "b.stp", model="dct").frames == 2
    with pytest.raises(UsageError, match="frame rate"):
        stcodec.encode(tmp_path / "c.mkv", tmp_path / "d.stp", framerate=Fraction(30))


def test_alpha_is_said(tmp_path: Path) -> None:
    write_pictures(tmp_path / "frames", [0, 1], "rgba.png")
    reader = read(tmp_path / "frames" / "%04d.rgba.png")[0]
    assert any("transparency is lost" in n for n in reader.notes)


def test_raw_streams_take_a_rate(tmp_path: Path) -> None:
    source = write_clip(
        tmp_path / "in.h264", clip(6), "libx264", options={"x264-params": "bframes=0"}
    )
    stcodec.encode(source, tmp_path / "a.stp", model="dct", framerate=Fraction(50))
    stcodec.decode(tmp_path / "a.stp", tmp_path / "a.mp4")
    found = times(tmp_path / "a.mp4")
    assert [b - a for a, b in itertools.pairwise(found)] == [Fraction(1, 50)] * 5


def test_a_gif_keeps_its_times(tmp_path: Path) -> None:
    frames = [
        frame_of([np.full((10, 20), value, np.uint8)], "rgb8") for value in (0b11100000, 3, 28)
    ]
    source = write_clip(tmp_path / "a.gif", frames, "gif", [0, 7, 50], Fraction(1, 100))
    copy(source, tmp_path / "b.mp4")
    assert (
        times(tmp_path / "b.mp4")
        == times(source)
        == [Fraction(0), Fraction(7, 100), Fraction(1, 2)]
    )


@pytest.mark.parametrize("bits", [8, 10])
def test_y4m_through_a_pipe(tmp_path: Path, bits: int) -> None:
    space, planes = (
        {8: "420jpeg", 10: "420p10"}[bits],
        [moving_planes(32, 24, i, bits) for i in range(3)],
    )
    data = f"YUV4MPEG2 W32 H24 F30000:1001 It A4:3 C{space} XCOLORRANGE=FULL\n".encode()
    data += b"".join(b"FRAME\n" + b"".join(p.tobytes() for p in picture) for picture in planes)
    command = ["encode", "-", tmp_path / "a.stp", "--model", "dct", "-q", 63]
    done = forked.finish(command, data)
    assert done.returncode == 0, done.stderr
    (tmp_path / "in.y4m").write_bytes(data)
    pictures = read(tmp_path / "in.y4m")[1]
    for picture, expected in zip(pictures, planes, strict=True):
        assert_same(picture.planes, expected)
    with stcodec.open(tmp_path / "a.stp") as video:
        info = video.info
        shown = list(video)
    assert (info.field_order, info.color_range, info.sample_aspect_ratio) == (
        "tt",
        2,
        Fraction(4, 3),
    )
    assert (info.bit_depth, info.frame_rate) == (bits, Fraction(30000, 1001))
    scale = 1 << (bits - 8)
    errors = [
        np.abs(s.planes[0].astype(int) - p[0].astype(int)).mean() / scale
        for s, p in zip(shown, planes, strict=True)
    ]
    assert max(errors) < 2
