"""Addresses of streams, and what of them may be shown."""

from __future__ import annotations

import re

# With two letters at least: C: is a drive.
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
# Also one whose password has a slash, which is no address that works.
_USER = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#:]*:(?!\d*/)[^?]*@)")
# In a query, or in a path, as some cameras want it: /user=a_password=b_channel=1.
_WORDS = "pass|pwd|psw|token|secret|auth|signature|credential|session"
_SECRET = re.compile(
    rf"([^=&;/?#_]*(?:(?:{_WORDS})[^=&;/?#_]*|key|sig)=).*?(?=_[a-z]+=|&|$)",
    re.IGNORECASE | re.DOTALL,
)


def is_address(text: str) -> bool:
    """Whether this is the address of something, as https://example.org/film.mp4."""
    return _ADDRESS.match(text) is not None


def without_secrets(address: str) -> str:
    """An address without a user's name and password, and with `***` for whatever in it is called a
    password, key or token; rather too much than too little. Other text as it is."""
    return _SECRET.sub(r"\1***", _USER.sub("", address)) if is_address(address) else address
