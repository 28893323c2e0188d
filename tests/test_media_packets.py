"""Packets of carried streams, in and out as they are; PyAV alone reads them back."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import pytest

from stcodec.common.values import Picture, StreamInfo
from stcodec.errors import UsageError
from stcodec.media.packets import described
from stcodec.media.reader import VideoReader
from stcodec.media.writer import open_writer
from stcodec.options import AudioChoice
from tests.media import (
    clip,
    copy,
    demuxed,
    lag,
    read,
    times,
    waveform,
    write_clip,
)

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


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"no media file",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0w\1\0\2\0\x10\0data\x08\0\0\0"
        + bytes(8),
    ],
)
def test_descriptions_are_mp4_or_matroska(description: bytes) -> None:
    """A file must not choose which of FFmpeg's readers looks at it."""
    info = StreamInfo("audio", "pcm_s16le", Fraction(1, 48000), description, {}, {})
    with pytest.raises((av.FFmpegError, ValueError)):
        with described(info):
            pass
