"""WebM out, the list of encoders, and encoders that keep quiet."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

import stcodec
from stcodec.errors import UsageError
from stcodec.media import encoders
from tests.conftest import psnr, read_times, run
from tests.media import clip, lag, waveform, write_clip

pytestmark = pytest.mark.skipif(
    not encoders.is_there("libvpx-vp9"), reason="this PyAV has no encoder of VP9"
)


def test_webm_holds_the_same_pictures(bee: Path, bee_stp: Path, tmp_path: Path) -> None:
    target = tmp_path / "bee.webm"
    done = run("decode", bee_stp, target)
    assert done.returncode == 0, done.stderr
    assert "audio (aac) becomes Opus" in done.stderr
    assert target.read_bytes()[:64].find(b"webm") > 0
    with av.open(str(target)) as container:
        names = [(s.type, s.codec_context.name) for s in container.streams]
    assert [kind for kind, _ in names] == ["video", "audio"]
    assert "vp9" in names[0][1] and "opus" in names[1][1]
    # Matroska counts in milliseconds.
    pairs = zip(read_times(target), read_times(bee), strict=True)
    assert all(abs(a - b) <= 0.001 for a, b in pairs)
    with av.open(str(bee)) as a, av.open(str(target)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True):
            assert psnr(x.to_ndarray(format="gray"), y.to_ndarray(format="gray")) > 30


def test_sound_stays_in_time(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "a.webm"
    write_clip(source, clip(25), codec="libx264", audio="aac")
    stcodec.encode(source, tmp_path / "a.stp", model="dct", effort=0)
    stcodec.decode(tmp_path / "a.stp", target)
    assert abs(lag(waveform(source), waveform(target))) < 100


def test_odd_sizes_and_ten_bits(tmp_path: Path) -> None:
    frames = [f.reformat(width=61, height=35, format="yuv420p10le") for f in clip(4)]
    write_clip(tmp_path / "a.mkv", frames)
    stcodec.encode(tmp_path / "a.mkv", tmp_path / "a.stp", model="dct", effort=0)
    stcodec.decode(tmp_path / "a.stp", tmp_path / "a.webm")
    with av.open(str(tmp_path / "a.webm")) as container:
        shown = list(container.decode(video=0))
    assert [(f.width, f.height, f.format.name) for f in shown] == [(61, 35, "yuv420p10le")] * 4
    for codec in ("mpeg4", "libvpx"):  # of 8 bits alone
        with pytest.raises(UsageError, match="cannot write these pictures"):
            stcodec.decode(tmp_path / "a.stp", tmp_path / "b.mkv", codec=codec)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--codec", "libx264"], "WebM holds VP8, VP9, AV1 alone"),
        (["--codec", "nonsense"], "stcodec codecs"),
        (["--codec", "aac"], "is no video encoder"),
        (["--audio", "aac"], "choose opus"),
    ],
)
def test_what_webm_cannot_hold_is_one_line(
    bee_stp: Path, tmp_path: Path, arguments: list[str], text: str
) -> None:
    done = run("decode", bee_stp, tmp_path / "x.webm", *arguments, "--progress", "none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_an_encoder_the_next_step_is_said(
    bee_stp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "is_there", lambda name: name == "libsvtav1")
    assert encoders.choose("auto", "webm") == ("libsvtav1", "yuv420p")
    monkeypatch.setattr(encoders, "is_there", lambda name: False)
    with pytest.raises(UsageError, match=r"WebM needs one of .*libvpx-vp9.*stcodec codecs"):
        stcodec.decode(bee_stp, tmp_path / "x.webm")
    assert list(tmp_path.iterdir()) == []


def test_encoders_that_work_are_listed() -> None:
    done = run("codecs", "--json")
    assert done.returncode == 0 and done.stderr == ""
    found = {e["name"]: e for e in map(json.loads, done.stdout.splitlines())}
    assert found["libx264"]["coding"] == "h264"
    assert {".mp4", ".mkv", ".mov"} <= set(found["libx264"]["endings"])
    assert ".webm" in found["libvpx-vp9"]["endings"]
    assert not any(".webm" in e["endings"] for n, e in found.items() if e["coding"] == "h264")


@pytest.mark.skipif(not encoders.is_there("libx265"), reason="this PyAV has no libx265")
@pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
def test_quiet_is_quiet_whatever_the_encoder(bee_stp: Path, tmp_path: Path, codec: str) -> None:
    target = tmp_path / "a.mkv"
    done = run("decode", bee_stp, target, "--codec", codec, "--quiet", "--end", "0.2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(read_times(target)) == 6
