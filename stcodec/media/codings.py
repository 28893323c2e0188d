"""What FFmpeg calls a coding, where all that is known is the decoder that has read it: `mp3float`
reads `mp3`, `dca` reads `dts`, `libdav1d` reads `av1`."""

from __future__ import annotations

import functools

import av
from av.codec.codec import UnknownCodecError


@functools.cache
def coding(name: str) -> str:
    """The coding of sound or pictures by the name of a decoder; any other name as it is."""
    try:
        decoder = av.codec.Codec(name, "r")
    except (UnknownCodecError, ValueError):
        return name
    # The short names of subtitles, `srt` and `ssa`, are the ones that people know.
    return str(decoder.canonical_name) if decoder.type in ("audio", "video") else name
