"""Clips made with PyAV, and PyAV alone to read them back: helpers of the tests of media files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stcodec.common.values import Packet, Picture, Planes
from stcodec.media.reader import VideoReader
from stcodec.media.writer import open_writer, output_format

DATA = Path(__file__).parent / "data"
SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


def moving_planes(width: int, height: int, index: int, bits: int = 8) -> Planes:
    """A smooth pattern that moves, with a little noise on it."""
    rng = np.random.default_rng(index)
    scale = 1 << (bits - 8)

    def plane(w: int, h: int, phase: float) -> np.ndarray:
        y, x = np.mgrid[0:h, 0:w]
        wave = 120 + 60 * np.sin((x + 2 * index) / 7 + phase) * np.cos(y / 9)
        noise = rng.integers(-3, 4, (h, w))
        return ((wave + noise) * scale).astype(np.uint8 if bits == 8 else np.uint16)

    half = ((width + 1) // 2, (height + 1) // 2)
    return plane(width, height, 0), plane(*half, 1), plane(*half, 2)


def fill(plane: Any, samples: np.ndarray) -> None:
    rows = np.zeros((plane.height, plane.line_size // samples.dtype.itemsize), samples.dtype)
    rows[: samples.shape[0], : samples.shape[1]] = samples
    plane.update(rows.tobytes())


def frame_of(planes: Sequence[np.ndarray], pix_fmt: str = "yuv420p") -> Any:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, samples in zip(frame.planes, planes, strict=True):
        fill(plane, samples)
    return frame


def clip(count: int, width: int = 64, height: int = 48) -> list[Any]:
    return [frame_of(moving_planes(width, height, i)) for i in range(count)]


def write_clip(
    path: Path,
    frames: Sequence[Any],
    codec: str = "ffv1",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: int = 25,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    audio: str | None = None,
    tags: dict[str, str] | None = None,
    **context: Any,
) -> Path:
    """A clip of `frames` made by PyAV alone; `context` sets attributes of the codec context."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        out.metadata.update(tags or {})
        video: Any = out.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height, video.pix_fmt = (
            frames[0].width,
            frames[0].height,
            frames[0].format.name,
        )
        video.codec_context.time_base = time_base
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        sound: Any = None
        if audio:
            sound = out.add_stream(audio, rate=48000)
            sound.layout = "stereo"
            sound.metadata["language"] = "deu"
        for i, frame in enumerate(frames):
            frame.pts = i if pts is None else pts[i]
            frame.time_base = time_base
            out.mux(video.encode(frame))
        if sound is not None:
            for i in range(len(frames)):
                tone = av.AudioFrame(format="s16", layout="stereo", samples=1920)
                moment = np.arange(i * 1920, (i + 1) * 1920).repeat(2) / 48000
                wave = 8000 * np.sin(2 * np.pi * (300 * moment + 4000 * moment**2))
                tone.planes[0].update(wave.astype(np.int16).tobytes())
                tone.sample_rate, tone.pts, tone.time_base = 48000, i * 1920, Fraction(1, 48000)
                out.mux(sound.encode(tone))
            out.mux(sound.encode(None))
        out.mux(video.encode(None))
    return path


def read(source: Any, carry: str = "all") -> tuple[VideoReader, list[Picture], list[Packet]]:
    with VideoReader(source, carry=carry) as reader:
        items = list(reader)
    pictures = [i for i in items if isinstance(i, Picture)]
    return reader, pictures, [i for i in items if isinstance(i, Packet)]


def copy(source: Path, target: Path, carry: str = "all", **options: Any) -> list[str]:
    """Reader to writer; the writer's notes."""
    with VideoReader(source, carry=carry) as reader:
        format = output_format(target)
        writer = open_writer(
            target,
            reader.info,
            reader.streams,
            reader.metadata,
            reader.extras,
            format=format,
            **options,
        )
        for item in reader:
            writer.write(item)
        writer.close()
    return writer.notes


def demuxed(path: Path, kind: str = "audio") -> list[Any]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [p for p in container.demux(stream) if p.size]


def times(path: Path) -> list[Fraction]:
    """Presentation times of the decoded pictures in seconds."""
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def assert_same(a: Planes, b: Planes) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def waveform(path: Path, number: int = 0, seconds: int = 2) -> np.ndarray:
    """The left channel in float samples at 48 kHz, placed at its time stamps; sample 0 is time
    0."""
    signal = np.zeros(48000 * seconds)
    place: int | None = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=number):
            if frame.format.is_planar:  # PyAV's own way fails with eight channels
                kind = SAMPLES[frame.format.name.removesuffix("p")]
                left = np.frombuffer(frame.planes[0], kind)[: frame.samples].astype(float)
            else:
                left = frame.to_ndarray()[0, :: len(frame.layout.channels)].astype(float)
            start = place if frame.pts is None else round(frame.pts * frame.time_base * 48000)
            start = start or 0
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
