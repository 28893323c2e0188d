"""How far a command is, for people on stderr, and as JSON events."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stcodec.terminal.report import Reporter, tell
from stcodec.terminal.streams import printable

if TYPE_CHECKING:
    from stcodec.common.values import Progress

PROGRESS = ("auto", "bar", "lines", "none")
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_EVENTS = 0.5


class ProgressReport:
    """How far something is, on stderr. A context manager.

    mode: "bar"; "lines", one every few seconds and one at the end; "none"; or "auto", which is a
    bar on a terminal and lines elsewhere. Nothing when quiet. A bar has no colour, and is made of
    plain characters where NO_COLOR is set. events: fields of JSON events that say the same, at most
    two a second, unless mode is "none"; without them there are no events.
    """

    def __init__(
        self,
        label: str,
        said: Reporter,
        mode: str = "auto",
        events: Mapping[str, str] | None = None,
    ) -> None:
        self._label, self._mode = printable(label), "none" if said.quiet else mode
        self._at_end = mode == "lines"
        self._said = said
        self._events = events if self._mode != "none" else None
        if self._mode == "auto":
            self._mode = "bar" if sys.stderr.isatty() else "lines"
        self._seen: Progress | None = None
        # Frames and time at the first news: what came before it is no measure of speed.
        self._first = (0, 0.0)
        self._last = self._last_event = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._mode == "lines" and self._at_end and self._seen is not None and kind is None:
            self._line(self._seen)

    def update(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._seen is None or progress.frames < self._seen.frames:
            self._first = (progress.frames, now)
        self._seen = progress
        if self._events is not None and now - self._last_event >= _SECONDS_BETWEEN_EVENTS:
            self._last_event = now
            self._said.event(
                "progress", **self._events, frames=progress.frames, total=progress.total
            )
        if self._mode == "bar":
            if self._bar is None:
                from tqdm import tqdm

                plain = bool(os.environ.get("NO_COLOR"))
                self._bar = tqdm(
                    total=progress.total,
                    unit=" frames",
                    desc=self._label,
                    leave=False,
                    dynamic_ncols=True,
                    ascii=plain or None,
                )
            if progress.total is not None and progress.frames > progress.total:
                self._bar.total = None
            self._bar.update(progress.frames - self._bar.n)
            return
        if self._mode == "lines" and now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            self._line(progress)

    def _line(self, progress: Progress) -> None:
        frames, since = self._first
        rate = (progress.frames - frames) / max(1e-9, time.monotonic() - since)
        of = f"/{progress.total}" if progress.total else ""
        text = f"{self._label}: {progress.frames}{of} frames"
        if rate > 0:
            text += f", {rate:.1f} frames/s"
            if progress.total:
                text += f", {max(0, progress.total - progress.frames) / rate:.0f} s left"
        tell(text)
