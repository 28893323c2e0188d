"""Another size, part, rate or scan at encode, beside what FFmpeg's command makes of it."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

import stcodec
from stcodec.common.shape import Shape, parse_crop, parse_scale
from stcodec.common.values import PROGRESSIVE, Picture, VideoInfo
from stcodec.errors import UsageError
from stcodec.media.reader import VideoReader
from tests.conftest import run
from tests.media import clip, demuxed, lag, times, waveform, write_clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SCALER = "flags=bicubic+accurate_rnd+full_chroma_inp"
HDR = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}


def by_ffmpeg(path: Path, graph: str, pix_fmt: str = "yuv420p") -> bytes:
    """The samples of all pictures, not turned, through a filter graph."""
    command = [FFMPEG, "-v", "error", "-noautorotate", "-i", path, "-vf", graph]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
    return subprocess.run([*map(str, command)], check=True, capture_output=True).stdout


def shaped(path: Path, **wanted: Any) -> tuple[VideoInfo, list[Picture], bytes, tuple[str, ...]]:
    with VideoReader(path, shape=Shape(**wanted)) as reader:
        pictures = [item for item in reader if isinstance(item, Picture)]
        samples = b"".join(plane.tobytes() for p in pictures for plane in p.planes)
        return reader.info, pictures, samples, reader.notes


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "in.mp4"
    return write_clip(path, clip(12, 96, 54), "libx264", audio="aac")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "in.mpg"
    graph = "interlace=scan=tff,setfield=tff,format=yuv420p"
    command = [FFMPEG, "-f", "lavfi", "-i", "testsrc2=s=96x64:r=50:d=0.4", "-vf", graph]
    command += ["-flags", "+ilme+ildct", "-c:v", "mpeg2video", "-q:v", "3", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize(
    ("wanted", "graph", "size", "aspect"),
    [
        ({"scale": "48:40"}, f"scale=48:40:{SCALER}", (48, 40), Fraction(96 * 40, 54 * 48)),
        ({"scale": "48x-2"}, f"scale=48:-2:{SCALER}", (48, 28), Fraction(28, 27)),
        ({"scale": "108p"}, f"scale=192:108:{SCALER}", (192, 108), Fraction(1)),
        ({"crop": "51:31:7:9"}, "crop=51:31:6:8:exact=1", (51, 31), Fraction(1)),
        (
            {"crop": "48:27", "scale": "96:-1"},
            f"crop=48:27:24:12:exact=1,scale=96:54:{SCALER}",
            (96, 54),
            Fraction(1),
        ),
    ],
)
def test_sizes(
    film: Path, wanted: dict[str, str], graph: str, size: tuple[int, int], aspect: Fraction
) -> None:
    parse = {"scale": parse_scale, "crop": parse_crop}
    info, pictures, samples, _ = shaped(film, **{k: parse[k](v) for k, v in wanted.items()})
    assert (info.width, info.height) == size
    assert info.sample_aspect_ratio == aspect
    assert samples == by_ffmpeg(film, graph)
    assert [p.pts * info.time_base for p in pictures] == times(film)


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(60), Fraction(30000, 1001)])
def test_rates(film: Path, rate: Fraction) -> None:
    info, pictures, samples, _ = shaped(film, fps=rate)
    assert info.frame_rate == rate
    assert info.frames == len(pictures)
    assert samples == by_ffmpeg(film, f"fps={rate}")
    assert [p.pts * info.time_base for p in pictures] == [i / rate for i in range(len(pictures))]
    assert abs(len(pictures) / rate - Fraction(12, 25)) <= 1 / rate


def test_fields_become_pictures(fields: Path) -> None:
    size = 96 * 64 * 3 // 2
    for rate, mode, length in ((None, "send_frame", 10), (Fraction(50), "send_field,fps=50", 20)):
        info, pictures, samples, notes = shaped(fields, deinterlace=True, fps=rate)
        assert (info.field_order, len(pictures), notes) == (PROGRESSIVE, length, ())
        # Versions of FFmpeg differ in the very first and last picture.
        inner = slice(2 * size, -2 * size)
        assert samples[inner] == by_ffmpeg(fields, f"bwdif={mode}")[inner]
        shown = [p.pts * info.time_base for p in pictures]
        assert shown[0] == times(fields)[0]
        assert {b - a for a, b in itertools.pairwise(shown)} == {Fraction(4, 10) / length}


def test_fields_that_stay_are_kept_apart(fields: Path) -> None:
    info, _, samples, _ = shaped(fields, scale=parse_scale("48:32"))
    assert info.field_order == "tt"
    assert samples == by_ffmpeg(fields, f"scale=48:32:interl=1:{SCALER}")
    # The same field is first, and each has its own chroma: every fourth row begins a pair of both.
    _, _, samples, _ = shaped(fields, crop=parse_crop("48:32:0:7"))
    assert samples == by_ffmpeg(fields, "crop=48:32:0:4")


def test_pictures_that_do_not_say_that_they_are_interlaced(film: Path) -> None:
    _, pictures, samples, notes = shaped(film, deinterlace=True)
    assert len(pictures) == 12
    assert len([n for n in notes if "nothing says" in n]) == 1
    assert samples != by_ffmpeg(film, "null")


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_what_is_shown_is_what_is_cut(tmp_path: Path, turn: int) -> None:
    """A part and a size are those of the picture as it is seen; FFmpeg's command turns it first."""
    source = write_clip(tmp_path / "in.mp4", clip(2, 64, 48), "libx264", rotation=turn)
    info, pictures, _, _ = shaped(source, crop=parse_crop("24:16:4:8"), scale=parse_scale("48:16"))
    assert info.rotation == (-turn) % 360
    seen = np.rot90(pictures[0].planes[0], -info.rotation // 90)
    assert seen.shape == (16, 48)
    command = [FFMPEG, "-v", "error", "-i", source, "-vf", "crop=24:16:4:8,scale=48:16:flags=area"]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    data = subprocess.run([*map(str, command)], check=True, capture_output=True).stdout
    theirs = np.frombuffer(data, np.uint8, 16 * 48).reshape(16, 48).astype(float)
    assert np.abs(seen - theirs).mean() < 2
    assert info.sample_aspect_ratio in (Fraction(1, 2), Fraction(2))
    with pytest.raises(UsageError, match=r"in\.mp4: a part of 50x50 .* picture of (48x64|64x48)"):
        shaped(source, crop=parse_crop("50:50:0:0"))


def test_colour_stays_as_it_is(tmp_path: Path) -> None:
    planes = [
        av.VideoFrame.from_ndarray(f.to_ndarray(format="rgb24"), "rgb24").reformat(
            format="yuv420p10le", dst_colorspace="itu709"
        )
        for f in clip(3, 96, 54)
    ]
    source = write_clip(tmp_path / "in.mkv", planes, "libx265", **HDR)
    info, _, samples, notes = shaped(source, scale=parse_scale("48:-2"))
    assert (info.bit_depth, info.color_primaries, info.color_transfer) == (10, 9, 16)
    assert (info.color_matrix, info.color_range, notes) == (9, 1, ())
    assert samples == by_ffmpeg(source, f"scale=48:28:{SCALER}", "yuv420p10le")
    wide = [frame.reformat(format="yuvj420p") for frame in clip(2, 96, 54)]
    source = write_clip(tmp_path / "in.avi", wide, "mjpeg", color_range=2)
    info, pictures, _, notes = shaped(source, scale=parse_scale("48:-2"))
    assert (info.color_range, notes) == (2, ())
    with VideoReader(source) as reader:
        before = next(item for item in reader if isinstance(item, Picture))
    assert abs(pictures[0].planes[0].mean() - before.planes[0].mean()) < 1


def test_the_command(film: Path, tmp_path: Path) -> None:
    """Sound, variable times and tags come through; a picture's samples are those that were asked
    for."""
    stamps = [0, 1, 2, 5, 6, 9, 10, 11, 12, 20]
    source = write_clip(
        tmp_path / "vfr.mp4", clip(10, 96, 54), "libx264", stamps, audio="aac", tags={"title": "T"}
    )
    shape = ("--scale", "48:-2", "--crop", "96:50", "--model", "dct")
    done = run("batch", source, "-o", tmp_path / "out", *shape)
    assert done.returncode == 0, done.stderr
    target = tmp_path / "out.mp4"
    stcodec.decode(tmp_path / "out" / "vfr.stp", target)
    assert times(target) == times(source)
    assert [bytes(p) for p in demuxed(target)] == [bytes(p) for p in demuxed(source)]
    assert abs(lag(waveform(source), waveform(target))) <= 48
    with av.open(str(target)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (48, 26)
        assert video.sample_aspect_ratio == Fraction(96 * 26, 50 * 48)
        assert container.metadata["title"] == "T"
    coded = tmp_path / "b.stp"
    assert run("encode", film, coded, "--fps", "5", "--model", "dct").returncode == 0
    assert "nominally 5.000 frames/s" in run("info", coded).stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale", "big"], "1280:720, 1280:-2 (the height that fits) or 720p"),
        (["--scale", "-2:-2"], "is no size"),
        (["--crop", "10"], "width:height:x:y"),
        (["--crop", "100:20:0:0"], "a part of 100x20 at 0,0 does not lie in a picture of 96x54"),
        (["--fps", "0"], "is no frame rate"),
        (["--framerate", "50"], "--fps converts"),
    ],
)
def test_what_makes_no_sense(film: Path, tmp_path: Path, options: list[str], said: str) -> None:
    done = run("encode", film, tmp_path / "a.stp", "--model", "dct", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
