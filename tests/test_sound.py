"""Sound as it is, as another coding, or none; PyAV reads the result."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

import stcodec
from stcodec.common.values import Packet, StreamInfo
from stcodec.errors import InputError, UsageError
from stcodec.media import conversion, silence
from stcodec.media.silence import SilenceFiller
from stcodec.options import parse_audio
from tests.conftest import run
from tests.media import clip, copy, demuxed, lag, times, waveform, write_clip
from tests.rich import (
    FRAMES,
    packets_of,
    said_of,
    through,
    tone,
    write_rich,
)

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rich")
    return {form: write_rich(folder / f"in.{form}") for form in ("mkv", "mp4")}


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "vorbis", "flac", "libopus"])
def test_sound_that_players_do_not_take_in_mp4_becomes_aac(tmp_path: Path, codec: str) -> None:
    source, target = write_rich(tmp_path / "in.mkv", [codec], None), tmp_path / "out.mp4"
    notes = copy(source, target)
    becomes = codec.startswith(("pcm", "vorbis"))
    with av.open(str(target)) as container:
        found = container.streams.audio[0]
        assert found.codec_context.name == ("aac" if becomes else codec.removeprefix("lib"))
        assert found.metadata["language"] == "eng"
    assert len([n for n in notes if "becomes AAC" in n]) == becomes
    assert abs(lag(waveform(source), waveform(target))) <= 48


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("audio", "codec", "low", "high"), [("aac:64", "aac", 40, 90), ("opus:48", "opus", 30, 70)]
)
def test_sound_is_coded_as_asked_and_stays_in_sync(
    rich: dict[str, Path], tmp_path: Path, audio: str, codec: str, low: int, high: int, ending: str
) -> None:
    target = tmp_path / f"out.{ending}"
    assert not [n for n in copy(rich["mkv"], target, audio=parse_audio(audio)) if "audio" in n]
    check_sound(rich["mkv"], target, codec, low, high)


def test_sound_is_coded_when_it_is_encoded(rich: dict[str, Path], tmp_path: Path) -> None:
    through(rich["mkv"], tmp_path / "out.mp4", in_audio="opus:48")
    check_sound(rich["mkv"], tmp_path / "out.mp4", "opus", 30, 70)


def check_sound(source: Path, target: Path, codec: str, low: int, high: int) -> None:
    """Two tracks in `codec`, of `low` to `high` kbit/s, in their places and with their names."""
    for number in range(2):
        with av.open(str(target)) as container:
            assert container.streams.audio[number].codec_context.name == codec
        size = sum(len(d) for _, d in packets_of(target, "audio", number))
        assert low < 8 * size / 1000 / (FRAMES / 25) < high
        # Two milliseconds: Matroska counts in milliseconds, packets and the encoder's delay alike.
        assert abs(lag(waveform(source, number), waveform(target, number))) <= 96
    assert said_of(target, "audio") == said_of(source, "audio")


def test_no_sound_when_none_is_wanted(rich: dict[str, Path], tmp_path: Path) -> None:
    copy(rich["mkv"], tmp_path / "a.mkv", audio=parse_audio("none"))
    through(rich["mkv"], tmp_path / "b.mkv", in_audio="none", end=0.2)
    for name in ("a.mkv", "b.mkv"):
        with av.open(str(tmp_path / name)) as container:
            assert [s.type for s in container.streams] == [
                "video",
                "subtitle",
                "attachment",
                "video",
            ]


def with_a_gap(source: Path, frames: int, begin: int, end: int) -> Path:
    """Pictures with PCM sound beside all but those from `begin` up to `end`."""
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        sound: Any = out.add_stream("pcm_s16le", rate=48000)
        sound.layout = "stereo"
        for i, frame in enumerate(clip(frames)):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
            if not begin <= i < end:
                out.mux(sound.encode(tone(i, 300)))
        out.mux(video.encode(None))
    return source


def test_gaps_in_sound_stay_where_they_are(tmp_path: Path) -> None:
    source = with_a_gap(tmp_path / "in.mkv", 30, 10, 20)
    copy(source, tmp_path / "out.mp4", audio=parse_audio("aac"))
    before, after = waveform(source), waveform(tmp_path / "out.mp4")
    assert abs(lag(before, after)) <= 48
    assert np.abs(after[13 * 1920 : 19 * 1920]).max() < 0.02
    # MOV holds PCM as it is, and samples without gaps.
    assert copy(source, tmp_path / "out.mov") == []
    whole = waveform(tmp_path / "out.mov")
    assert np.abs(whole - before)[: 30 * 1920].max() < 1e-6
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.audio[0].codec_context.name == "pcm_s16le"


def test_silence_is_made_bit_by_bit_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged time stamp may claim decades."""
    monkeypatch.setattr(silence, "LONGEST", 100)
    parameters = {"sample_rate": 8000, "channels": 1}
    info = StreamInfo("audio", "pcm_s16le", Fraction(1, 1000), b"", parameters, {})
    filler, decades = SilenceFiller(info), 10**12

    def packets(pts: int) -> Iterator[Packet]:
        return filler.convert(Packet(0, pts, pts, 1000, True, b"ab" * 8000))

    assert [p.pts for p in packets(0)] == [0]
    late = packets(decades)
    first = next(late)
    assert (first.pts, len(first.data), any(first.data)) == (1000, 16_000, False)
    *others, sound = late
    assert 1 + len(others) == 100
    assert (sound.pts, sound.data) == (decades, b"ab" * 8000)
    # All that there may be has been; what comes still has its time.
    assert [p.pts for p in packets(2 * decades)] == [2 * decades]


