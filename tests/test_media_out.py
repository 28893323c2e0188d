"""Every kind of media file out: tags, carried streams, pictures, errors; each output is read back
with PyAV alone."""

from __future__ import annotations

import dataclasses
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stcodec.common.values import Picture, StreamInfo, VideoInfo
from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.media.reader import VideoReader
from stcodec.media.writer import open_writer, output_format
from stcodec.options import AudioChoice
from tests.media import (
    DATA,
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


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("degrees", "hflip", "vflip"),
    [(0, True, False), (0, False, True), (90, True, False), (-90, True, False)],
)
def test_mirror_images_in_and_out(
    tmp_path: Path, degrees: int, hflip: bool, vflip: bool, ending: str
) -> None:
    frame = clip(1)[0]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height = frame.width, frame.height
        video.set_display_rotation(degrees, hflip=hflip, vflip=vflip)
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    copy(path, tmp_path / f"b.{ending}")
    with av.open(str(path)) as one, av.open(str(tmp_path / f"b.{ending}")) as two:
        a, b = (bytes(next(c.decode(video=0)).side_data["DISPLAYMATRIX"]) for c in (one, two))
    assert a == b


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("color", [(1, 1, 1, 1), (1, 9, 16, 9), (2, 5, 6, 5), (1, 12, 13, 6)])
def test_colour_tags_in_and_out(
    tmp_path: Path, color: tuple[int, int, int, int], ending: str
) -> None:
    names = ("color_range", "color_primaries", "color_trc", "colorspace")
    frames = clip(2)
    for frame in frames:
        for name, value in zip(names, color, strict=True):
            setattr(frame, name, value)
    source = write_clip(
        tmp_path / "a.mp4", frames, "libx264", **dict(zip(names, color, strict=True))
    )
    info = read(source)[0].info
    assert (info.color_range, info.color_primaries, info.color_transfer, info.color_matrix) == color
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert tuple(int(getattr(frame, n)) for n in names) == color


@pytest.mark.parametrize(
    ("name", "number"), [("left", 1), ("center", 2), ("topleft", 3), ("top", 4)]
)
def test_chroma_location_in_and_out(tmp_path: Path, name: str, number: int) -> None:
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", options={"chroma_sample_location": name}
    )
    assert read(source)[0].info.chroma_location == number
    copy(source, tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4")[0].info.chroma_location == number


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sample_aspect_ratio_in_and_out(tmp_path: Path, ending: str) -> None:
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", sample_aspect_ratio=Fraction(16, 11)
    )
    assert read(source)[0].info.sample_aspect_ratio == Fraction(16, 11)
    copy(source, tmp_path / f"b.{ending}")
    with av.open(str(tmp_path / f"b.{ending}")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_metadata_in_and_out(tmp_path: Path, ending: str) -> None:
    tags = {"title": "A day öut", "comment": "none", "creation_time": "2024-05-06T07:08:09.000000Z"}
    location = {"location": "+48.8577+002.2950/"}
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", tags={**tags, **location}, audio="aac"
    )
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
def test_audio_packets_are_carried_as_they_are(
    tmp_path: Path, codec: str, form: str, ending: str
) -> None:
    source = write_clip(tmp_path / f"a.{form}", clip(12), "libx264", audio=codec)
    target = tmp_path / f"b.{ending}"
    assert copy(source, target, audio=AudioChoice("copy")) == []
    before, after = demuxed(source), demuxed(target)
    assert b"".join(map(bytes, after)) == b"".join(map(bytes, before))
    if codec == "pcm_s16le":  # every format cuts it as it likes
        before, after = before[:1], after[:1]
    tolerance = Fraction(0) if form == ending == "mp4" else Fraction(1, 500)
    for a, b in zip(before, after, strict=True):
        assert abs(b.pts * b.time_base - a.pts * a.time_base) <= tolerance
    for s, t in zip(times(source), times(target), strict=True):
        assert abs(s - t) <= tolerance
    assert (
        abs(lag(waveform(source), waveform(target))) <= 48
    )  # a millisecond, the resolution of Matroska
    with av.open(str(source)) as one, av.open(str(target)) as two:
        left, right = one.streams.audio[0].codec_context, two.streams.audio[0].codec_context
        assert (left.sample_rate, left.channels, left.name) == (
            right.sample_rate,
            right.channels,
            right.name,
        )


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
    reader, pictures, packets = read(
        write_clip(tmp_path / "a.mp4", clip(6), "libx264", audio="aac")
    )
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
    assert len(read(path, "all")[0].streams) == 1
    with pytest.raises(UsageError):
        read(path, "everything")


def test_subtitles_are_carried(tmp_path: Path) -> None:
    text = tmp_path / "a.srt"
    text.write_text(
        "1\n00:00:00,000 --> 00:00:00,500\nHello\n\n2\n00:00:00,600 --> 00:00:00,900\nthere\n\n"
    )
    video = write_clip(tmp_path / "v.mp4", clip(25), "libx264")
    path = tmp_path / "a.mkv"
    with (
        av.open(str(video)) as pictures,
        av.open(str(text)) as lines,
        av.open(str(path), "w") as out,
    ):
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
    assert "mov_text" in notes[0]
    texts = [bytes(p)[2:] for p in demuxed(tmp_path / "b.mp4", "subtitles")]
    assert [t for t in texts if t] == [b"Hello", b"there"]
    assert len(times(tmp_path / "b.mp4")) == 25


def test_sound_without_a_place_in_the_output_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", clip(3), audio="wavpack")
    notes = copy(path, tmp_path / "b.mp4", audio=AudioChoice("copy"))
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
    path = cut_off(
        write_clip(tmp_path / "a.mp4", frames, "libx264", options=options, container_options=front)
    )
    count = 0

    def count_pictures(reader: VideoReader) -> None:
        nonlocal count
        for _ in reader:
            count += 1

    with VideoReader(path) as reader, pytest.raises(InputError, match=f"{path.name}: .*cut off"):
        count_pictures(reader)
    assert 10 <= count < 50


def test_a_cut_off_matroska_file_is_noted(tmp_path: Path) -> None:
    path = cut_off(
        write_clip(
            tmp_path / "a.mkv", clip(150, 32, 32), "libx264", options={"x264-params": "keyint=10"}
        )
    )
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
