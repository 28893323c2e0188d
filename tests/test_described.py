"""What `info` says of videos that are not coded yet, and what is said of files that are none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import stcodec
from stcodec.common.words import colour_in_words
from stcodec.media.description import describe_media
from tests.conftest import psnr, run
from tests.media import clip, moving_planes, write_clip
from tests.rich import FONT, write_rich
from tests.test_presentation import HDR, PQ, hdr_clip


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rich(tmp_path_factory.mktemp("rich") / "in.mkv")


def test_tracks_in_words(rich: Path) -> None:
    found = run("info", rich)
    assert found.returncode == 0, found.stderr
    for text in (
        "Matroska",
        "video 0",
        "h264 (",
        "64x48, 8 bit 4:2:0, 25 frames/s, progressive, colour not said",
        ": coded",
        'audio 1     ac3, 48000 Hz, stereo, 192 kbit/s, deu, "Track 1", comment: kept as it is',
        "subtitle 0",
        "spa",
        "font.ttf",
        "keeps       sound (2 tracks)",
        "keeps       2 chapters",
        "A day",
    ):
        assert text in found.stdout, text
    assert "loses" not in found.stdout


def test_several_files_and_json(rich: Path, tmp_path: Path) -> None:
    coded = tmp_path / "a.stp"
    stcodec.encode(write_clip(tmp_path / "b.mp4", clip(1)), coded, model="dct")
    done = run("info", rich, coded, "--json")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["event"], second["event"]) == ("described", "info")
    assert [t["fate"] for t in first["tracks"]] == ["coded", *["kept as it is"] * 3]
    assert first["attachments"] == ["font.ttf", "cover.png"]
    assert (first["chapters"], first["bytes"]) == (2, rich.stat().st_size)
    assert len(FONT) < first["bytes"]


def test_colour_and_fields_in_words(tmp_path: Path) -> None:
    video = describe_media(hdr_clip(tmp_path / "in.mp4", PQ, HDR)).tracks[0]
    details = ", ".join(video.details)
    assert "10 bit 4:2:0" in details
    assert "colour bt2020, PQ (smpte2084), bt2020nc, limited range" in details
    assert "HDR metadata" in details
    fields = write_clip(
        tmp_path / "f.mp4", clip(4, 64, 64), "libx264", options={"x264-params": "tff=1"}
    )
    assert "interlaced, bottom field first" in describe_media(fields).tracks[0].details
    assert colour_in_words(2, 1, 1, 1) == "bt709, full range"
    assert colour_in_words(0, 2, 2, 2) == "not said"
    assert colour_in_words(1, 9, 18, 99) == "bt2020, HLG (arib-std-b67), matrix 99, limited range"


def test_what_would_be_converted_and_lost(tmp_path: Path) -> None:
    frames = [f.reformat(format="yuva444p") for f in clip(3)]
    source = write_clip(tmp_path / "in.mkv", frames, "ffv1")
    found = describe_media(source)
    assert "8 bit 4:4:4 with transparency" in found.tracks[0].details
    assert found.converts == ["converted from yuva444p to yuv420p"]
    assert found.loses == ["transparency is lost"]
    sound = write_clip(tmp_path / "in.avi", clip(3), "mpeg4", audio="adpcm_ms")
    found = describe_media(sound)
    assert [t.fate for t in found.tracks] == ["coded", "becomes AAC"]
    line = "audio (adpcm_ms) becomes AAC: .stp files cannot hold it as it is"
    assert found.converts == [line]
    short = tmp_path / "cut.avi"
    short.write_bytes(sound.read_bytes()[:-100])
    assert any("100 bytes are missing" in line for line in describe_media(short).remarks)


def test_info_never_loads_torch(rich: Path) -> None:
    program = "import sys; from stcodec.media.description import describe_media\n"
    program += f"describe_media({str(rich)!r}); print('torch' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def moov_behind(path: Path) -> bytes:
    return write_clip(path / "whole.mp4", clip(3), "mpeg4").read_bytes()[:-300]


MPD = b'<?xml version="1.0"?>\n<!-- made -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.mp4", b"", "a.mp4: is empty"),
        ("a.mpd", MPD, "is a DASH manifest"),
        ("a.mp4", b"<!DOCTYPE html><html></html>", "is a page of HTML"),
        ("a.mp4", None, "its index (moov atom) is missing or damaged"),
        ("a.mkv", b"\x8bSTP\r\n\x1a\n" + bytes(64), "is a .stp file already: `stcodec decode`"),
        ("a.mp4", b"no video at all\n", "is no media file"),
    ],
)
def test_why_a_file_is_no_video(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(moov_behind(tmp_path) if data is None else data)
    done = run("encode", path, tmp_path / "out.stp", "--model", "dct")
    assert done.returncode == 3
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_and_a_folder(tmp_path: Path) -> None:
    done = run("encode", "http://me:mine@example.org/a.mp4?token=mine", "out.stp", cwd=tmp_path)
    assert done.returncode == 3
    assert "http://example.org/a.mp4?token=***: is an address" in done.stderr
    done = run("encode", tmp_path, "out.stp", cwd=tmp_path)
    assert done.returncode == 3
    assert f"{tmp_path}/%04d.png" in done.stderr


def test_one_picture_needs_no_number(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", clip(1))
    stcodec.encode(source, tmp_path / "one.stp", model="dct", quality=50)
    for ending in ("png", "jpg"):
        target = tmp_path / f"still.{ending}"
        assert run("decode", tmp_path / "one.stp", target).returncode == 0
        with av.open(str(target)) as container:
            frame: Any = next(container.decode(video=0))
        luma = frame.to_ndarray(format="gray")
        # Grey is of full range.
        meant = np.clip((moving_planes(64, 48, 0)[0].astype(float) - 16) * 255 / 219, 0, 255)
        assert psnr(luma, meant) > 28
    assert run("decode", tmp_path / "one.stp", tmp_path / "still.png").returncode == 4
    stcodec.encode(write_clip(tmp_path / "b.mkv", clip(3)), tmp_path / "b.stp", model="dct")
    done = run("decode", tmp_path / "b.stp", tmp_path / "many.png")
    assert (done.returncode, "frames/%04d.png" in done.stderr) == (2, True)
    part = run("decode", tmp_path / "b.stp", tmp_path / "part.png", "--end", "0.03")
    assert part.returncode == 0, part.stderr
    names = sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".png")
    assert names == ["part.png", "still.png"]
