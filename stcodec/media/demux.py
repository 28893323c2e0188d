"""A media file taken apart: decoded frames of its video, packets of the streams that are carried
along."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.error import ExitError, FFmpegError, InvalidDataError

from stcodec.common.files import stream_name
from stcodec.common.interrupts import check_interrupt
from stcodec.common.pipes import CountedReader, InterruptibleReader, ReadInterruptedError
from stcodec.common.sequences import find_sequence
from stcodec.common.tracks import TrackChoice
from stcodec.common.values import Attachment, LostNote, Packet, PathLike, StreamInfo
from stcodec.errors import InputError, UsageError
from stcodec.media.continuity import Continuity, DecodingOrder, has_any_clock, is_hidden
from stcodec.media.interleaving import Interleaving
from stcodec.media.live import Live, is_untimed
from stcodec.media.packets import cover, describe, is_cover, reason
from stcodec.media.selection import choose, tracks_of
from stcodec.media.shortfall import Skimmer
from stcodec.media.unreadable import why_unreadable, why_without_pictures

CARRY = ("all", "none")
"""Whether streams beside the video, chapters and attachments are read."""
# What MP4 takes for the length of a packet.
_LONGEST = (1 << 31) - 1
# Formats without time stamps.
_TIMELESS = {
    "image2",
    "image2pipe",
    "h264",
    "hevc",
    "vvc",
    "m4v",
    "mjpeg",
    "mpegvideo",
    "obu",
    "av1",
}


class Demuxer:
    """An open media file; `close` it.

    Takes: carry, of `CARRY`; rate: frames per second of a file without time stamps; fps: the same
    for want of it, which other files may be given, too; notes: a list for what a user should know;
    strict: whether a packet that cannot be decoded is an error, or noted and left out; tracks:
    which ones are wanted. InputError for anything that is no readable video, UsageError for a rate
    where the file has its own.

    Has: container, PyAV's; video, the stream that is coded; tracks, all that could be taken;
    streams, what is carried, and carried, their indices in the file; decoders, by number, of the
    sound among them that has no description; lost_sound, why other sound is left out; covers, those
    met so far; is_timeless, whether the file has no time stamps; is_untimed, whether those of a
    live source mean nothing; origin, the time in seconds that becomes zero; joined, whether a jump
    in the times has been met, so that what the file says of its length is no length; broken, why a
    live source has ended, if not by itself.
    """

    def __init__(
        self,
        source: PathLike | BinaryIO | CountedReader | Live,
        carry: str,
        rate: Fraction | None,
        notes: list[str],
        strict: bool = False,
        tracks: TrackChoice | None = None,
        fps: Fraction | None = None,
    ) -> None:
        self.name, self._notes, self._strict = _name(source), notes, strict
        self._skimmer = Skimmer()
        self._damage, self._indexed = _Damage(), 0
        self._piped = isinstance(source, CountedReader)
        self._live = source if isinstance(source, Live) else None
        self.container = _open(source, self.name, rate or fps, notes, self._skimmer)
        try:
            if strict and (short := self.shortfall):
                raise InputError(f"{self.name}: {short}")
            self.is_timeless = _is_timeless(self.container)
            self.is_untimed = self._live is not None and (
                self.is_timeless or is_untimed(self.container)
            )
            _check_rate(self.container, self.name, rate, fps, notes)
            choice = tracks or TrackChoice()
            self.tracks = tracks_of(self.container)
            self.video, carried = choose(self.container, self.name, choice, notes)
            _decode_in_order(self.video.codec_context, strict)
            self._everything = carry == "all"
            infos, self.lost_sound = _describe_all(carried if self._everything else [], notes)
        except BaseException:
            self.container.close()
            raise
        self.streams, self.carried = tuple(infos.values()), tuple(infos)
        self._numbers = {index: number for number, index in enumerate(infos)}
        self.decoders = {
            number: self.container.streams[index].codec_context
            for index, number in self._numbers.items()
            if not infos[index].extradata
        }
        self._covers: dict[int, Attachment] = {}
        self._order = DecodingOrder()
        # What FFmpeg makes of it is right in the order in which packets come, but for pictures that
        # were coded before those that are shown before them.
        self._knows_order_alone = self.container.format.name == "avi"
        self._has_gaps = has_any_clock(self.container)
        self._taken = [self.video, *(self.container.streams[i] for i in self._numbers)]
        self.origin = Fraction(0)
        self.joined = False
        self.broken: InputError | None = None

    @property
    def without_pictures(self) -> str:
        """Why no picture came out of it."""
        return why_without_pictures(self._skimmer.head, self._piped)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    @property
    def covers(self) -> tuple[Attachment, ...]:
        """Still pictures that stand for the whole; they come out of a file before all else."""
        return tuple(self._covers.values())

    def items(self) -> Iterator[Any]:
        """Decoded frames of the video and carried packets, as they come. What cannot be decoded is
        noted, or InputError where `strict`."""
        wanted = list(self._taken)
        if self._everything:
            videos = self.container.streams.video
            wanted += [s for s in videos if is_cover(s) and s is not self.video]
        rate = self.video.guessed_rate
        continuity = Continuity(self.container, Fraction(rate) if rate else None)
        order = Interleaving()
        for packet in self._packets(wanted):
            if not continuity.began and packet.pts is not None:
                self.origin = continuity.begin(self._taken, packet)
                if self.origin and not self._has_gaps:
                    said = f"its times begin at {float(self.origin):.3f} s, which becomes zero"
                    self._notes.append(said)
            continuity.mend(packet)
            if packet.stream.index != self.video.index:
                yield from order.aside(self._aside(packet))
                continue
            order.video(packet.pts)
            for frame in self._decoded(packet):
                yield from order.before(frame.pts)
                yield frame
        check_interrupt()  # one that PyAV has lost looks like the end, or like damage
        if self.broken is not None:
            with contextlib.suppress(FFmpegError):
                yield from self.video.codec_context.decode(None)
        yield from order.rest()
        self._indexed = max((e.pos + e.size for s in wanted for e in s.index_entries), default=0)
        self._notes += self._damage.notes(self.shortfall is not None)
        if continuity.jumps:
            self.joined = True
            self._notes.append("the times jump, as where recordings were joined: made continuous")
        if self._order.repaired:
            count = self._order.repaired
            what = "1 packet of sound was" if count == 1 else f"{count} packets of sound were"
            self._notes.append(f"{what} not later than the one before: their times were repaired")

    def _packets(self, wanted: list[Any]) -> Iterator[Any]:
        """Packets of the streams, up to what cannot be read."""
        packets = self.container.demux(wanted)
        while True:
            try:
                packet = next(packets, None)
            except ReadInterruptedError:
                raise KeyboardInterrupt from None
            except EOFError:
                return
            except InvalidDataError as error:
                if self._strict:
                    raise InputError(f"{self.name}: {reason(error)}") from error
                self._damage.unreadable = True
                return
            except (FFmpegError, OSError) as error:
                said = reason(error)
                if self._live is not None and isinstance(error, ExitError):
                    said = f"nothing has come for {self._live.timeout:g} s"
                failure = InputError(f"{self.name}: {said}")
                if self._live is None:
                    raise failure from error
                self.broken = failure
                return
            if packet is None:
                return
            yield packet

    def _decoded(self, packet: Any) -> list[Any]:
        """The frames that a packet of the video completes."""
        if not packet.size and (packet.pts, packet.dts) != (None, None):
            return []  # the picture before stands on, as Theora and screen codecs say it
        cut = packet.is_corrupt and not self._has_gaps
        try:
            frames = [] if cut else packet.decode()
        except ReadInterruptedError:
            raise KeyboardInterrupt from None
        except EOFError:
            return []
        except FFmpegError as error:
            self._damage.packets += 1
            if self._strict:
                raise self._undecodable(packet, reason(error)) from error
            return []
        if cut:
            self._damage.cut += 1
            if self._strict:
                raise self._undecodable(packet, "it is cut off")
        for frame in frames if self._knows_order_alone else []:
            frame.pts = frame.dts
        damaged = sum(frame.is_corrupt for frame in frames)
        self._damage.pictures += damaged
        if damaged and self._strict:
            raise self._undecodable(packet, "the picture is damaged")
        return list(frames)

    def _undecodable(self, packet: Any, why: str) -> InputError:
        """What cannot be decoded, where and why."""
        first = (packet.stream.start_time or 0) * packet.time_base - self.origin
        where = ""
        if packet.pts is not None:
            where = f" at {float(packet.pts * packet.time_base - first):.2f} s"
        return InputError(f"{self.name}: a video packet{where} cannot be decoded ({why})")

    @property
    def shortfall(self) -> str | None:
        """What the file promises and does not hold, as far as it has been read."""
        size = self.container.size
        beyond = self._indexed - size if size > 0 else 0
        missing = max(self._skimmer.missing, beyond)
        if missing <= 0:
            return None
        what = "1 byte is" if missing == 1 else f"{missing} bytes are"
        return f"is cut off: at least {what} missing"

    def _aside(self, packet: Any) -> Iterator[Packet]:
        """What becomes of a packet that is not the video's."""
        index = packet.stream.index
        if not packet.size or is_hidden(packet):
            return
        if index in self._numbers:
            yield self._plain(packet)
        elif index not in self._covers:
            self._covers[index] = cover(packet.stream, bytes(packet))

    def _plain(self, packet: Any) -> Packet:
        number = self._numbers[packet.stream.index]
        base = self.streams[number].time_base
        scale = Fraction(packet.time_base) / base if packet.time_base else Fraction(1)

        def rescale(value: int | None) -> int | None:
            return None if value is None else round(value * scale)

        info, length = self.streams[number], max(0, rescale(packet.duration) or 0)
        pts, dts = self._order.mend(number, info, rescale(packet.pts), rescale(packet.dts), length)
        return Packet(
            stream=number,
            pts=pts,
            dts=dts,
            duration=min(length, _LONGEST),
            keyframe=packet.is_keyframe,
            data=bytes(packet),
        )


