"""The choice of tracks at encode. FFmpeg makes the files, the command chooses, PyAV reads what
comes out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

import stcodec
from stcodec.common.languages import language_code
from stcodec.common.tracks import TrackChoice, parse_tracks
from stcodec.errors import UsageError
from tests.conftest import run

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, of which the second is the default one, three sounds and two subtitles."""
    folder = tmp_path_factory.mktemp("tracks")
    lines, source = folder / "a.srt", folder / "in.mkv"
    lines.write_text("1\n00:00:00,000 --> 00:00:00,200\nHello\n\n")
    inputs = [
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2"),
        *("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.2"),
        *("-f", "lavfi", "-i", "sine=d=0.2", "-i", lines),
    ]
    maps = [part for n in "0122233" for part in ("-map", n)]
    codecs = ["-c:v", "libx264", "-c:a", "aac", "-c:a:1", "ac3", "-c:s", "srt"]
    languages = {"a:0": "eng", "a:1": "ger", "a:2": "eng", "s:0": "fre", "s:1": "eng"}
    tags = [p for at, code in languages.items() for p in (f"-metadata:s:{at}", f"language={code}")]
    marks = {"v:0": "0", "v:1": "default", "a:0": "default", "a:1": "0", "a:2": "comment"}
    marks |= {"s:0": "0", "s:1": "forced"}
    flags = [p for at, mark in marks.items() for p in (f"-disposition:{at}", mark)]
    command = [FFMPEG, "-y", *inputs, *maps, *codecs, *tags, *flags, source]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    return source


def kept(source: Path, **options: str) -> tuple[int, list[tuple[str, str, str | None]], list[str]]:
    """The width of what is coded, and codec and language of what is carried; the notes."""
    coded, target = source.with_suffix(".stp"), source.with_name("out.mkv")
    found = stcodec.encode(source, coded, model="dct", overwrite=True, **options)
    stcodec.decode(coded, target, overwrite=True)
    with av.open(str(target)) as container:
        assert len(container.streams.video) == 1
        beside = [
            (s.type, s.codec_context.name, s.metadata.get("language"))
            for s in container.streams
            if s.type != "video"
        ]
        return container.streams.video[0].width, beside, list(found.notes)


def test_usually_the_default_video_and_everything_else(many: Path) -> None:
    width, beside, notes = kept(many)
    assert width == 96
    assert [kind for kind, *_ in beside] == ["audio"] * 3 + ["subtitle"] * 2
    (note,) = [n for n in notes if "several video streams" in n]
    assert "video 1 (h264, 96x64, default) is coded" in note
    assert "left out: video 0 (h264, 64x48)" in note
    assert "--video-track" in note


@pytest.mark.parametrize(
    ("options", "width", "languages"),
    [
        ({"tracks": "video:0,audio:eng,subtitles:none"}, 64, ["eng", "eng"]),
        ({"tracks": "v:1,audio:1,subs:fr"}, 96, ["ger", "fre"]),
        ({"tracks": "audio:de,0"}, 96, ["eng", "ger", "fre", "eng"]),
        ({"audio_tracks": "1,fra?", "subtitle_tracks": "forced"}, 96, ["ger", "eng"]),
        ({"audio_tracks": "German+comment", "subtitle_tracks": "none"}, 96, ["ger", "eng"]),
        ({"video_track": "0", "audio": "none", "subtitle_tracks": "1"}, 64, ["eng"]),
        ({"tracks": "audio:none"}, 96, ["fre", "eng"]),
    ],
)
def test_choices(many: Path, options: dict[str, str], width: int, languages: list[str]) -> None:
    found, beside, notes = kept(many, **options)
    assert found == width
    assert [language for *_, language in beside] == languages
    left = [n for n in notes if n.startswith("left out, as asked: ")]
    assert len(left) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--audio-tracks", "ita"], "has no audio track 'ita'; it has video 0 (h264, 64x48), "),
        (["--tracks", "video:2"], "has no video track '2'"),
        (["--tracks", "subtitles:5"], "subtitles 1 (srt, eng, forced)"),
        (["--tracks", "pictures:1"], "'pictures' is no kind of track"),
        (["--tracks", "1"], "such as video:0,audio:eng,subtitles:none"),
        (["--tracks", "video:none"], "one video track is coded"),
        (["--tracks", "audio:eng", "--audio-tracks", "1"], "--tracks says already"),
        (["--no-audio", "--audio-tracks", "1"], "exclude each other"),
        (["--subtitles", "none,eng"], "none and eng exclude each other"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    many: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    target = tmp_path / "out.stp"
    done = run("encode", many, target, "--model", "dct", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not target.exists()


def test_a_batch_chooses_for_each_file(many: Path, tmp_path: Path) -> None:
    options = ("--model", "dct", "--jobs", "1", "--tracks", "video:0,audio:ger,subtitles:none")
    assert run("batch", many, "-o", tmp_path, *options).returncode == 0
    info = run("info", tmp_path / "in.stp").stdout
    assert "64 x 48" in info
    assert "ac3" in info
    assert "aac" not in info
    assert "srt" not in info
    # The same again has nothing to do; another choice would make another file.
    again = run("batch", many, "-o", tmp_path, *options, "--dry-run")
    assert "done and intact" in again.stderr
    again = run("batch", many, "-o", tmp_path, *options[:-1], "video:0,audio:eng", "--dry-run")
    assert "with other options" in again.stderr


def test_names_of_languages() -> None:
    for words in (("de", "ger", "deu", "German", "de-AT"), ("zh", "chi", "zho", "zh_TW")):
        assert len({language_code(word) for word in words}) == 1
    assert language_code("tlh") == "tlh"
    assert parse_tracks(None) == TrackChoice()
    with pytest.raises(UsageError):
        parse_tracks("audio:")
