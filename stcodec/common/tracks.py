"""Which tracks of a file are wanted, as a user says it: `video:0,audio:eng,subtitles:none`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stcodec.errors import UsageError

KINDS = ("video", "audio", "subtitle", "data")
"""What a track may be."""
_NAMES = {
    **{"video": "video", "v": "video", "audio": "audio", "sound": "audio", "a": "audio"},
    **dict.fromkeys(("subtitle", "subtitles", "subs", "sub", "text", "s"), "subtitle"),
    **{"data": "data", "d": "data"},
}
_EXAMPLE = "such as video:0,audio:eng,subtitles:none"


@dataclass(frozen=True)
class TrackChoice:
    """What is wanted of each kind: numbers from 0, languages, dispositions such as "forced", "all"
    or "none", in lower case; with "?" behind it, what need not be there. None: what is usual, which
    is one video, and all of every other kind."""

    video: tuple[str, ...] | None = None
    audio: tuple[str, ...] | None = None
    subtitle: tuple[str, ...] | None = None
    data: tuple[str, ...] | None = None

    def of(self, kind: str) -> tuple[str, ...] | None:
        """What is wanted of a kind."""
        wanted: tuple[str, ...] | None = getattr(self, kind)
        return wanted


def parse_tracks(tracks: str | None, **kinds: str | None) -> TrackChoice:
    """From text for all kinds, and texts such as `1,ger` for single ones. UsageError where it makes
    no sense."""
    wanted: dict[str, list[str]] = {}
    if tracks is not None:
        _collect(tracks, wanted)
    for kind, text in kinds.items():
        if text is None:
            continue
        if kind in wanted:
            raise UsageError(f"--tracks says already which {kind} is wanted")
        wanted[kind] = _words(text)
    return TrackChoice(**{kind: tuple(words) for kind, words in _checked(wanted).items()})


def _collect(tracks: str, wanted: dict[str, list[str]]) -> None:
    kind = ""
    for item in tracks.split(","):
        name, sign, rest = item.partition(":") if ":" in item else item.partition("=")
        name = name.strip().lower()
        if sign and name not in _NAMES:
            raise UsageError(f"{name!r} is no kind of track: video, audio, subtitles or data")
        if sign or name in _NAMES:
            kind, item = _NAMES[name], rest if sign else "all"
        if not kind:
            raise UsageError(f"tracks need their kind before a colon, {_EXAMPLE}, not {tracks!r}")
        wanted.setdefault(kind, []).extend(_words(item))


def _words(text: str) -> list[str]:
    words = [w.strip().lower() for w in re.split(r"[,+]", text) if w.strip()]
    if not words:
        raise UsageError(f"{text!r} names no track: a number from 0, a language, all or none")
    return words


def _checked(wanted: Mapping[str, list[str]]) -> Mapping[str, list[str]]:
    for kind, words in wanted.items():
        if "none" in words and len(words) > 1:
            raise UsageError(f"{kind}: none and {words[words[0] == 'none']} exclude each other")
    if any(word in ("none", "all") for word in wanted.get("video", [])):
        raise UsageError("one video track is coded: name its number, such as video:0")
    return wanted
