"""Pictures into the groups that are coded together: segments at scene cuts, chunks of 8 or 16."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.codec.tree import LONGEST
from stcodec.common.timing import stage
from stcodec.common.values import Packet, Pause, Picture
from stcodec.container import records
from stcodec.encoder import tuning
from stcodec.encoder.encoder import ChunkEncoder, PreparedChunk
from stcodec.encoder.scene_cuts import SceneCutDetector
from stcodec.encoder.temporal_filter import AHEAD


@dataclass(frozen=True)
class Cut:
    """Pictures that are coded together, one chunk or two, and whether they start a segment. last:
    of a part, whether it is the last one; following: the pictures with which the segment goes on,
    as far as the encoder wants to know them; ends: whether a scene ends with it."""

    pictures: list[Picture]
    first: bool
    last: bool = True
    following: Sequence[Picture] = ()
    ends: bool = False

    def prepare(self, encoder: ChunkEncoder) -> list[PreparedChunk]:
        """What the encoder makes of it before it codes."""
        planes, following = ([p.planes for p in some] for some in (self.pictures, self.following))
        return encoder.prepare(planes, self.first, following, self.ends)

    def parts(self, chunks: Sequence[PreparedChunk]) -> Iterator[tuple[Cut, PreparedChunk]]:
        """The chunks that were made of it, each with its pictures."""
        at = 0
        for chunk in chunks:
            pictures = self.pictures[at : at + chunk.count]
            at += chunk.count
            yield Cut(pictures, chunk.first, at == len(self.pictures)), chunk

    def chunk(self, payload: bytes) -> records.VideoChunk:
        """The chunk of a file, with its payload."""
        pts = tuple(p.pts for p in self.pictures)
        durations = tuple(max(0, p.duration) for p in self.pictures)
        return records.VideoChunk(self.first, pts, durations, payload)


def chunks(items: Iterable[Picture | Packet | Pause]) -> Iterator[Cut | Packet | Pause]:
    """Group pictures that may become one chunk; a scene cut ends a group and starts a segment, and
    so does a GAP. Packets and WAIT pass through in between."""
    detector = SceneCutDetector()
    pictures: list[Picture] = []
    waiting: list[Cut | Packet] = []  # a group for what follows, and packets for that group
    in_segment = 0
    source = iter(items)
    while True:
        with stage("input"):
            item = next(source, None)
        if item is None:
            break
        if item is Pause.WAIT:
            yield item
            continue
        if isinstance(item, Pause):
            yield from _end(waiting, pictures, in_segment == 0)
            pictures, in_segment, detector = [], 0, SceneCutDetector()
            continue
        if isinstance(item, Packet):
            if waiting:
                waiting.append(item)
            else:
                yield item
            continue
        if detector.is_cut(item.planes[0]) and (pictures or in_segment):
            yield from _end(waiting, pictures, in_segment == 0)
            pictures, in_segment = [], 0
        pictures.append(item)
        if len(pictures) == AHEAD:
            yield from _complete(waiting, pictures)
        # The first chunk of a segment is a short one.
        most = min(LONGEST, tuning.MAX_SEGMENT - in_segment) if in_segment else CHUNK_FRAMES
        if len(pictures) == most:
            waiting.append(Cut(pictures, in_segment == 0))
            pictures, in_segment = [], (in_segment + most) % tuning.MAX_SEGMENT
            if not in_segment:
                yield from _complete(waiting, ())
    yield from _end(waiting, pictures, in_segment == 0)


def _end(
    waiting: list[Cut | Packet], pictures: list[Picture], first: bool
) -> Iterator[Cut | Packet]:
    """What waits, and the last pictures of a scene, if there are more."""
    yield from _complete(waiting, pictures, ends=not pictures)
    if pictures:
        yield Cut(pictures, first, ends=True)


def _complete(
    waiting: list[Cut | Packet], following: Sequence[Picture], ends: bool = False
) -> Iterator[Cut | Packet]:
    """A group that waits for the pictures after it, with these, and what has come since; no more
    waits then. ends: whether the scene does."""
    for item in waiting:
        if isinstance(item, Cut):
            item = dataclasses.replace(item, following=tuple(following[:AHEAD]), ends=ends)
        yield item
    waiting.clear()