@dataclass
class _Damage:
    """What could not be read. packets: of the video that cannot be decoded; cut: those that are
    not whole; pictures: decoded in part; unreadable: whether the file could not be read to its
    end."""

    packets: int = 0
    cut: int = 0
    pictures: int = 0
    unreadable: bool = False

    def notes(self, known: bool) -> list[str]:
        """Lines for a user. known: whether the file is known to be cut off, so that its last packet
        is no news."""
        said = []
        packets = self.packets + (0 if known else self.cut)
        if packets:
            what = "1 video packet" if packets == 1 else f"{packets} video packets"
            said.append(f"{what} cannot be decoded: the pictures are left out")
        if self.pictures:
            one = self.pictures == 1
            what = "1 picture is" if one else f"{self.pictures} pictures are"
            said.append(
                f"{what} damaged, and kept as far as {'it' if one else 'they'} can be decoded"
            )
        if self.unreadable and not known:
            said.append("what follows cannot be read, and is left out")
        return [f"{line} (--strict refuses such a file)" for line in said]


def _name(source: PathLike | BinaryIO | CountedReader | Live) -> str:
    if isinstance(source, Live):
        return source.name
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else stream_name(source)


def _open(
    source: PathLike | BinaryIO | CountedReader | Live,
    name: str,
    rate: Fraction | None,
    notes: list[str],
    skimmer: Skimmer,
) -> Any:
    """PyAV's container. InputError where FFmpeg cannot read the file."""
    if isinstance(source, Live):
        return source.open()
    options = {} if rate is None else {"framerate": f"{rate.numerator}/{rate.denominator}"}
    if isinstance(source, (str, os.PathLike)):
        # With the protocol before it, a name such as "concat:a" is still a name.
        file: Any = f"file:{name}"
        if (sequence := find_sequence(source)) is not None:
            options["start_number"] = str(sequence.first)
            if sequence.beyond:
                after = f"{sequence.beyond} pictures after it are left out"
                notes.append(LostNote(f"{sequence.missing} is missing: {after}"))
        elif os.path.isfile(source):
            with open(source, "rb") as stream:
                skimmer.skim(stream, os.path.getsize(source))
    elif isinstance(source, CountedReader) or not source.seekable():
        file = InterruptibleReader(source, skimmer.feed)
    else:
        file = InterruptibleReader(source)
        skimmer.skim(source, source.seek(0, os.SEEK_END))
        source.seek(0)
    try:
        return av.open(file, metadata_errors="replace", options=options)
    except ReadInterruptedError:
        raise KeyboardInterrupt from None
    except (FFmpegError, OSError, ValueError) as error:
        piped = isinstance(source, CountedReader)
        whole = piped or not isinstance(source, (str, os.PathLike)) or os.path.isfile(source)
        why = why_unreadable(skimmer.head, piped, skimmer.missing, error) if whole else None
        raise InputError(f"{name}: {why or reason(error)}") from error


