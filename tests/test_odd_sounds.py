"""Sound of more channels, other rates and rarer codings than most."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from tests.conftest import run
from tests.media import lag, waveform

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
CHIRP = "0.3*sin(2*PI*(300*t+1000*t*t))"


def made(path: Path, channels: int, rate: int, *options: str) -> Path:
    """A second of pictures with a chirp in each channel."""
    sound = f"aevalsrc='{'|'.join([CHIRP] * channels)}':s={rate}:d=1"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1"]
    command += ["-f", "lavfi", "-i", sound, "-c:v", "mpeg4", *options, str(path)]
    subprocess.run(command, check=True)
    return path


def through(source: Path, ending: str, *options: str) -> tuple[Path, str]:
    """The result, and what decode said."""
    coded, target = source.with_suffix(".stp"), source.with_name(f"out.{ending}")
    done = run("encode", source, coded, "--model", "dct", "--effort", 0, "-y", *options)
    assert done.returncode == 0, done.stderr
    done = run("decode", coded, target, "-y")
    assert done.returncode == 0, done.stderr
    return target, done.stderr


def test_eight_channels_with_a_gap_become_aac(tmp_path: Path) -> None:
    gap = ("-c:a", "pcm_s16le", "-af", "aselect='lt(t,0.3)+gt(t,0.6)'")
    source = made(tmp_path / "in.mkv", 8, 48000, *gap)
    target, _ = through(source, "mp4", "--audio", "aac")
    assert abs(lag(waveform(source), waveform(target))) <= 96
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.channels == 8


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "opus"), ("mov", "pcm_s16le")])
def test_more_channels_than_aac_has(tmp_path: Path, ending: str, codec: str) -> None:
    source = made(tmp_path / "in.mkv", 10, 48000, "-c:a", "pcm_s16le")
    target, said = through(source, ending)
    assert ("becomes Opus" in said) == (codec == "opus")
    with av.open(str(target)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.name, context.channels) == (codec, 10)
    assert abs(lag(waveform(source), waveform(target))) <= 96


@pytest.mark.parametrize(("rate", "becomes"), [(8000, 32000), (22050, 44100), (37800, 44100)])
def test_rates_that_aac_does_not_know_or_ends_late_with(
    tmp_path: Path, rate: int, becomes: int
) -> None:
    source = made(tmp_path / "in.mkv", 1, rate, "-c:a", "pcm_s16le")
    target, _ = through(source, "mp4")
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == becomes
        samples = sum(f.samples for f in container.decode(audio=0))
    assert samples / becomes == pytest.approx(1, abs=0.04)


def test_sound_of_which_nothing_can_be_decoded_is_not_left_out_in_silence(tmp_path: Path) -> None:
    source, coded = made(tmp_path / "in.mkv", 1, 48000, "-c:a", "tta"), tmp_path / "in.stp"
    assert run("encode", source, coded, "--model", "dct").returncode == 0
    done = run("decode", coded, tmp_path / "out.mp4")
    assert done.returncode == 3
    assert "out.mp4: no packet of the sound (tta) can be decoded" in done.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert run("decode", coded, tmp_path / "out.mp4", "--no-audio").returncode == 0
    assert run("decode", coded, tmp_path / "out.mkv").returncode == 0
    assert abs(lag(waveform(source), waveform(tmp_path / "out.mkv"))) <= 96
