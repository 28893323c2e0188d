"""All streams of a file through encode and decode: subtitles, chapters, attachments, covers, tags.
PyAV reads the result."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

import stcodec
from tests.conftest import run
from tests.media import clip, copy, lag, times, waveform, write_clip
from tests.rich import (
    CHAPTERS,
    FONT,
    LINES,
    packet,
    packets_of,
    poster,
    said_of,
    through,
    write_rich,
)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rich")
    return {form: write_rich(folder / f"in.{form}") for form in ("mkv", "mp4")}


@pytest.fixture(scope="module")
def coded(rich: dict[str, Path]) -> dict[str, Path]:
    for source in rich.values():
        stcodec.encode(source, source.with_suffix(f"{source.suffix}.stp"), quality=20, model="dct")
    return {form: source.with_suffix(f"{source.suffix}.stp") for form, source in rich.items()}


@pytest.mark.parametrize("output", ["mkv", "mp4"])
@pytest.mark.parametrize("form", ["mkv", "mp4"])
def test_everything_comes_back(
    rich: dict[str, Path], coded: dict[str, Path], tmp_path: Path, form: str, output: str
) -> None:
    source, target = rich[form], tmp_path / f"out.{output}"
    notes = stcodec.decode(coded[form], target).notes
    tolerance = Fraction(0) if form == output == "mp4" else Fraction(1, 500)
    for a, b in zip(times(source), times(target), strict=True):
        assert abs(a - b) <= tolerance
    for number in range(2):
        before, after = packets_of(source, "audio", number), packets_of(target, "audio", number)
        assert [d for _, d in before] == [d for _, d in after]
        assert all(abs(a - b) <= tolerance for (a, _), (b, _) in zip(before, after, strict=True))
        assert abs(lag(waveform(source, number), waveform(target, number))) <= 48
    assert said_of(target, "audio") == said_of(source, "audio")
    assert said_of(target, "video")[0][1] == "The pictures"
    with av.open(str(target)) as container:
        tags = {k.lower(): v for k, v in container.metadata.items()}
        assert tags["title"] == "A day"
        assert tags["creation_time"] == "2024-05-06T07:08:09.000000Z"
        assert tags["location"] == "+48.8577+002.2950/"
        found = [
            (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
            for c in container.chapters()
        ]
        assert found == [(t, Fraction(s, 1000), Fraction(e, 1000)) for t, s, e in CHAPTERS]
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert [bytes(p) for p in container.demux(covers[0]) if p.size] == [poster()]
    with av.open(str(target)) as container:
        words = container.streams.subtitles[0]
        assert words.metadata["language"] == "spa"
        assert words.disposition & Disposition.forced
        assert (
            words.codec_context.name
            == {"mp4": "mov_text", "mkv": "ssa" if form == "mkv" else "srt"}[output]
        )
        shown = [
            (p.pts * p.time_base, s[0].dialogue)
            for p in container.demux(words)
            if p.size and (s := p.decode())
        ]
        assert shown == [(Fraction(start, 1000), line.encode()) for start, _, line in LINES]
        fonts = [(s.name, s.mimetype, s.data) for s in container.streams.attachments]
    if form == output == "mkv":
        assert fonts == [("font.ttf", "font/ttf", FONT)]
        assert notes == ()
    if (form, output) == ("mkv", "mp4"):
        assert len([n for n in notes if "font.ttf" in n]) == 1
        assert len([n for n in notes if "mov_text" in n]) == 1
    assert len(notes) == {"mkvmkv": 0, "mkvmp4": 2, "mp4mkv": 1, "mp4mp4": 0}[form + output]


def test_a_part_keeps_its_chapters_and_lines(
    rich: dict[str, Path], coded: dict[str, Path], tmp_path: Path
) -> None:
    stcodec.decode(coded["mkv"], tmp_path / "a.mkv", start=0.2, end=0.8)
    through(rich["mkv"], tmp_path / "b.mkv", start=0.2, end=0.8)
    for path in (tmp_path / "a.mkv", tmp_path / "b.mkv"):
        with av.open(str(path)) as container:
            found = [
                (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
                for c in container.chapters()
            ]
        assert found == [("Eins", 0, Fraction(1, 5)), ("Zwei", Fraction(1, 5), Fraction(3, 5))]
        assert [t for t, _ in packets_of(path, "subtitle")] == [Fraction(1, 4)]


def test_bitmap_subtitles_that_do_not_say_how_long_they_are_shown(tmp_path: Path) -> None:
    """As on a DVD. MP4 takes those of DVDs; WebM takes none, which is said."""
    source, picture = tmp_path / "in.mkv", bytes.fromhex("000a0004000000040001ff")
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        words: Any = out.add_stream("dvdsub")
        for frame in clip(12):
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for time in (80, 200, 440):
            out.mux(packet(picture, words, time, 0, Fraction(1, 1000)))
    for ending, lines in (("mkv", 0), ("mp4", 0), ("webm", 1)):
        notes = through(source, tmp_path / f"out.{ending}")
        assert sum("subtitle (dvdsub) does not fit" in n for n in notes) == lines
        if not lines:
            found = packets_of(tmp_path / f"out.{ending}", "subtitle")
            assert found == [(Fraction(t, 1000), picture) for t in (80, 200, 440)]


def test_a_data_track_such_as_gps_is_carried(tmp_path: Path) -> None:
    source = write_rich(tmp_path / "in.mp4", ["aac"])
    data = source.read_bytes()
    # The track of text becomes one of GoPro's telemetry: another handler and another format of its
    # samples.
    assert data.count(b"sbtl") == data.count(b"tx3g") == 1
    source.write_bytes(data.replace(b"sbtl", b"meta").replace(b"tx3g", b"gpmd"))
    before = packets_of(source, "data")
    assert before
    assert copy(source, tmp_path / "out.mp4") == []
    assert packets_of(tmp_path / "out.mp4", "data") == before
    notes = copy(source, tmp_path / "out.mkv")
    assert len(notes) == 1
    assert "bin_data" in notes[0]


def test_tags_of_any_name_and_time_codes_survive(tmp_path: Path) -> None:
    tags = {
        "com.apple.quicktime.make": "Maker",
        "com.android.version": "14",
        "title": "T",
        "timecode": "01:02:03:04",
    }
    source = write_clip(
        tmp_path / "in.mp4",
        clip(3),
        "libx264",
        tags=tags,
        container_options={"movflags": "use_metadata_tags"},
    )
    for ending in ("mp4", "mov", "mkv"):
        target = tmp_path / f"out.{ending}"
        assert copy(source, target) == []
        with av.open(str(target)) as container:
            found = {k.lower(): v for k, v in container.metadata.items()} | dict(
                container.streams.video[0].metadata
            )
            assert {k: found.get(k) or found.get(k.upper()) for k in tags} == tags
            assert len([s for s in container.streams if s.type == "data"]) == (ending != "mkv")


def test_y4m_says_in_one_line_what_it_leaves_out(rich: dict[str, Path], tmp_path: Path) -> None:
    notes = through(rich["mkv"], tmp_path / "out.y4m", end=0.2)
    assert len(notes) == 1
    for name in ("aac", "ac3", "ssa", "chapters", "font.ttf", "cover.png"):
        assert name in notes[0]


def test_other_video_streams_are_named(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        streams: list[Any] = [out.add_stream("libx264", rate=25) for _ in range(2)]
        for s in streams:
            s.width, s.height, s.codec_context.time_base = 64, 48, Fraction(1, 25)
        for i, frame in enumerate(clip(3)):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            for s in streams:
                out.mux(s.encode(frame))
        for s in streams:
            out.mux(s.encode(None))
    notes = stcodec.encode(source, tmp_path / "a.stp", model="dct").notes
    assert [n for n in notes if "several video streams" in n]


def test_the_command_takes_the_choices(rich: dict[str, Path], tmp_path: Path) -> None:
    coded, target = tmp_path / "a.stp", tmp_path / "a.mp4"
    assert (
        run(
            "encode", rich["mkv"], coded, "--model", "dct", "--audio", "opus:64", "--end", "0.6"
        ).returncode
        == 0
    )
    done = run("decode", coded, target, "--no-audio")
    assert done.returncode == 0
    assert done.stderr.count("font.ttf") == 1
    with av.open(str(target)) as container:
        assert not container.streams.audio
    info = run("info", coded).stdout
    for text in ("opus", "Eins", "font.ttf", "cover.png"):
        assert text in info
