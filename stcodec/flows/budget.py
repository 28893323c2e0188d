"""How large the pictures of a file may be: decoding takes memory for each pixel, and a header of a
few bytes can claim any number of them."""

from __future__ import annotations

from stcodec.container.records import Header
from stcodec.errors import InputError

_MEMORY = 300
"""Bytes that decoding takes for a pixel, roughly."""
_FREE_PIXELS = 4096 * 2304
"""What any file may have: 4K."""
_PIXELS_PER_BYTE = 256
"""What a larger file may have beyond that. Real pictures have a few pixels for a byte."""


def check_pixels(header: Header, size: int | None, most: int | None = None) -> None:
    """InputError where the pictures of a file of `size` bytes (None: not known) are out of
    proportion to it, or have more than `most` pixels, where that is said."""
    pixels = header.width * header.height
    allowed = max(_FREE_PIXELS, _PIXELS_PER_BYTE * (size or 0)) if most is None else most
    if pixels <= allowed:
        return
    held = "" if size is None or most is not None else f", more than {size} bytes should hold"
    raise InputError(
        f"pictures of {header.width}x{header.height} take about {pixels * _MEMORY / 1e9:.1f} GB "
        f"of memory{held} (--max-pixels {pixels} decodes them)"
    )
