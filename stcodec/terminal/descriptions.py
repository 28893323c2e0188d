"""What is said of a video that is not coded yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stcodec.terminal.report import Reporter, human_size, say
from stcodec.terminal.streams import printable

if TYPE_CHECKING:
    from stcodec.media.description import Description, TrackDescription


def described(said: Reporter, found: Description) -> None:
    """What a media file is, and what `encode` would make of it."""
    if said.as_json:
        said.event("described", **found.as_dict())
        return
    about = [] if found.bytes is None else [human_size(found.bytes)]
    about += [] if found.duration is None else [f"{found.duration:.3f} s"]
    about += [] if found.bit_rate is None else [f"{found.bit_rate / 1000:.0f} kbit/s"]
    rows = [("file", f"{found.path} ({', '.join(about)})"), ("format", found.format)]
    rows += [(f"{t.kind} {t.number}", _track(t)) for t in found.tracks]
    rows += [("chapters", str(found.chapters))] if found.chapters else []
    rows += [("attachment", name) for name in found.attachments]
    rows += [(f"  {key}", value) for key, value in found.metadata.items()]
    for name, lines in (
        ("keeps", found.keeps),
        ("converts", found.converts),
        ("loses", found.loses),
        ("note", found.remarks),
    ):
        rows += [(name, line) for line in lines]
    for name, value in rows:
        say(f"{printable(name):<11} {printable(value)}")


def _track(track: TrackDescription) -> str:
    words = [*track.details]
    words += [track.language] if track.language else []
    words += [f'"{track.title}"'] if track.title else []
    return f"{', '.join([*words, *track.disposition])}: {track.fate}"
