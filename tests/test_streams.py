"""All streams of a file through encode and decode: sound, subtitles, chapters, attachments, covers,
tags. PyAV reads the result."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet

import stcodec
from stcodec.errors import UsageError
from stcodec.options import parse_audio
from tests.conftest import run
from tests.media import clip, copy, frame_of, moving_planes, times, write_clip

FRAMES = 25
FONT = b"\0\1\0\0" + bytes(range(256)) * 40
ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
CHAPTERS = [("Eins", 0, 400), ("Zwei", 400, 1000)]
LINES = [(50, 250, "Hallo"), (450, 350, "du da")]


def poster() -> bytes:
    """A PNG picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as out:
        stream: Any = out.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 32, 48, "rgb24"
        out.mux(stream.encode(frame_of(moving_planes(32, 48, 0)).reformat(format="rgb24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def tone(index: int, pitch: float, layout: str = "stereo") -> Any:
    """A picture's length of a tone whose pitch rises, so that it fits at one place only."""
    channels = 1 if layout == "mono" else 2
    frame = av.AudioFrame(format="s16", layout=layout, samples=1920)
    moment = np.arange(index * 1920, (index + 1) * 1920).repeat(channels) / 48000
    wave = 8000 * np.sin(2 * np.pi * (pitch * moment + 2000 * moment**2))
    frame.planes[0].update(wave.astype(np.int16).tobytes())
    frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1920, Fraction(1, 48000)
    return frame


def write_rich(
    path: Path, sounds: Sequence[str] = ("aac", "ac3"), text: str | None = "ass"
) -> Path:
    """A file with everything that its format holds, made by PyAV alone."""
    form = path.suffix[1:]
    with av.open(str(path), "w") as out:
        out.metadata.update({"title": "A day", "creation_time": "2024-05-06T07:08:09.000000Z"})
        out.metadata["location"] = "+48.8577+002.2950/"
        video: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        video.metadata["title"] = "The pictures"
        tracks: list[Any] = []
        for number, codec in enumerate(sounds):
            track: Any = out.add_stream(codec, rate=48000, options={"strict": "experimental"})
            track.layout = "stereo"
            track.metadata.update(language=("eng", "deu", "fra")[number], title=f"Track {number}")
            track.disposition = Disposition.default if number == 0 else Disposition.comment
            tracks.append(track)
        words: Any = None
        if text:
            words = out.add_stream(text if form != "mp4" else "mov_text")
            words.codec_context.subtitle_header = ASS
            words.time_base = Fraction(1, 1000)
            words.metadata.update(language="spa")
            words.disposition = Disposition.forced
        unit = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": i + 1, "start": s, "end": e, "time_base": unit, "metadata": {"title": t}}
                for i, (t, s, e) in enumerate(CHAPTERS)
            ]
        )
        cover: Any = None
        if form == "mkv":
            out.add_attachment("font.ttf", "font/ttf", FONT)
            out.add_attachment("cover.png", "image/png", poster())
        else:
            with av.open(io.BytesIO(poster())) as picture:
                cover = out.add_stream_from_template(picture.streams[0], opaque=True)
                cover.disposition = Disposition.attached_pic
        out.start_encoding()
        if cover is not None:
            out.mux(packet(poster(), cover, 0, 0, Fraction(1, 90000)))
        for i, frame in enumerate(clip(FRAMES)):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
            for number, track in enumerate(tracks):
                out.mux(track.encode(tone(i, 300 * (number + 1))))
        for stream in (video, *tracks):
            out.mux(stream.encode(None))
        for start, length, line in LINES if text else []:
            entry = SubtitleSet.create(f"0,0,Default,,0,0,0,,{line}".encode(), 0, length, start)
            out.mux(
                packet(
                    bytes(words.codec_context.encode_subtitle(entry)), words, start, length, unit
                )
            )
    return path


def packet(data: bytes, stream: Any, start: int, length: int, unit: Fraction) -> Any:
    made: Any = av.Packet(data)
    made.stream, made.pts, made.dts, made.duration, made.time_base = (
        stream,
        start,
        start,
        length,
        unit,
    )
    made.is_keyframe = True
    return made


def through(
    source: Path, target: Path, start: float | None = None, end: float | None = None, **options: Any
) -> list[str]:
    """Encode and decode; what the decoder notes."""
    coded = target.with_suffix(".stp")
    encoding = {k[3:]: options.pop(k) for k in list(options) if k.startswith("in_")}
    stcodec.encode(
        source, coded, quality=20, model="dct", overwrite=True, start=start, end=end, **encoding
    )
    return list(stcodec.decode(coded, target, overwrite=True, **options).notes)


def packets_of(path: Path, kind: str, number: int = 0) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = [s for s in container.streams if s.type == kind][number]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


def waveform(path: Path, number: int = 0, seconds: int = 2) -> np.ndarray:
    """The left channel in float samples at 48 kHz, placed at its time stamps; sample 0 is time
    0."""
    signal = np.zeros(48000 * seconds)
    place: int | None = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=number):
            samples = frame.to_ndarray()
            left = (
                samples[0] if frame.format.is_planar else samples[0, :: len(frame.layout.channels)]
            ).astype(float)
            start = round(frame.pts * frame.time_base * 48000)
            if place is None or abs(start - place) > 480:  # less than that is how a format rounds
                place = start
            skip = max(0, -place)
            signal[place + skip : max(0, place + len(left))] = left[skip:]
            place += len(left)
    return signal / np.abs(signal).max()


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """By how many samples `b` comes after `a`."""
    spectrum = np.fft.rfft(b, 2 * len(a)) * np.conj(np.fft.rfft(a, 2 * len(a)))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < len(a) else best - 2 * len(a)


def said_of(path: Path, kind: str) -> list[tuple[str | None, str | None, Disposition]]:
    """Language, title and dispositions of the streams of a kind."""
    with av.open(str(path)) as container:
        return [
            (
                s.metadata.get("language"),
                s.metadata.get("title") or s.metadata.get("name"),
                s.disposition,
            )
            for s in container.streams
            if s.type == kind
            and not s.disposition & Disposition.attached_pic
            and s.codec_context is not None
        ]


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


def test_gaps_in_sound_stay_where_they_are(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        sound: Any = out.add_stream("pcm_s16le", rate=48000)
        sound.layout = "stereo"
        for i, frame in enumerate(clip(30)):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
            if not 10 <= i < 20:
                out.mux(sound.encode(tone(i, 300)))
        out.mux(video.encode(None))
    copy(source, tmp_path / "out.mp4", audio=parse_audio("aac"))
    before, after = waveform(source), waveform(tmp_path / "out.mp4")
    assert abs(lag(before, after)) <= 48
    assert np.abs(after[13 * 1920 : 19 * 1920]).max() < 0.02


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
    notes = stcodec.encode(broken, coded, model="dct", end=0.4, overwrite=True).notes
    assert len([n for n in notes if "audio" in n]) == 1


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
