"""Pictures and time stamps in and out, read back by plain PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stcodec.common.values import Packet, Picture
from stcodec.errors import InputError
from stcodec.media.reader import VideoReader
from stcodec.media.writer import open_writer
from tests.conftest import make_video, read_times


def copy(source: Path, target: Path, format: str) -> list[Picture]:
    found = []
    with VideoReader(source) as video:
        writer = open_writer(
            target, video.info, video.streams, video.metadata, format=format, crf=5
        )
        for item in video:
            writer.write(item)
            if isinstance(item, Picture):
                found.append(item)
        writer.close()
    return found


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 17), (2, 2)])
def test_420_planes_are_exact(tmp_path: Path, pix_fmt: str, width: int, height: int) -> None:
    path = tmp_path / "a.mkv"
    written = make_video(path, width=width, height=height, frames=3, pix_fmt=pix_fmt)
    with VideoReader(path) as video:
        assert video.info.bit_depth == (10 if "10" in pix_fmt else 8)
        assert video.info.notes == ()
        for planes, item in zip(written, (i for i in video if isinstance(i, Picture)), strict=True):
            for a, b in zip(planes, item.planes, strict=True):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("pix_fmt", "depth"),
    [("yuv444p", 8), ("yuv422p", 8), ("gray", 8), ("bgr0", 8), ("yuv422p10le", 10)],
)
def test_other_formats_are_converted_and_said_so(tmp_path: Path, pix_fmt: str, depth: int) -> None:
    path = tmp_path / "a.mkv"
    make_video(path, frames=2, pix_fmt=pix_fmt)
    with VideoReader(path) as video:
        assert video.info.bit_depth == depth
        assert any(f"converted from {pix_fmt}" in n for n in video.info.notes)
        assert sum(isinstance(i, Picture) for i in video) == 2


@pytest.mark.parametrize("format", ["mp4", "matroska"])
def test_times_survive(tmp_path: Path, bee: Path, format: str) -> None:
    target = tmp_path / f"b.{format}"
    copy(bee, target, format)
    tolerance = Fraction(0) if format == "mp4" else Fraction(1, 1000)
    for a, b in zip(read_times(bee), read_times(target), strict=True):
        assert abs(a - b) <= tolerance
    with av.open(str(bee)) as a, av.open(str(target)) as b:
        sounds = [
            [(p.pts * p.time_base, bytes(p)) for p in c.demux(audio=0) if p.size] for c in (a, b)
        ]
    kept = {data: time for time, data in sounds[1]}
    for time, data in sounds[0]:
        if time >= 0:
            assert abs(kept[data] - time) <= tolerance


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation(tmp_path: Path, rotation: int) -> None:
    source, target = tmp_path / "r.mp4", tmp_path / "s.mp4"
    make_video(source, codec="libx264", prepare=lambda s: s.set_display_rotation(-rotation))
    with VideoReader(source) as video:
        assert video.info.rotation == rotation
    copy(source, target, "mp4")
    with av.open(str(source)) as a, av.open(str(target)) as b:
        assert next(a.decode(video=0)).rotation == next(b.decode(video=0)).rotation


def test_colour_and_aspect(tmp_path: Path) -> None:
    source, target = tmp_path / "c.mp4", tmp_path / "d.mp4"

    def tags(stream: object) -> None:
        context = stream.codec_context  # type: ignore[attr-defined]
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = (
            2,
            9,
            9,
            16,
        )
        context.sample_aspect_ratio = Fraction(16, 11)

    make_video(source, codec="libx264", prepare=tags)
    copy(source, target, "mp4")
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) == (
            2,
            9,
            9,
            16,
        )
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_b_frames_come_in_order_of_presentation(tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    make_video(path, codec="libx264", frames=30)
    with VideoReader(path) as video:
        times = [i.pts * video.info.time_base for i in video if isinstance(i, Picture)]
    assert times == [Fraction(i, 25) for i in range(30)]


def test_no_video_and_no_media(tmp_path: Path) -> None:
    sound, text = tmp_path / "s.wav", tmp_path / "t.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    text.write_text("hello")
    for path in (sound, text, tmp_path / "missing.mp4"):
        with pytest.raises(InputError, match=path.name):
            VideoReader(path)


def test_packets_are_carried(bee: Path) -> None:
    with VideoReader(bee) as video:
        assert [s.codec for s in video.streams] == ["aac"]
        assert sum(isinstance(i, Packet) for i in video) > 20
    with VideoReader(bee, carry="none") as video:
        assert not any(isinstance(i, Packet) for i in video)
