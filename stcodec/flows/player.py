"""The page that plays a stream: what it says of the file, and its text."""

from __future__ import annotations

import html
import importlib.resources
import os
import string

from stcodec.flows.inspect import FileInfo

# Pictures per second where a file does not say: only single pictures are counted by them.
_RATE = 25.0


def page(path: str, found: FileInfo | None, duration: float, nonce: str) -> str:
    """The HTML. found: what is in the file, if that can be read; duration: seconds that can be
    played, 0 where no other place can be gone to."""
    text = (
        importlib.resources.files("stcodec.flows")
        .joinpath("player.html")
        .read_text(encoding="utf-8")
    )
    shown = facts(found) if found is not None else [("file", "damaged")]
    rows = [f"<dt>{html.escape(name)}<dd>{html.escape(value)}" for name, value in shown]
    rate = (found.frame_rate if found is not None else 0.0) or _RATE
    return string.Template(text).substitute(
        title=html.escape(os.path.basename(path)),
        nonce=nonce,
        duration=f"{duration:.3f}",
        rate=f"{rate:.6g}",
        facts="\n    ".join(rows),
    )


def facts(found: FileInfo) -> list[tuple[str, str]]:
    """What a viewer may want to know of a file, by name."""
    size = found.bytes / 1e6
    rows = [
        ("pictures", f"{found.width} x {found.height}, {found.bit_depth} bits"),
        ("length", f"{found.duration:.2f} s, {found.frames} pictures, {found.frame_rate:.5g}/s"),
        ("size", f"{size:.2f} MB, {found.bit_rate / 1000:.0f} kbit/s"),
        ("coded", f"model {found.model}, quality {found.quality}"),
    ]
    for number, stream in enumerate(s for s in found.streams if s["kind"] == "audio"):
        known = [stream["metadata"].get(name, "") for name in ("language", "title")]
        silent = "" if number == 0 else " (not played)"
        rows.append(("sound", ", ".join(filter(None, [stream["codec"], *known])) + silent))
    title = found.metadata.get("title")
    return [("title", title), *rows] if title else rows
