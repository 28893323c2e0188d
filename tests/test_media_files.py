"""Every kind of media file in and out: each is made with PyAV, and each output is read back with PyAV alone."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.video import Packet, Picture, Planes, StreamInfo, VideoInfo, VideoReader
from stcodec.video_out import open_writer, output_format

DATA = Path(__file__).parent / "data"


def moving_planes(width: int, height: int, index: int, bits: int = 8) -> Planes:
    """A smooth pattern that moves, with a little noise on it."""
    rng = np.random.default_rng(index)
    scale = 1 << (bits - 8)

    def plane(w: int, h: int, phase: float) -> np.ndarray:
        y, x = np.mgrid[0:h, 0:w]
        wave = 120 + 60 * np.sin((x + 2 * index) / 7 + phase) * np.cos(y / 9)
        noise = rng.integers(-3, 4, (h, w))
        return ((wave + noise) * scale).astype(np.uint8 if bits == 8 else np.uint16)

    half = ((width + 1) // 2, (height + 1) // 2)
    return plane(width, height, 0), plane(*half, 1), plane(*half, 2)


def fill(plane: Any, samples: np.ndarray) -> None:
    rows = np.zeros((plane.height, plane.line_size // samples.dtype.itemsize), samples.dtype)
    rows[: samples.shape[0], : samples.shape[1]] = samples
    plane.update(rows.tobytes())


def frame_of(planes: Sequence[np.ndarray], pix_fmt: str = "yuv420p") -> Any:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, samples in zip(frame.planes, planes, strict=True):
        fill(plane, samples)
    return frame


def clip(count: int, width: int = 64, height: int = 48) -> list[Any]:
    return [frame_of(moving_planes(width, height, i)) for i in range(count)]


def write_clip(
    path: Path,
    frames: Sequence[Any],
    codec: str = "ffv1",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: int = 25,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    audio: str | None = None,
    tags: dict[str, str] | None = None,
    **context: Any,
) -> Path:
    """A clip of `frames` made by PyAV alone; `context` sets attributes of the codec context."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        out.metadata.update(tags or {})
        video: Any = out.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        video.codec_context.time_base = time_base
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        sound: Any = None
        if audio:
            sound = out.add_stream(audio, rate=48000)
            sound.layout = "stereo"
            sound.metadata["language"] = "deu"
        for i, frame in enumerate(frames):
            frame.pts = i if pts is None else pts[i]
            frame.time_base = time_base
            out.mux(video.encode(frame))
        if sound is not None:
            for i in range(len(frames)):
                tone = av.AudioFrame(format="s16", layout="stereo", samples=1920)
                moment = np.arange(i * 1920, (i + 1) * 1920).repeat(2) / 48000
                wave = 8000 * np.sin(2 * np.pi * (300 * moment + 4000 * moment**2))
                tone.planes[0].update(wave.astype(np.int16).tobytes())
                tone.sample_rate, tone.pts, tone.time_base = 48000, i * 1920, Fraction(1, 48000)
                out.mux(sound.encode(tone))
            out.mux(sound.encode(None))
        out.mux(video.encode(None))
    return path


def read(source: Any, carry: str = "first-audio") -> tuple[VideoReader, list[Picture], list[Packet]]:
    with VideoReader(source, carry=carry) as reader:
        items = list(reader)
    pictures = [i for i in items if isinstance(i, Picture)]
    return reader, pictures, [i for i in items if isinstance(i, Packet)]


def copy(source: Path, target: Path, carry: str = "all", **options: Any) -> list[str]:
    """Reader to writer; the writer's notes."""
    with VideoReader(source, carry=carry) as reader:
        format = output_format(target)
        writer = open_writer(target, reader.info, reader.streams, reader.metadata, format=format, **options)
        for item in reader:
            writer.write(item)
        writer.close()
    return writer.notes


def demuxed(path: Path, kind: str = "audio") -> list[Any]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [p for p in container.demux(stream) if p.size]


def times(path: Path) -> list[Fraction]:
    """Presentation times of the decoded pictures in seconds."""
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def assert_same(a: Planes, b: Planes) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


# --- samples in


