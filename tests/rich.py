"""Files with everything that their format holds, made with PyAV alone, and what is read of them:
helpers of the tests of streams and sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet

import stcodec
from tests.media import clip, frame_of, moving_planes

FRAMES = 25
FONT = b"\0\1\0\0" + bytes(range(256)) * 40
ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour,\
 Bold, Italic, Underline, StrikeOut
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