def _decode_in_order(decoder: Any, strict: bool) -> None:
    """One thread. Those that decode a frame each tell of damage frames later, at the end not at
    all, and drop what the others have; those that decode a slice each repair damage by chance, or,
    of H.264, not at all and without a word. strict: what seems wrong, however little, is an error.
    """
    decoder.thread_type, decoder.thread_count = "NONE", 1
    if strict:
        decoder.options = {**decoder.options, "err_detect": "explode"}


def _is_timeless(container: Any) -> bool:
    form = container.format.name
    return form in _TIMELESS or form.endswith("_pipe")


def _check_rate(
    container: Any, name: str, rate: Fraction | None, fps: Fraction | None, notes: list[str]
) -> None:
    """UsageError for a rate where the file has its own time stamps."""
    if rate is not None and not _is_timeless(container):
        raise UsageError(
            f"{name}: has its own frame rate; --framerate is for image sequences and raw streams "
            "(--fps converts)"
        )
    sequence = container.format.name == "image2" and find_sequence(name) is not None
    if rate is None and fps is None and sequence:
        notes.append("taken as 25 frames/s, for want of --framerate")


def _describe_all(streams: list[Any], notes: list[str]) -> tuple[dict[int, StreamInfo], list[str]]:
    """Descriptions by the streams' indices, without extradata for sound that no format describes
    and that can be decoded. A note on any other stream that has none, and is left out; and those
    notes again that are of sound."""
    infos: dict[int, StreamInfo] = {}
    lost: list[str] = []
    for stream in streams:
        try:
            infos[stream.index] = describe(stream)
        except (FFmpegError, ValueError) as error:
            if stream.type == "audio" and stream.codec_context is not None:
                infos[stream.index] = describe(stream, undescribed=True)
                continue
            note = LostNote(f"{stream.type} stream {stream.index} left out ({reason(error)})")
            notes.append(note)
            lost += [note] if stream.type == "audio" else []
    return infos, lost
