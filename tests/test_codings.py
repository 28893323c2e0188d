"""Sound has the name of its coding, whatever FFmpeg calls the decoder that reads it."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import stcodec
from stcodec.quality import vmaf
from tests.conftest import run
from tests.media import clip, write_clip

FFMPEG = vmaf.available()


def with_sound(path: Path) -> Path:
    """A clip of five pictures with 0.2 s of MP3."""
    with av.open(str(write_clip(path.with_name("silent.mkv"), clip(5)))) as source:
        packets = [p for p in source.demux(video=0) if p.size]
        with av.open(str(path), "w") as out:
            video: Any = out.add_stream_from_template(source.streams.video[0])
            sound: Any = out.add_stream("libmp3lame", rate=48000)
            for packet in packets:
                packet.stream = video
                out.mux(packet)
            silence = np.zeros((2, 9600), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            for part in (frame, None):
                out.mux(sound.encode(part))
    return path


def test_info_and_notes_name_the_coding(tmp_path: Path) -> None:
    source, coded = with_sound(tmp_path / "in.mkv"), tmp_path / "a.stp"
    assert "audio 0     mp3, " in run("info", source).stdout
    stcodec.encode(source, coded, model="dct", effort=0)
    assert "audio      mp3, " in run("info", coded).stdout
    notes = stcodec.decode(coded, tmp_path / "a.webm").notes
    assert notes == ("audio (mp3) becomes Opus, which players take in WebM",)


@pytest.mark.skipif(FFMPEG is None, reason="PyAV has no encoder of DTS (pip install '.[bench]')")
def test_what_players_do_not_take_is_known_by_its_coding(tmp_path: Path) -> None:
    """Neither phones nor browsers play DTS in MP4."""
    source, coded = tmp_path / "in.mkv", tmp_path / "a.stp"
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-f", "lavfi", "-i", "sine=d=0.2"]
    sound = ["-c:a", "dca", "-strict", "-2", "-ac", "2"]
    command = [str(FFMPEG), "-loglevel", "error", *inputs, "-c:v", "ffv1", *sound, str(source)]
    subprocess.run(command, check=True)
    stcodec.encode(source, coded, model="dct", effort=0)
    notes = stcodec.decode(coded, tmp_path / "a.mp4").notes
    assert notes == ("audio (dts) becomes AAC, which players take in MP4",)
    assert stcodec.decode(coded, tmp_path / "b.mp4", audio="copy").notes == ()
