"""What has been read of a `.stp` file, against what its end says: a section that was lost, doubled
or moved has a CRC that holds, and shows here."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import NoReturn

from stcodec.common.values import Packet, StreamInfo
from stcodec.container.records import Footer, Index, VideoChunk
from stcodec.errors import DamagedFileError


class _Stream:
    """The packets of a carried stream that have been read: their bytes; of sound also their order,
    and where the first one is missing, in units of its time base (None: before any)."""

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.bytes = 0
        self.missing: int | None = None
        self._last: int | None = None
        self._gap = False

    def add(self, packet: Packet, size: int) -> int | None:
        """A PCKT section of `size` bytes. Sound that is earlier than what stands before it was
        moved: its time is returned."""
        self.bytes += size
        time = packet.pts if packet.dts is None else packet.dts
        if self.info.kind != "audio" or time is None:
            return None
        if self._last is not None and time < self._last:
            return time
        self._last = time
        if self.missing is not None and time > self.missing + packet.duration // 2:
            self._gap = True
        if not self._gap:
            self.missing = time + packet.duration
        return None


class Tally:
    """Counts what is read from the start of a file, or from the start of a segment that the index
    names, and says where that contradicts the index or the footer (DamagedFileError, with bytes and
    seconds after the first picture). base: seconds per unit of the chunks' times; streams: what is
    carried.
    """

    def __init__(self, base: Fraction, streams: Sequence[StreamInfo]) -> None:
        self._base = base
        self._known: frozenset[tuple[int, int, int]] = frozenset()
        self._origin: int | None = None
        self._streams = [_Stream(info) for info in streams]
        self._begin(whole=True, frames=0)

    def _begin(self, whole: bool, frames: int | None) -> None:
        self._whole = whole
        self._frames = frames
        self._chunks = self._video_bytes = 0
        self._streams = [_Stream(stream.info) for stream in self._streams]
        self._segments: list[tuple[int, int, int]] = []
        self._last: int | None = None
        self._until: int | None = None

    def moved(self, offset: int, first: int) -> None:
        """Reading goes on at `offset`; `first`: that of the first chunk or packet of the file."""
        if offset == first:
            self._begin(whole=True, frames=0)
            return
        known = {o: n for o, _, n in self._known}
        self._begin(whole=False, frames=known.get(offset))

    def know(self, index: Index) -> None:
        """The index has been read ahead."""
        self._known = frozenset(index.segments)
        self._begin_at(index)

    def _begin_at(self, index: Index) -> None:
        if index.segments:
            self._origin = index.segments[0][1]

    def time(self) -> str:
        """Where the last chunk ends, as it is said behind a place; nothing where that is not
        known."""
        return "" if self._until is None else self._said(self._until * self._base)

    def time_of(self, chunk: VideoChunk) -> str:
        """As `time`, of the first picture of a chunk."""
        return self._said(chunk.pts[0] * self._base)

    def _said(self, time: Fraction, more: str = "") -> str:
        """A time on the time line of the file, in seconds, in words; `more`: after those."""
        if self._origin is None:
            return ""
        return f" ({float(time - self._origin * self._base):.3f} s{more})"

    def chunk(self, chunk: VideoChunk, offset: int, size: int, number: int) -> None:
        """A CHNK section of `size` bytes, the one with this number in what is read."""
        if self._origin is None and self._whole and not self._chunks:
            self._origin = chunk.pts[0]
        place = f"chunk {number} at byte {offset}{self.time_of(chunk)}"
        if self._last is not None and chunk.pts[0] <= self._last:
            raise DamagedFileError(f"{place} is not later than the one before it")
        self._last, self._until = chunk.pts[-1], chunk.pts[-1] + chunk.durations[-1]
        if chunk.first and self._frames is not None:
            segment = offset, chunk.pts[0], self._frames
            if self._known and segment not in self._known:
                raise DamagedFileError(f"{place}: the index knows of no such segment")
            self._segments.append(segment)
        self._chunks += 1
        self._video_bytes += size
        if self._frames is not None:
            self._frames += len(chunk.pts)

    def packet(self, packet: Packet, offset: int, size: int) -> None:
        """A PCKT section of `size` bytes."""
        stream = self._streams[packet.stream]
        earlier = stream.add(packet, size)
        if earlier is not None:
            time = self._said(earlier * stream.info.time_base)
            raise DamagedFileError(
                f"a packet of stream {packet.stream} at byte {offset}{time} is not in its place"
            )

    def end(self, footer: Footer, index_offset: int, index: Index) -> None:
        """The index has been read, too, which stands at `index_offset`."""
        at = index_offset
        if self._frames is not None and self._frames != footer.frames:
            what = f"there are {self._frames} pictures"
            _wrong(at, what, footer.frames, self._differing(index))
        if self._whole:
            self._end_of_all(footer, at, index)
        if footer.index_offset != at:
            _wrong(at, f"the index is at byte {at}", footer.index_offset)

    def _end_of_all(self, footer: Footer, at: int, index: Index) -> None:
        """The file has been read from its start."""
        since = self._differing(index)
        if self._chunks != footer.chunks:
            _wrong(at, f"there are {self._chunks} chunks", footer.chunks, since)
        if self._video_bytes != footer.video_bytes:
            what = f"the chunks have {self._video_bytes} bytes"
            _wrong(at, what, footer.video_bytes, since)
        if tuple(self._segments) != index.segments:
            _wrong(at, f"the segments are not where it says{since}")
        for number, stream in enumerate(self._streams):
            said = index.stream_bytes[number] if number < len(index.stream_bytes) else 0
            if stream.bytes != said:
                what = f"the packets of stream {number} have {stream.bytes} bytes"
                missing = stream.missing if stream.bytes < said else None
                base = stream.info.time_base
                _wrong(at, what, said, "" if missing is None else self._said(missing * base, " on"))

    def _differing(self, index: Index) -> str:
        """From where on what was read may differ from what the index says."""
        self._begin_at(index)
        start = None
        for said, own in itertools.zip_longest(index.segments, self._segments):
            if said is None or own is None or own[0] != said[0]:
                break  # something before it is missing, or too much
            start = said[1]
            if own != said:
                break
        return "" if start is None else self._said(start * self._base, " on")


def _wrong(offset: int, what: str, said: int | None = None, time: str = "") -> NoReturn:
    """DamagedFileError; `what` was found before byte `offset`, `said` is what the end says, `time`
    from when on."""
    more = "" if said is None else f", not {said}"
    raise DamagedFileError(
        f"the end of the file (byte {offset}) contradicts it: {what}{more}{time}"
    )