@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv420p10le", 10)])
@pytest.mark.parametrize("size", [(2, 2), (35, 17), (3, 1)])
def test_420_planes_are_read_exactly(tmp_path: Path, pix_fmt: str, bits: int, size: tuple[int, int]) -> None:
    planes = [moving_planes(*size, i, bits) for i in range(3)]
    codec, name = ("rawvideo", "a.nut") if min(size) == 1 else ("ffv1", "a.mkv")  # FFV1 refuses a height of 1
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
    monkeypatch.setattr(av, "open", functools.partial(av.open, format="rawvideo", options=layout))
    monkeypatch.setattr("stcodec.video._chroma_location", lambda stream: 0)
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
        fill(plane, np.full((plane.height, plane.width), level, np.uint8 if bits == 8 else np.uint16))
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


@pytest.mark.parametrize(("height", "matrix", "red"), [(720, 1, (63, 102, 240)), (480, 6, (81, 90, 240))])
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
    path = write_clip(tmp_path / "a.mp4", clip(4, 64, 64), "libx264", options={"x264-params": "tff=1"})
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
    ("name", "codec"), [("a.y4m", "rawvideo"), ("a.h264", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264")]
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
    source = write_clip(tmp_path / "a.mp4", clip(10), "libx264", stamps, base, container_options=scale)
    expected = [p * base for p in stamps]
    assert times(source) == expected
    reader, pictures, _ = read(source)
    assert [p.pts * reader.info.time_base for p in pictures] == expected
    assert [p.duration for p in pictures[:-1]] == [b.pts - a.pts for a, b in itertools.pairwise(pictures)]
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    assert times(target) == expected
    with av.open(str(target)) as container:
        assert max(int(f.pict_type) for f in container.decode(video=0)) == 3  # B-frames are in use


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_no_picture_before_zero_is_lost_and_sound_moves_along(tmp_path: Path, ending: str) -> None:
    stamps = [i - 3 for i in range(10)]
    kept = {"avoid_negative_ts": "disabled"}
    source = write_clip(tmp_path / "a.mkv", clip(10), "ffv1", stamps, audio="flac", container_options=kept)
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


# --- description


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_in_and_out(tmp_path: Path, degrees: int, ending: str) -> None:
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", rotation=-degrees)
    assert read(source)[0].info.rotation == degrees
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation % 360 == -degrees % 360


def test_a_mirror_image_is_noted(tmp_path: Path) -> None:
    frame = clip(1)[0]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height = frame.width, frame.height
        video.set_display_rotation(0, hflip=True)
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    assert any("mirror" in n for n in read(path)[0].info.notes)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("color", [(1, 1, 1, 1), (1, 9, 16, 9), (2, 5, 6, 5), (1, 12, 13, 6)])
def test_colour_tags_in_and_out(tmp_path: Path, color: tuple[int, int, int, int], ending: str) -> None:
    names = ("color_range", "color_primaries", "color_trc", "colorspace")
    frames = clip(2)
    for frame in frames:
        for name, value in zip(names, color, strict=True):
            setattr(frame, name, value)
    source = write_clip(tmp_path / "a.mp4", frames, "libx264", **dict(zip(names, color, strict=True)))
    info = read(source)[0].info
    assert (info.color_range, info.color_primaries, info.color_transfer, info.color_matrix) == color
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert tuple(int(getattr(frame, n)) for n in names) == color


@pytest.mark.parametrize(("name", "number"), [("left", 1), ("center", 2), ("topleft", 3), ("top", 4)])
def test_chroma_location_in_and_out(tmp_path: Path, name: str, number: int) -> None:
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", options={"chroma_sample_location": name})
    assert read(source)[0].info.chroma_location == number
    copy(source, tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4")[0].info.chroma_location == number


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sample_aspect_ratio_in_and_out(tmp_path: Path, ending: str) -> None:
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", sample_aspect_ratio=Fraction(16, 11))
    assert read(source)[0].info.sample_aspect_ratio == Fraction(16, 11)
    copy(source, tmp_path / f"b.{ending}")
    with av.open(str(tmp_path / f"b.{ending}")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_metadata_in_and_out(tmp_path: Path, ending: str) -> None:
    tags = {"title": "A day öut", "comment": "none", "creation_time": "2024-05-06T07:08:09.000000Z"}
    location = {"location": "+48.8577+002.2950/"}
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", tags={**tags, **location}, audio="aac")
    assert tags.items() <= read(source)[0].metadata.items()
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        found = {k.lower(): v for k, v in container.metadata.items()}
        assert {**tags, **location}.items() <= found.items()
        assert container.streams.audio[0].metadata["language"] == "deu"


def test_brands_of_the_input_are_not_copied_as_tags(tmp_path: Path) -> None:
    copy(write_clip(tmp_path / "a.mov", clip(1), "libx264"), tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert b"major_brand" not in data
    assert b"compatible_brands" not in data


# --- carried packets

AUDIO = [
    ("aac", "mp4"),
    ("libopus", "mp4"),
    ("libmp3lame", "mp4"),
    ("flac", "mkv"),
    ("pcm_s16le", "mkv"),
    ("ac3", "mkv"),
]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(("codec", "form"), AUDIO)
def test_audio_packets_are_carried_as_they_are(tmp_path: Path, codec: str, form: str, ending: str) -> None:
    source = write_clip(tmp_path / f"a.{form}", clip(12), "libx264", audio=codec)
    target = tmp_path / f"b.{ending}"
    assert copy(source, target) == []
    before, after = demuxed(source), demuxed(target)
    assert b"".join(map(bytes, after)) == b"".join(map(bytes, before))
    if codec == "pcm_s16le":  # every format cuts it as it likes
        before, after = before[:1], after[:1]
    tolerance = Fraction(0) if form == ending == "mp4" else Fraction(1, 500)
    for a, b in zip(before, after, strict=True):
        assert abs(b.pts * b.time_base - a.pts * a.time_base) <= tolerance
    for s, t in zip(times(source), times(target), strict=True):
        assert abs(s - t) <= tolerance
    assert abs(lag(waveform(source), waveform(target))) <= 48  # a millisecond, the resolution of Matroska
    with av.open(str(source)) as one, av.open(str(target)) as two:
        left, right = one.streams.audio[0].codec_context, two.streams.audio[0].codec_context
        assert (left.sample_rate, left.channels, left.name) == (right.sample_rate, right.channels, right.name)


def waveform(path: Path) -> np.ndarray:
    """The left channel in float samples, placed at its time stamps; sample 0 is time 0."""
    signal = np.zeros(48000)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            left = (samples[0] if frame.format.is_planar else samples[0, ::2]).astype(float)
            start = round(frame.pts * frame.time_base * 48000)
            skip = max(0, -start)
            signal[start + skip : max(0, start + len(left))] = left[skip:]
    return signal / np.abs(signal).max()


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """By how many samples `b` comes after `a`."""
    spectrum = np.fft.rfft(b, 96000) * np.conj(np.fft.rfft(a, 96000))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < 48000 else best - 96000


def test_stream_description_survives_as_plain_values(tmp_path: Path) -> None:
    reader, pictures, packets = read(write_clip(tmp_path / "a.mp4", clip(6), "libx264", audio="aac"))
    stream = reader.streams[0]
    again = StreamInfo(**dataclasses.asdict(stream))
    assert (stream.kind, stream.codec, stream.parameters["sample_rate"]) == ("audio", "aac", 48000)
    writer = open_writer(tmp_path / "b.mp4", reader.info, [again], format="mp4")
    for item in [*pictures, *packets]:
        writer.write(item)
    writer.close()
    assert [bytes(p) for p in demuxed(tmp_path / "b.mp4")] == [p.data for p in packets]


def test_what_is_carried_is_a_choice(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", clip(1), "libx264", audio="aac")
    assert (len(read(path, "none")[0].streams), len(read(path, "none")[2])) == (0, 0)
    assert len(read(path, "first-audio")[0].streams) == 1
    with pytest.raises(UsageError):
        read(path, "everything")


def test_subtitles_are_carried(tmp_path: Path) -> None:
    text = tmp_path / "a.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:00,500\nHello\n\n2\n00:00:00,600 --> 00:00:00,900\nthere\n\n")
    video = write_clip(tmp_path / "v.mp4", clip(25), "libx264")
    path = tmp_path / "a.mkv"
    with av.open(str(video)) as pictures, av.open(str(text)) as lines, av.open(str(path), "w") as out:
        a = out.add_stream_from_template(pictures.streams.video[0])
        b = out.add_stream_from_template(lines.streams.subtitles[0])
        for source, stream in ((lines, b), (pictures, a)):
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    reader, _, packets = read(path, "all")
    assert reader.streams[0].kind == "subtitle"
    assert [p.data for p in packets] == [b"Hello", b"there"]
    assert copy(path, tmp_path / "b.mkv") == []
    assert [bytes(p) for p in demuxed(tmp_path / "b.mkv", "subtitles")] == [b"Hello", b"there"]
    notes = copy(path, tmp_path / "b.mp4")
    assert len(notes) == 1
    assert "subtitle" in notes[0]
    assert len(times(tmp_path / "b.mp4")) == 25


def test_sound_without_a_place_in_the_output_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", clip(3), audio="wavpack")
    notes = copy(path, tmp_path / "b.mp4")
    assert len(notes) == 1
    assert "wavpack" in notes[0]
    assert "left out" in notes[0]
    assert len(times(tmp_path / "b.mp4")) == 3


def test_packets_and_pictures_come_interleaved(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", clip(75, 32, 32), "libx264", audio="aac")
    copy(path, tmp_path / "b.mp4")
    with VideoReader(tmp_path / "b.mp4") as reader:
        base = (reader.info.time_base, reader.streams[0].time_base)
        video, ahead = 0.0, 0.0
        for item in reader:
            if isinstance(item, Picture):
                video = float(item.pts * base[0])
            else:
                ahead = max(ahead, float((item.pts or 0) * base[1]) - video)
    assert ahead < 2.5


# --- pictures out


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


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
    worst = min(psnr(p.planes[0] / scale, q[0] / scale) for p, q in zip(pictures, planes, strict=True))
    assert worst > 39  # the noise of the pattern is harder than any camera's


@pytest.mark.parametrize("size", [(35, 17), (2, 2), (1, 1)])
def test_odd_and_tiny_sizes_out(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = [frame_of(moving_planes(*size, i)) for i in range(3)]
    copy(write_clip(tmp_path / "a.nut", frames, "rawvideo"), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [size] * 3


def plain_info(width: int, height: int, bits: int) -> VideoInfo:
    rate = Fraction(30000, 1001)
    return VideoInfo(width, height, bits, 1 / rate, rate, Fraction(4, 3), 0, 1, 2, 2, 2, 0, None, None)


@pytest.mark.parametrize(("bits", "size"), [(8, (34, 18)), (8, (35, 17)), (10, (34, 18)), (10, (3, 5))])
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
    open_writer(buffer, dataclasses.replace(plain_info(2, 2, 8), chroma_location=location), format="y4m").close()
    assert tag in buffer.getvalue().split()


def test_y4m_says_what_it_cannot_hold(tmp_path: Path) -> None:
    reader, _, _ = read(write_clip(tmp_path / "a.mp4", clip(2), "libx264", audio="aac", rotation=90))
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


# --- errors


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


def cut_off(path: Path) -> Path:
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return short


def test_a_cut_off_mp4_yields_what_decodes_then_raises(tmp_path: Path) -> None:
    options, front = {"x264-params": "keyint=10"}, {"movflags": "faststart"}
    frames = clip(50, 160, 120)
    path = cut_off(write_clip(tmp_path / "a.mp4", frames, "libx264", options=options, container_options=front))
    count = 0

    def count_pictures(reader: VideoReader) -> None:
        nonlocal count
        for _ in reader:
            count += 1

    with VideoReader(path) as reader, pytest.raises(InputError, match=f"{path.name}: .*cut off"):
        count_pictures(reader)
    assert 10 <= count < 50


def test_a_cut_off_matroska_file_is_noted(tmp_path: Path) -> None:
    path = cut_off(write_clip(tmp_path / "a.mkv", clip(150, 32, 32), "libx264", options={"x264-params": "keyint=10"}))
    reader, pictures, _ = read(path)
    assert 10 <= len(pictures) < 150
    assert any("cut off" in n for n in reader.notes)


def test_an_output_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StcodecError) as caught:
        open_writer(tmp_path / "no" / "b.mp4", plain_info(32, 32, 8), format="mp4")
    assert str(caught.value).startswith(f"{tmp_path / 'no' / 'b.mp4'}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        output_format("a.xyz")
    with pytest.raises(UsageError):
        open_writer(tmp_path / "b.mp4", plain_info(32, 32, 8), format="mp4", codec="nonsense")
