"""What a user may ask for: every default, range and help text once, for the command line and the
Python API alike."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from stcodec.common.files import Overwrite
from stcodec.common.shape import Shape, parse_crop, parse_scale
from stcodec.common.tracks import TrackChoice, parse_tracks
from stcodec.errors import UsageError

AUTO_DEVICE = "auto"


def _option(default: Any, help: str, low: float | None = None, high: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


class _Checked:
    """Checks the declared types and ranges of a dataclass's numbers."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, low, high = getattr(self, f.name), f.metadata.get("low"), f.metadata.get("high")
            if value is None or low is None:
                continue
            whole = "int" in str(f.type)
            if not isinstance(value, Integral if whole else Real):
                raise UsageError(f"{f.name} must be a {'whole ' * whole}number, not {value!r}")
            if not low <= value <= high:
                raise UsageError(f"{f.name} must be from {low} to {high}, not {value}")


_START = "Leave out what comes before this time (seconds, or [h:]m:s)."
_END = "Leave out what comes after this time."
_MAX_PIXELS = "Largest pictures, in pixels, instead of 4K or what the file's size allows."
_KEEP_TIME = "Give the output the times (of change and of access) that the input has."


def _check_part(start: float | None, end: float | None) -> None:
    if end is not None and end <= (start or 0.0):
        raise UsageError("the end must come after the start")


TARGETS = ("target_size", "target_bitrate", "min_psnr", "min_ssim", "min_vmaf", "min_xpsnr")
"""Options that ask for a result instead of a quality."""


def flag(name: str) -> str:
    """The option of the command line that sets a field."""
    return f"--{name.replace('_', '-')}"


def check_goals(given: Collection[str], spell: Callable[[str], str] = str) -> None:
    """UsageError where more than one of the quality and the results to reach is `given`, spelled as
    the user did."""
    goals = [name for name in (*TARGETS, "quality") if name in given]
    if len(goals) > 1:
        raise UsageError(f"{spell(goals[0])} and {spell(goals[1])} exclude each other")


_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}


