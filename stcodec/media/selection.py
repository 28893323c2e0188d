"""Which streams of a file are taken: the pictures, and what is carried beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from av.stream import Discard, Disposition

from stcodec.common.languages import language_code
from stcodec.common.tracks import KINDS, TrackChoice
from stcodec.common.values import LostNote
from stcodec.errors import InputError, UsageError
from stcodec.media.packets import coding, dispositions, is_cover

# Any text file passes for a picture of a text terminal.
_NO_VIDEO_FORMATS = {"tty"}
_LABELS = {"video": "video", "audio": "audio", "subtitle": "subtitles", "data": "data"}


@dataclass(frozen=True)
class Track:
    """A stream of a file, as a user names it. kind: one of KINDS; number: from 0, within its
    kind."""

    kind: str
    number: int
    stream: Any

    @property
    def language(self) -> str | None:
        """Its code, as the file has it."""
        found = self.stream.metadata.get("language")
        return found if found and found != "und" else None

    def __str__(self) -> str:
        """Such as `audio 1 (ac3, ger, "Commentary", comment)`."""
        context, tags = self.stream.codec_context, self.stream.metadata
        about = [coding(context) if context is not None else "unknown"]
        if self.kind == "video" and context is not None:
            about.append(f"{context.width}x{context.height}")
        about += [self.language] if self.language else []
        about += [f'"{tags["title"]}"'] if tags.get("title") else []
        about += dispositions(self.stream.disposition)
        return f"{_LABELS[self.kind]} {self.number} ({', '.join(about)})"

    def fits(self, word: str) -> bool:
        """Whether a word of a `TrackChoice` means it."""
        if word.isdecimal():
            return int(word) == self.number
        if word in ("all", "none"):
            return word == "all"
        if word in Disposition.__members__:
            return bool(self.stream.disposition & Disposition[word])
        return self.language is not None and language_code(self.language) == language_code(word)


def tracks_of(container: Any) -> list[Track]:
    """All streams that can be coded or carried, in the order of the file; covers are none."""
    counts = dict.fromkeys(KINDS, 0)
    found = []
    for stream in container.streams:
        # What the demuxer itself discards are the titles of chapters, as text. A time code is in
        # the video's metadata too.
        timecode = stream.type == "data" and "timecode" in stream.metadata
        twice = stream.type != "video" and (stream.discard == Discard.all or timecode)
        if stream.type not in KINDS or is_cover(stream) or twice:
            continue
        found.append(Track(stream.type, counts[stream.type], stream))
        counts[stream.type] += 1
    return found


def choose(
    container: Any, name: str, choice: TrackChoice, notes: list[str]
) -> tuple[Any, list[Any]]:
    """The video stream to code, and the streams to carry. Adds to the notes. InputError where there
    is no video, UsageError where there is not what is wanted."""
    if container.format.name in _NO_VIDEO_FORMATS:
        raise InputError(f"{name}: is no media file")
    tracks = tracks_of(container)
    videos = [t for t in tracks if t.kind == "video"]
    if not videos:
        alone = " beside a cover" if container.streams.video else ""
        raise InputError(f"{name}: holds no video{alone}")
    video = _video(videos, _wanted(name, tracks, "video", choice), notes)
    if video.stream.codec_context is None:
        what = container.format.long_name or container.format.name
        raise InputError(
            f"{name}: no decoder for its pictures is here ({what}): convert it to another format"
        )
    carried: list[Track] = []
    left: list[Track] = []
    for kind in KINDS[1:]:
        wanted = _wanted(name, tracks, kind, choice)
        for track in (t for t in tracks if t.kind == kind):
            taken = wanted is None or track in wanted
            (carried if taken else left).append(track)
    if left:
        notes.append(LostNote(f"left out, as asked: {_list(left)}"))
    return video.stream, [t.stream for t in tracks if t in carried]


def _video(videos: Sequence[Track], wanted: Sequence[Track] | None, notes: list[str]) -> Track:
    marked = [t for t in videos if t.stream.disposition & Disposition.default]
    chosen = (wanted or _moving(marked) or videos)[0]
    if len(videos) > 1:
        others = _list([t for t in videos if t is not chosen])
        hint = "" if wanted else "; --video-track chooses another"
        note = f"of several video streams {chosen} is coded, left out: {others}{hint}"
        notes.append(LostNote(note))
    return chosen


def _moving(marked: Sequence[Track]) -> Sequence[Track]:
    """Without the pictures that stand for the sequence beside them, as in an animated AVIF."""
    many = [t for t in marked if t.stream.frames > 1]
    known = all(t.stream.frames for t in marked)
    return many if many and known else marked


def _wanted(
    name: str, tracks: Sequence[Track], kind: str, choice: TrackChoice
) -> list[Track] | None:
    """The tracks of a kind that are wanted, in the order of the file; None: what is usual."""
    words = choice.of(kind)
    if words is None:
        return None
    there = [t for t in tracks if t.kind == kind]
    for word in words:
        needed = word not in ("all", "none") and not word.endswith("?")
        if needed and not any(t.fits(word) for t in there):
            raise UsageError(
                f"{name}: has no {_LABELS[kind]} track {word!r}; it has {_list(tracks)}"
            )
    return [t for t in there if any(t.fits(word.removesuffix("?")) for word in words)]


def _list(tracks: Sequence[Track]) -> str:
    return ", ".join(map(str, tracks))
