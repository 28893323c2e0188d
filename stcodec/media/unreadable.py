"""Why a file is no video that can be read, by its first bytes; and what to do next."""

from __future__ import annotations

import re

from av.error import InvalidDataError

from stcodec.container.stp import SIGNATURE
from stcodec.media.shortfall import KEPT

INDEX_IN_FRONT = (
    "a pipe needs it in front, as `ffmpeg -i IN -c copy -movflags faststart OUT.mp4` puts it"
)
"""What to do about an MP4 whose index comes last."""
_MOVES = 2  # a flag of WebP
_NOTHING = ("is empty", "nothing came")
_BOX = re.compile(rb".{4}(ftyp|mdat|wide|moov|moof|styp|free|skip)", re.DOTALL)


def why_without_pictures(head: bytes, piped: bool) -> str:
    """In a few words, of a file whose first bytes are `head`."""
    if not head:
        return _NOTHING[piped]
    if piped and _BOX.match(head):
        return f"its index (moov atom) comes behind the pictures: {INDEX_IN_FRONT}"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & _MOVES:
        return (
            "it is an animated WebP, which FFmpeg's libraries here do not decode: convert it to "
            "GIF or APNG"
        )
    return "no picture can be decoded"


def why_unreadable(
    head: bytes, piped: bool, missing: int, error: BaseException | None = None
) -> str | None:
    """In a few words; None where neither its first bytes, `head`, nor FFmpeg's `error` say it.
    missing: bytes by which the file is known to be too short."""
    if not head:
        return _NOTHING[piped]
    if head.startswith(SIGNATURE):
        return "is a .stp file already: `stcodec decode` makes a video of it"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<MPD\b", text, re.DOTALL):
        return (
            "is a DASH manifest, which names videos and is none: give the videos themselves, or "
            "have `ffmpeg -i` read it into one file"
        )
    if re.match(rb"(<\?xml[^>]*>\s*)?<(!doctype html|html)\b", text, re.IGNORECASE | re.DOTALL):
        return "is a page of HTML and no video: was a link saved instead of what it leads to?"
    if _BOX.match(head):
        short = f", and at least {missing} bytes are missing" if missing else ""
        if piped:
            return (
                f"its index (moov atom) is missing or behind the pictures{short}: {INDEX_IN_FRONT}"
            )
        return (
            f"its index (moov atom) is missing or damaged{short}: a recording that was cut off "
            "before it was complete; nothing can be read without the index, which tools such as "
            "untrunc rebuild from another recording of the same camera"
        )
    if isinstance(error, InvalidDataError):
        return "is no media file that can be read"
    # FFmpeg says this in words of its own in each format: an end, an argument, even a failing disk.
    if isinstance(error, EOFError) or missing or len(head) < KEPT:
        return "ends before its first picture: it was cut off, or is still being written"
    return None
