"""Packets of carried streams in another coding: sound as AAC or Opus, text as the kind of subtitle
that a format knows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.error import FFmpegError
from av.rational import AVRational

from stcodec.common.files import named
from stcodec.common.values import ConvertedNote, Packet, Picture, StreamInfo
from stcodec.errors import InputError, UsageError
from stcodec.media.encoders import NAMES
from stcodec.media.packets import LAYOUTS, reason, refusal
from stcodec.media.silence import LONGEST, TOLERANCE, SilenceFiller
from stcodec.options import AudioChoice

_ENCODERS = {"aac": "aac", "opus": "libopus"}
# Bits per second and channel that hardly anybody hears a difference at.
_RATES = {"aac": 96_000, "opus": 64_000}
_OPUS_RATE = 48_000
# Of those that AAC knows: below, its packets are longer than a picture is shown.
_AAC_RATES = (32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
_MOST_CHANNELS = {"aac": 8, "opus": 255}
_TEXT_FORMATS = {"matroska": "subrip", "mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
_TEXTS = {
    "subrip",
    "srt",
    "ass",
    "ssa",
    "mov_text",
    "webvtt",
    "text",
    "microdvd",
    "subviewer",
    "sami",
}
# Sound that FFmpeg would write into MP4 and that few players then play.
_NOT_FOR_MP4 = ("pcm_", "vorbis", "adpcm_", "wmav", "truehd", "dts")
_EBML = ("matroska", "webm")
_LABELS = {"aac": "AAC", "opus": "Opus"}


class Converter(Protocol):
    """Takes the packets of one stream; `info` describes the stream that comes out. What comes out
    of a packet is to be taken before the next one is given: work may be done while it is."""

    info: StreamInfo

    def convert(self, packet: Packet) -> Iterable[Packet]:
        """What is ready after this packet."""
        ...

    def finish(self) -> Iterable[Packet]:
        """What was left."""
        ...


class AudioConverter:
    """Decodes packets of sound and encodes them again.

    choice: "aac" or "opus", with bits per second or None for a rate by the number of channels.
    decoder: PyAV's, for a stream that its description does not describe. ValueError or FFmpegError
    where the stream cannot be decoded or encoded. Damaged packets become silence; `damaged`: how
    many have; if all have, InputError.
    """

    def __init__(self, info: StreamInfo, choice: AudioChoice, decoder: Any = None) -> None:
        # The decoder counts the samples that it leaves out at the start in this unit.
        self._base = self._unit = info.time_base
        if decoder is None:
            self._source = av.open(io.BytesIO(info.extradata))
            found: Any = self._source.streams[0] if self._source.streams else None
            if found is None or found.codec_context is None or found.type != "audio":
                raise ValueError("there is no decoder for it")
            decoder, self._unit = found.codec_context, Fraction(found.time_base or self._base)
        self._decoder = decoder
        channels, rate = decoder.channels, decoder.sample_rate
        if not 0 < channels <= _MOST_CHANNELS[choice.codec]:
            raise ValueError(f"it has {channels} channels")
        self._rate = _OPUS_RATE if choice.codec == "opus" else _aac_rate(rate)
        self._layout = LAYOUTS.get(channels, f"{channels} channels")
        bit_rate = choice.bit_rate or _RATES[choice.codec] * channels
        buffer = io.BytesIO()
        self._sink = av.open(buffer, "w", format="mp4", options={"movflags": "empty_moov"})
        stream: Any = self._sink.add_stream(_ENCODERS[choice.codec], rate=self._rate)
        stream.layout, stream.bit_rate = self._layout, bit_rate
        if choice.codec == "opus" and channels > 2:
            stream.options = {"mapping_family": "1" if channels in LAYOUTS else "255"}
        stream.codec_context.time_base = stream.time_base = Fraction(1, self._rate)
        self._sink.start_encoding()
        self._encoder = stream.codec_context
        self._resampler = av.AudioResampler(
            format=self._encoder.format, layout=self._layout, rate=self._rate
        )
        self._next: int | None = None
        self._left = LONGEST * self._rate
        self._coding, self._number, self.damaged = info.codec, 0, 0
        parameters = {"sample_rate": self._rate, "channels": channels, "layout": self._layout}
        self.info = replace(
            info,
            codec=choice.codec,
            time_base=Fraction(1, self._rate),
            extradata=buffer.getvalue(),
            parameters=parameters,
        )

    def convert(self, packet: Packet) -> Iterator[Packet]:
        """What is ready after this packet."""
        self._number = packet.stream
        coded: Any = av.Packet(packet.data)
        coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
        coded.time_base = self._base
        coded.rescale_ts(AVRational(self._unit))
        try:
            frames = self._decoder.decode(coded)
        except FFmpegError:
            self.damaged += 1
            return
        yield from self._encode(frames)

    def finish(self) -> Iterator[Packet]:
        """What was left."""
        try:
            frames = self._decoder.decode(None)
        except FFmpegError:
            frames = []
        yield from self._encode(frames)
        if self.damaged and self._next is None:
            raise InputError(
                f"no packet of the sound ({self._coding}) can be decoded: --no-audio leaves it "
                "out, --audio copy takes it as it is"
            )
        for frame in self._resampler.resample(None):
            yield from self._code(frame)
        yield from self._packets(self._encoder.encode(None))

    def _encode(self, frames: Iterable[Any]) -> Iterator[Packet]:
        for frame in frames:
            start = (
                None
                if frame.pts is None
                else round(frame.pts * (frame.time_base or self._unit) * self._rate)
            )
            # The samples' own clock: rounded time stamps would tear holes of a sample.
            frame.pts = None
            resampled = self._resampler.resample(frame)
            if start is not None:
                if self._next is None:
                    self._next = start
                elif start - self._next > TOLERANCE * self._rate:
                    yield from self._silence(start - self._next)
                    self._next = start
                elif self._next - start > TOLERANCE * self._rate:
                    continue
            for out in resampled:
                yield from self._code(out)

    def _silence(self, samples: int) -> Iterator[Packet]:
        """So many samples, but no more than are left."""
        samples = min(samples, self._left)
        self._left -= samples
        while samples > 0:
            count = min(samples, self._rate)
            frame = av.AudioFrame(
                format=self._encoder.format.name, layout=self._layout, samples=count
            )
            # PyAV gives planes up to an empty pointer, which eight channels have none behind them.
            planes = len(frame.layout.channels) if frame.format.is_planar else 1
            for plane in frame.planes[:planes]:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate = self._rate
            yield from self._code(frame)
            samples -= count

    def _code(self, frame: Any) -> Iterator[Packet]:
        frame.pts, frame.time_base = self._next or 0, Fraction(1, self._rate)
        self._next = frame.pts + frame.samples
        yield from self._packets(self._encoder.encode(frame))

    def _packets(self, packets: Iterable[Any]) -> Iterator[Packet]:
        for p in packets:
            yield Packet(self._number, p.pts, p.dts, p.duration or 0, True, bytes(p))


def _aac_rate(rate: int) -> int:
    """The rate at which sound of another one loses nothing as AAC, or least."""
    at_least = [r for r in _AAC_RATES if r >= rate] or [_AAC_RATES[-1]]
    return next((r for r in at_least if r % rate == 0), at_least[0])


class TextConverter:
    """Text subtitles as the kind that `format` knows; styles that it does not know are lost.
    ValueError or FFmpegError where it knows none, or the subtitles are no text."""

    def __init__(self, info: StreamInfo, format: str) -> None:
        if info.codec not in _TEXTS or format not in _TEXT_FORMATS:
            raise ValueError("it is no text")
        self._source = av.open(io.BytesIO(info.extradata))
        if not self._source.streams:
            raise ValueError("its description is empty")
        self._decoder = cast(Any, self._source.streams[0].codec_context)
        self._decoder.open(strict=False)
        self._base = info.time_base
        codec, buffer = _TEXT_FORMATS[format], io.BytesIO()
        options = {} if format in _EBML else {"movflags": "empty_moov"}
        self._sink = av.open(buffer, "w", format=format, options=options)
        stream = cast(Any, self._sink.add_stream(codec))
        self._encoder = stream.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        stream.time_base = self._encoder.time_base = Fraction(1, 1000)
        self._sink.start_encoding()
        if format in _EBML:
            packet: Any = av.Packet(b"\0")
            packet.pts, packet.dts, packet.stream = 0, 0, stream
            self._sink.mux(packet)
            self._sink.close()
        self.info = replace(info, codec=codec, extradata=buffer.getvalue())

    def convert(self, packet: Packet) -> list[Packet]:
        """The same text at the same time; nothing for a packet without text."""
        coded: Any = av.Packet(packet.data)
        coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
        coded.time_base = self._base
        try:
            found = self._decoder.decode2(coded)
            if found is None or not len(found):
                return []
            data = bytes(self._encoder.encode_subtitle(found))
        except FFmpegError:
            return []
        return [replace(packet, data=data, keyframe=True)] if data else []

    def finish(self) -> list[Packet]:
        """Nothing is ever left."""
        return []


@dataclass
class Plan:
    """What becomes of carried streams. streams: those that come out; converters: by the number of a
    stream; places: the number of each stream in what comes out, None where it is left out; name:
    of the file, for messages."""

    streams: list[StreamInfo]
    converters: dict[int, Converter]
    places: list[int | None]
    name: str = ""

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """What comes out for a packet, numbered by `streams`."""
        place = self.places[packet.stream]
        if place is None:
            return
        converter = self.converters.get(packet.stream)
        for p in [packet] if converter is None else converter.convert(packet):
            yield replace(p, stream=place)

    def rest(self) -> Iterator[Packet]:
        """What the converters have left."""
        for number, converter in self.converters.items():
            place = self.places[number]
            if place is not None:
                with named(self.name):
                    for p in converter.finish():
                        yield replace(p, stream=place)

    @property
    def notes(self) -> list[str]:
        """What a user should know about what was converted, so far."""
        found = (c.damaged for c in self.converters.values() if isinstance(c, AudioConverter))
        damaged = sum(found)
        what = "1 packet" if damaged == 1 else f"{damaged} packets"
        return [f"{what} of sound cannot be decoded, and became silence"] if damaged else []

    def apply(self, items: Iterable[Picture | Packet]) -> Iterator[Picture | Packet]:
        """`items` with the packets that come out."""
        for item in items:
            if isinstance(item, Packet):
                yield from self.packets(item)
            else:
                yield item
        yield from self.rest()


def plan_encode(
    streams: Sequence[StreamInfo], choice: AudioChoice, decoders: Mapping[int, Any]
) -> tuple[Plan, list[str]]:
    """For encoding: sound as it is, or as `choice` says; and a line for each stream that is not as
    it was to be. decoders: of the streams that have no description, by number; their sound becomes
    AAC where it was to be copied. InputError for sound that cannot be decoded."""
    plan, notes = Plan([], {}, []), list[str]()
    for number, info in enumerate(streams):
        if info.kind == "audio" and choice.codec == "none":
            plan.places.append(None)
            continue
        chosen, wanted = info, choice
        if number in decoders and choice.codec not in _ENCODERS:
            wanted = AudioChoice("aac", None)
            note = f"audio ({info.codec}) becomes AAC: .stp files cannot hold it as it is"
            notes.append(ConvertedNote(note))
        if info.kind == "audio" and wants_conversion(info, wanted):
            try:
                plan.converters[number] = AudioConverter(info, wanted, decoders.get(number))
            except (ValueError, FFmpegError) as error:
                name = f"audio ({info.codec})"
                raise InputError(
                    f"{name} cannot become {_LABELS[wanted.codec]} ({reason(error)})"
                ) from error
            chosen = plan.converters[number].info
        plan.places.append(len(plan.streams))
        plan.streams.append(chosen)
    return plan, notes


def wants_conversion(info: StreamInfo, choice: AudioChoice) -> bool:
    """Whether `choice` asks for another coding of this sound."""
    return choice.codec in _ENCODERS and (info.codec != choice.codec or choice.bit_rate is not None)


def check_choice(choice: AudioChoice, format: str) -> None:
    """UsageError where `format` cannot hold what is chosen."""
    if choice.codec == "opus" and format == "mov":
        raise UsageError("MOV cannot hold Opus: choose aac, or .mp4 or .mkv")
    if choice.codec == "aac" and format == "webm":
        raise UsageError("WebM cannot hold AAC: choose opus, or .mp4 or .mkv")


def plan_decode(
    streams: Sequence[StreamInfo], format: str, choice: AudioChoice
) -> tuple[Plan, list[str]]:
    """For a file of `format`: streams as they are where they fit (sound: if `choice` does not ask
    for more), converted where that helps, else left out; and a line for each that is not as it
    was."""
    check_choice(choice, format)
    plan, notes = Plan([], {}, []), []
    for number, info in enumerate(streams):
        if info.kind == "audio" and choice.codec == "none":
            plan.places.append(None)
            continue
        found, converter, note = _place(info, format, choice)
        if note:
            notes.append(note)
        if converter is not None:
            plan.converters[number] = converter
        plan.places.append(None if found is None else len(plan.streams))
        if found is not None:
            plan.streams.append(found)
    return plan, notes


def _place(
    info: StreamInfo, format: str, choice: AudioChoice
) -> tuple[StreamInfo | None, Converter | None, str | None]:
    language = info.metadata.get("language")
    codec, where = info.codec, NAMES[format]
    name = f"{info.kind} ({codec}{f', {language}' if language else ''})"
    asked = info.kind == "audio" and wants_conversion(info, choice)
    why = None if asked else refusal(info, format)
    unusual = format == "mp4" and info.kind == "audio" and codec.startswith(_NOT_FOR_MP4)
    if not asked and why is None and not (unusual and choice.codec == "auto"):
        gapless = format in ("mp4", "mov") and SilenceFiller.suits(info)
        return info, SilenceFiller(info) if gapless else None, None
    converter: Converter
    try:
        if info.kind == "audio" and choice.codec != "copy":
            many = int(info.parameters.get("channels") or 0) > _MOST_CHANNELS["aac"]
            opus = format == "webm" or (many and format != "mov")
            wanted = choice if asked else AudioChoice("opus" if opus else "aac", None)
            converter = AudioConverter(info, wanted)
            note = f"{name} becomes {_LABELS[wanted.codec]}" + (
                "" if asked else f", which players take in {where}"
            )
            return converter.info, converter, None if asked else note
        if info.kind == "subtitle":
            converter = TextConverter(info, format)
            return (
                converter.info,
                converter,
                f"{name} becomes {converter.info.codec}, which is what {where} holds",
            )
    except (ValueError, FFmpegError) as error:
        why = reason(error) if why is None else why
    if asked:
        raise InputError(f"{name} cannot become {_LABELS[choice.codec]} ({why})")
    return None, None, f"{name} does not fit into {where} and is left out ({why})"