def test_silence_that_is_coded_has_an_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = with_a_gap(tmp_path / "in.mkv", 100, 10, 90)
    sizes = []
    for longest in (1, 10):
        monkeypatch.setattr(conversion, "LONGEST", longest)
        copy(source, tmp_path / "out.mp4", audio=parse_audio("aac"))
        before, after = (waveform(p, seconds=5) for p in (source, tmp_path / "out.mp4"))
        assert abs(lag(before, after)) <= 48
        sizes.append(len(demuxed(tmp_path / "out.mp4")))
    # A packet is 1024 samples; of 3.2 s of silence 1 s is there.
    assert abs(sizes[1] - sizes[0] - 2.2 * 48000 / 1024) < 3


def test_choices_of_sound_that_make_no_sense(rich: dict[str, Path], tmp_path: Path) -> None:
    coded = tmp_path / "a.stp"
    for wrong in ("mp3", "aac:", "aac:1", "copy:64", "opus:fast"):
        with pytest.raises(UsageError):
            stcodec.encode(rich["mkv"], coded, audio=wrong)
    stcodec.encode(rich["mkv"], coded, model="dct", end=0.4)
    with pytest.raises(UsageError):
        stcodec.decode(coded, tmp_path / "a.mov", audio="opus")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.stp"]


def test_sound_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    source = write_rich(tmp_path / "in.mkv", ["pcm_s16le"], None)
    coded = tmp_path / "a.stp"
    stcodec.encode(source, coded, model="dct", end=0.4)
    data = source.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data.replace(b"A_PCM/INT/LIT", b"A_UNKNOWN/LIT"))
    coded.unlink()
    with pytest.raises(InputError, match=r"broken.mkv: audio stream 1 .*--no-audio"):
        stcodec.encode(broken, coded, model="dct", end=0.4)
    assert not coded.exists()
    assert run("encode", broken, coded, "--model", "dct", "--no-audio").returncode == 0


@pytest.mark.parametrize(
    ("name", "video", "codec"),
    [
        ("in.wmv", "msmpeg4", "wmav2"),
        ("in.avi", "mpeg4", "adpcm_ms"),
        ("in.flv", "flv", "adpcm_swf"),
        ("in.m2ts", "libx264", "pcm_bluray"),
    ],
)
def test_sound_that_is_converted_because_nothing_describes_it(
    tmp_path: Path, name: str, video: str, codec: str
) -> None:
    source, coded = tmp_path / name, tmp_path / "in.stp"
    rate = "44100" if codec == "adpcm_swf" else "48000"
    chirp = "aevalsrc=0.3*sin(2*PI*(300*t+1000*t*t)):d=1"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1"]
    command += ["-f", "lavfi", "-i", chirp, "-c:v", video, "-c:a", codec, "-ar", rate, "-ac", "2"]
    subprocess.run([*command, str(source)], check=True)
    with av.open(str(source)) as container:
        assert container.streams.audio[0].codec_context.name == codec
        begin = float(container.streams.video[0].start_time * container.streams.video[0].time_base)
    before = waveform(source, seconds=4)
    for audio, becomes in (("copy", "aac"), ("aac:128", "aac"), ("opus:96", "opus")):
        done = run("encode", source, coded, "-y", "--model", "dct", "--audio", audio)
        assert done.returncode == 0
        assert (f"({codec}) becomes AAC" in done.stderr) == (audio == "copy")
        assert run("decode", coded, tmp_path / "out.mkv", "-y").returncode == 0
        with av.open(str(tmp_path / "out.mkv")) as container:
            assert container.streams.audio[0].codec_context.name == becomes
        if becomes == "aac" or rate == "48000":  # else the samples lie at other places
            assert abs(lag(before, waveform(tmp_path / "out.mkv", seconds=4))) <= 96
        shown = float(times(tmp_path / "out.mkv")[0])
        assert shown == pytest.approx(begin, abs=0.002)


@pytest.mark.parametrize("container", ["mkv", "webm", "mp4", "ogg"])
def test_opus_stays_in_sync_when_it_is_coded_again(tmp_path: Path, container: str) -> None:
    sound = tmp_path / f"sound.{container}"
    frame: Any = av.AudioFrame(format="s16", layout="mono", samples=96000)
    moment = np.arange(96000) / 48000
    wave = np.round(9000 * np.sin(2 * np.pi * (300 * moment + 1000 * moment**2)))
    frame.planes[0].update(wave.astype(np.int16).tobytes())
    frame.sample_rate = 48000
    with av.open(str(sound), "w") as out:
        track: Any = out.add_stream("libopus", rate=48000, bit_rate=96000)
        track.layout = "mono"
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    source = write_clip(tmp_path / "pictures.mkv", clip(50), "libx264")
    joined = tmp_path / f"in.{'mkv' if container == 'ogg' else container}"
    video = ["-c:v", "libvpx-vp9"] if container == "webm" else ["-c:v", "copy"]
    command = [FFMPEG, "-v", "error", "-i", source, "-i", sound, *video, "-c:a", "copy", joined]
    subprocess.run([str(word) for word in command], check=True)
    coded, converted = tmp_path / "copy.stp", tmp_path / "opus.stp"
    for target, more in ((coded, []), (converted, ["--audio", "opus:96"])):
        assert run("encode", joined, target, "--model", "dct", *more).returncode == 0
    before = waveform(joined, seconds=3)
    for stp, name, more in (
        (coded, "a.mov", []),
        (coded, "b.mp4", ["--audio", "aac"]),
        (converted, "c.mkv", []),
        (converted, "d.mp4", []),
    ):
        assert run("decode", stp, tmp_path / name, *more).returncode == 0
        after = waveform(tmp_path / name, seconds=3)
        assert abs(lag(before, after)) <= 48, name
        start, whole = (np.abs(after[a:b]).mean() for a, b in ((480, 12000), (480, 90000)))
        assert start > 0.8 * whole, name