def parse_amount(text: str) -> int:
    """Bytes or bits from text like 25MB, 900 kB, 1.5MiB or 800k. UsageError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?([kmg]i?|)(?:b|bps|bit/s)?", text.strip().lower())
    if match is None:
        raise UsageError(f"{text!r} is no amount: a number and a unit, such as 25MB, 20MiB or 800k")
    return round(float(match[1]) * _UNITS[match[2]])


def parse_rate(text: str) -> Fraction:
    """Frames per second from text like 30, 30000/1001 or 29.97, which stands for 30000/1001.
    UsageError for anything else."""
    if (
        re.fullmatch(r"\d+(\.\d+)?|\d+/[1-9]\d*", text.strip()) is None
        or float(Fraction(text)) == 0
    ):
        raise UsageError(f"{text!r} is no frame rate: 30, 29.97 or 30000/1001")
    rate = Fraction(text)
    for whole in (24, 30, 48, 60, 120):
        # Rates of television, which people write with two or three digits.
        if rate.denominator > 1 and abs(rate - Fraction(whole * 1000, 1001)) < Fraction(1, 100):
            return Fraction(whole * 1000, 1001)
    return rate


@dataclass(frozen=True)
class AudioChoice:
    """What becomes of sound. codec: "auto", "copy", "none", "aac" or "opus"; bit_rate: bits per
    second, None for the usual."""

    codec: str
    bit_rate: int | None = None


def parse_audio(text: str) -> AudioChoice:
    """From text like copy, none, aac or opus:96 (kbit/s). UsageError for anything else."""
    if not isinstance(text, str):
        raise UsageError(
            f"audio must be copy, aac[:kbit/s], opus[:kbit/s] or none, as text, not {text!r}"
        )
    codec, colon, rate = text.strip().lower().partition(":")
    known = codec in ("auto", "copy", "none", "aac", "opus") and (
        not colon or codec in ("aac", "opus")
    )
    match = re.fullmatch(r"(\d{1,4})k?", rate) if colon else None
    if not known or (colon and match is None):
        raise UsageError(f"audio must be copy, aac[:kbit/s] or opus[:kbit/s], not {text!r}")
    if match is None:
        return AudioChoice(codec)
    if not 8 <= int(match[1]) <= 1024:
        raise UsageError(f"audio needs 8 to 1024 kbit/s, not {match[1]}")
    return AudioChoice(codec, int(match[1]) * 1000)


TUNES = ("psnr", "ssim")
"""What an encode can be tuned for."""


@dataclass(frozen=True)
class EncodeOptions(_Checked):
    """Options of `encode`."""

    # About what x264 gives at its default, CRF 23 (docs/coming_from.md).
    quality: int = _option(26, "Quality, 0 (smallest file) to 63 (best picture).", 0, 63)
    model: str = _option("stc-1", "Model: an id, or the path of a .safetensors file.")
    device: str = _option(AUTO_DEVICE, "auto, cpu, cuda[:N] or mps.")
    threads: int = _option(0, "CPU threads; 0 takes all.", 0, 1024)
    motion: str = _option("mctf", "mctf, or none: take everything as standing still.")
    effort: int = _option(1, "How hard the encoder searches: 0, 1 or 2 (docs/efforts.md).", 0, 2)
    tune: str = _option(
        "psnr", "What bits go for: psnr, or ssim, by which smooth parts come before textured ones."
    )
    audio: str = _option("copy", "Sound: copy (as it is), aac[:kbit/s], opus[:kbit/s] or none.")
    tracks: str | None = _option(
        None,
        "Tracks to keep, by kind: video:0,audio:eng,subtitles:none. Numbers count from 0 within a "
        "kind; also languages, all, none, default and forced; a kind not named stays as usual.",
    )
    video_track: str | None = _option(
        None, "The video to encode, as in --tracks; usually the one marked as default."
    )
    audio_tracks: str | None = _option(None, "Sound to keep, as in --tracks: 1,ger.")
    subtitle_tracks: str | None = _option(None, "Subtitles to keep, as in --tracks: eng,forced.")
    start: float | None = _option(None, _START, 0, 1e9)
    end: float | None = _option(None, _END, 0, 1e9)
    framerate: Fraction | None = _option(
        None,
        "Frames per second that an image sequence (a/%04d.png) or a raw stream is taken at.",
        0.001,
        10000,
    )
    scale: str | None = _option(
        None,
        "Another size of the picture as it is shown: 1280:720, 1280:-2 (the height that fits, as a "
        "multiple of 2) or 720p (the shorter side).",
    )
    crop: str | None = _option(
        None,
        "A part of the picture as it is shown (turned by its rotation), before it is scaled: "
        "width:height:x:y from the upper left corner, or width:height for the middle.",
    )
    fps: Fraction | None = _option(
        None,
        "Frames per second: pictures are left out or repeated. Pictures without times, such as an "
        "image sequence, are taken at this rate.",
        0.001,
        10000,
    )
    deinterlace: bool = _option(
        False,
        "Make whole pictures of interlaced ones; with an --fps of twice their rate, one of each "
        "field.",
    )
    strict: bool = _option(
        False,
        "Fail (exit code 3) where the input is cut off or a packet of its video cannot be decoded, "
        "instead of a note and what is left.",
    )
    no_larger: bool = _option(
        False, "Fail (exit code 5) rather than write a file larger than the input."
    )
    keep_time: bool = _option(False, _KEEP_TIME)
    remove_source: bool = _option(
        False,
        "Remove the input once all of its output has been decoded; it stays where anything was "
        "left out, mended or converted.",
    )
    verify: bool = _option(
        False, "Decode what is written, and compare the pictures with those that were meant."
    )
    resume: bool = _option(
        False,
        "Go on with a broken encode of the same input and options, if there is one, and keep what "
        "is not complete where this one breaks off.",
    )
    target_size: int | None = _option(
        None, "Size of the whole output, within 3 %: 25MB, 900kB, 20MiB.", 1, 1e15
    )
    target_bitrate: int | None = _option(
        None, "Bits per second of the whole output, within 3 %: 800k, 1.5M.", 1, 1e12
    )
    min_psnr: float | None = _option(
        None, "The lowest quality with this PSNR (6:1:1) in dB, found on samples.", 0, 100
    )
    min_ssim: float | None = _option(
        None, "The lowest quality with this MS-SSIM, found on samples.", 0, 1
    )
    min_vmaf: float | None = _option(
        None,
        "The lowest quality with this VMAF, found on samples; needs an ffmpeg with libvmaf.",
        0,
        100,
    )
    min_xpsnr: float | None = _option(
        None,
        "The lowest quality with this XPSNR of the luma in dB, found on samples; needs an ffmpeg "
        "with the filter xpsnr.",
        0,
        100,
    )
    overwrite: Overwrite = _option(Overwrite.NO, "Replace an existing output.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_part(self.start, self.end)
        goals = (*TARGETS, "quality")
        check_goals([n for n in goals if getattr(self, n) != default(EncodeOptions, n)])
        if self.remove_source and (self.start is not None or self.end is not None):
            raise UsageError("the source of a part is not removed: the rest would be lost")
        if self.resume and (self.target_size is not None or self.target_bitrate is not None):
            raise UsageError("an encode to a size cannot be resumed: it takes several passes")
        if parse_audio(self.audio).codec == "auto":
            raise UsageError("audio cannot be auto here: copy keeps it as it is")
        if self.chosen_tracks().audio not in (None, ("none",)) and self.audio == "none":
            raise UsageError("no sound at all, and a choice of it, exclude each other")
        self.shape()
        if self.motion not in ("mctf", "none"):
            raise UsageError(f"motion must be mctf or none, not {self.motion!r}")
        if self.tune not in TUNES:
            raise UsageError(f"tune must be {' or '.join(TUNES)}, not {self.tune!r}")

    def shape(self) -> Shape:
        """What is to become of the pictures. UsageError."""
        return Shape(
            None if self.scale is None else parse_scale(self.scale),
            None if self.crop is None else parse_crop(self.crop),
            self.fps,
            self.deinterlace,
        )

    def chosen_tracks(self) -> TrackChoice:
        """What the four options of tracks say. UsageError."""
        return parse_tracks(
            self.tracks,
            video=self.video_track,
            audio=self.audio_tracks,
            subtitle=self.subtitle_tracks,
        )


@dataclass(frozen=True)
class RecordOptions(_Checked):
    """Options of `record` besides those of `EncodeOptions`."""

    every: float | None = _option(
        None, "Begin a file at each multiple of this time of the clock (30s, 10m, 1d).", 1, 1e9
    )
    keep: float | None = _option(None, "Remove files of this pattern that are older (7d).", 1, 1e10)
    realtime: bool = _option(False, "Play a file at its own speed, as a camera would send it.")
    duration: float | None = _option(None, "End after this time.", 0, 1e9)
    timeout: float = _option(10.0, "Silence after which a source is opened again.", 0.1, 1e6)
    give_up: float | None = _option(None, "End (exit code 3) after so long without it.", 0, 1e9)
    format: str | None = _option(None, "FFmpeg's name of a device: v4l2, avfoundation, dshow.")
    adapt: bool = _option(True, "Lower effort, quality and rate where coding does not keep up.")


TIMES = ("1", "2", "4")
"""How many pictures `decode` can make of one."""
RATES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}
"""Shares of the pictures that `decode` can make alone: every picture, every second one, ..."""


@dataclass(frozen=True)
class DecodeOptions(_Checked):
    """Options of `decode`."""

    codec: str = _option(
        "auto",
        "Video encoder (see stcodec codecs); auto: libx264, and of .webm libvpx-vp9 or one of AV1.",
    )
    crf: float | None = _option(
        None, "Its constant rate factor; the default is visually lossless.", 0, 63
    )
    audio: str = _option(
        "auto",
        "Sound: auto (as it is where it plays, else AAC), copy, aac[:kbit/s], opus[:kbit/s] or "
        "none.",
    )
    start: float | None = _option(None, _START, 0, 1e9)
    end: float | None = _option(None, _END, 0, 1e9)
    device: str = _option(AUTO_DEVICE, "auto, cpu, cuda[:N] or mps.")
    threads: int = _option(0, "CPU threads; 0 takes all.", 0, 1024)
    max_pixels: int | None = _option(None, _MAX_PIXELS, 1, 1 << 32)
    rate: str = _option(
        "1", "Share of the pictures: 1, 1/2, 1/4 or 1/8. The others are not decoded at all."
    )
    interpolate: str = _option(
        "1",
        "2 or 4: so many times the pictures a second, with pictures between those of the file that "
        "are made along their motion. Duration and sound stay.",
    )
    crop: str | None = _option(
        None,
        "A part of the picture as it is shown: width:height:x:y from the upper left corner, or "
        "width:height for the middle. Of most pictures little more than that is decoded.",
    )
    keep_partial: bool = _option(
        False, "Of a damaged file, keep the pictures before the damage (exit code 3 all the same)."
    )
    salvage: bool = _option(
        False,
        "Of a damaged file, decode all that is left; the last picture stands where others are lost "
        "(exit code 3 if any are).",
    )
    keep_time: bool = _option(False, _KEEP_TIME)
    overwrite: Overwrite = _option(Overwrite.NO, "Replace an existing output.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_part(self.start, self.end)
        parse_audio(self.audio)
        if self.salvage and (self.start is not None or self.end is not None):
            raise UsageError("a damaged file can be salvaged as a whole only")
        if self.rate not in RATES:
            raise UsageError(f"rate must be one of {', '.join(RATES)}, not {self.rate!r}")
        if self.salvage and self.rate != "1":
            raise UsageError("salvage gives all pictures that are left, whatever the rate")
        if self.crop is not None:
            parse_crop(self.crop)
        if self.interpolate not in TIMES:
            raise UsageError(f"interpolate must be one of {', '.join(TIMES)}")
        if self.interpolate != "1" and (self.rate != "1" or self.salvage):
            raise UsageError("interpolate goes with all pictures of a file that is whole")
        if self.salvage and self.crop is not None:
            raise UsageError("salvage gives whole pictures, and crop parts of them")
        if self.salvage and self.keep_partial:
            raise UsageError("salvage and keep-partial exclude each other")


METRICS = ("psnr", "ssim", "ms-ssim", "vmaf", "xpsnr")
"""What `compare` can measure."""


@dataclass(frozen=True)
class CompareOptions(_Checked):
    """Options of `compare`."""

    metrics: str = _option("all", f"{', '.join(METRICS)}, by commas; all: what is available.")
    match: str = _option(
        "auto", "Pair pictures by time or number; auto: time, unless one has no time stamps."
    )
    device: str = _option(AUTO_DEVICE, "auto, cpu, cuda[:N] or mps; for .stp files.")
    threads: int = _option(0, "CPU threads; 0 takes all.", 0, 1024)
    max_pixels: int | None = _option(None, f"{_MAX_PIXELS[:-1]}; for .stp files.", 1, 1 << 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.metric_names():
            if name not in METRICS:
                raise UsageError(f"unknown metric {name!r}: choose from all, {', '.join(METRICS)}")
        if self.match not in ("auto", "time", "number"):
            raise UsageError(f"match must be auto, time or number, not {self.match!r}")

    def metric_names(self) -> tuple[str, ...]:
        """The metrics, each once."""
        chosen = tuple(n.strip() for n in self.metrics.split(",") if n.strip())
        names = METRICS if self.metrics == "all" else chosen
        if not names:
            raise UsageError(f"no metric is named: choose from all, {', '.join(METRICS)}")
        return tuple(dict.fromkeys(names))


def default(options: type, name: str) -> Any:
    """The default of an option."""
    return next(f.default for f in dataclasses.fields(options) if f.name == name)


def help_text(options: type, name: str) -> str:
    """The help text of an option."""
    return str(next(f.metadata["help"] for f in dataclasses.fields(options) if f.name == name))
