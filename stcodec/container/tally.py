"""What has been read of a `.stp` file, against what its end says: a section that was lost, doubled
or moved has a CRC that holds, and shows here."""

from __future__ import annotations

from typing import NoReturn

from stcodec.common.values import Packet
from stcodec.container.records import Footer, Index, VideoChunk
from stcodec.errors import DamagedFileError


class Tally:
    """Counts what is read from the start of a file, or from the start of a segment that the index
    names, and says where that contradicts the index or the footer (DamagedFileError). streams: how
    many are carried.
    """

    def __init__(self, streams: int) -> None:
        self._known: frozenset[tuple[int, int, int]] = frozenset()
        self._stream_bytes = [0] * streams
        self._begin(whole=True, frames=0)

    def _begin(self, whole: bool, frames: int | None) -> None:
        self._whole = whole
        self._frames = frames
        self._chunks = self._video_bytes = 0
        self._stream_bytes = [0] * len(self._stream_bytes)
        self._segments: list[tuple[int, int, int]] = []
        self._last: int | None = None

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

    def chunk(self, chunk: VideoChunk, offset: int, size: int, number: int) -> None:
        """A CHNK section of `size` bytes, the one with this number in what is read."""
        place = f"chunk {number} at byte {offset}"
        if self._last is not None and chunk.pts[0] <= self._last:
            raise DamagedFileError(f"{place} is not later than the one before it")
        self._last = chunk.pts[-1]
        if chunk.first and self._frames is not None:
            segment = offset, chunk.pts[0], self._frames
            if self._known and segment not in self._known:
                raise DamagedFileError(f"{place}: the index knows of no such segment")
            self._segments.append(segment)
        self._chunks += 1
        self._video_bytes += size
        if self._frames is not None:
            self._frames += len(chunk.pts)

    def packet(self, packet: Packet, size: int) -> None:
        """A PCKT section of `size` bytes."""
        self._stream_bytes[packet.stream] += size

    def place(self, footer: Footer, index_offset: int) -> None:
        """The footer has been read, and where the index stands."""
        if footer.index_offset != index_offset:
            _wrong(index_offset, f"the index is at byte {index_offset}", footer.index_offset)

    def end(self, footer: Footer, index_offset: int, index: Index) -> None:
        """The index has been read, too, which stands at `index_offset`."""
        if self._frames is not None and self._frames != footer.frames:
            _wrong(index_offset, f"there are {self._frames} pictures", footer.frames)
        if not self._whole:
            return
        if self._chunks != footer.chunks:
            _wrong(index_offset, f"there are {self._chunks} chunks", footer.chunks)
        if self._video_bytes != footer.video_bytes:
            what = f"the chunks have {self._video_bytes} bytes"
            _wrong(index_offset, what, footer.video_bytes)
        if tuple(self._segments) != index.segments:
            _wrong(index_offset, "the segments are not where it says")
        for number, size in enumerate(self._stream_bytes):
            said = index.stream_bytes[number] if number < len(index.stream_bytes) else 0
            if size != said:
                _wrong(index_offset, f"the packets of stream {number} have {size} bytes", said)


def _wrong(offset: int, what: str, said: int | None = None) -> NoReturn:
    """DamagedFileError; `what` was found before byte `offset`, `said` is what the end says."""
    more = "" if said is None else f", not {said}"
    raise DamagedFileError(f"the end of the file (byte {offset}) contradicts it: {what}{more}")
