"""What is said of a recording, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stcodec.terminal import watching
from stcodec.terminal.report import Reporter, human_size, say
from stcodec.terminal.streams import printable

if TYPE_CHECKING:
    from stcodec.flows.record import (
        Changed,
        Finished,
        LeftOut,
        RecordResult,
        Removed,
        Written,
    )
    from stcodec.flows.watch import Seen


class Recording:
    """Tells of the recording of a source (see `Live.name`). events: whether what happens is
    printed."""

    def __init__(self, said: Reporter, source: str, events: bool) -> None:
        self._said, self._source, self._events = said, source, events

    def tell(self, news: Any) -> None:
        """Say what is new; nothing of kinds that it does not know."""
        by_kind: dict[str, Callable[[Any], None]] = {
            "Written": self._written,
            "Removed": self._removed,
            "Finished": self._finished,
            "Changed": self._changed,
            "LeftOut": self._left_out,
            "Lost": self._lost,
            "Back": self._back,
            "Seen": self._seen,
            "RecordResult": self._recorded,
            "str": self.note,
        }
        told = by_kind.get(type(news).__name__)
        if told is not None:
            told(news)

    def note(self, line: str) -> None:
        """Something a user should know."""
        named = line.startswith(self._source) or line.startswith("--")
        self._said.note(line if named else f"{self._source}: {line}")

    def _written(self, news: Written) -> None:
        self._said.event(
            "written",
            input=self._source,
            output=str(news.path),
            frames=news.frames,
            duration=round(news.seconds, 6),
            output_bytes=news.bytes,
        )
        self._said.result(
            f"{printable(str(news.path))}: {news.frames} frames, {news.seconds:.1f} s, "
            f"{human_size(news.bytes)}"
        )

    def _removed(self, news: Removed) -> None:
        self._said.event("removed", output=str(news.path))
        self._said.result(f"{printable(str(news.path))}: removed, as --keep says")

    def _finished(self, news: Finished) -> None:
        self._said.event("finished", output=str(news.path), frames=news.frames)
        self._said.note(
            f"{news.path}: an earlier recording had broken off; made complete, {news.frames} frames"
        )

    def _changed(self, news: Changed) -> None:
        level = news.level
        self._said.event(
            "changed",
            input=self._source,
            effort=level.effort,
            quality=level.quality,
            share=f"1/{level.nth}",
            lag=round(news.lag, 3),
        )
        self.note(f"{news.lag:.1f} s behind; from now on {level}")

    def _left_out(self, news: LeftOut) -> None:
        self._said.event("left_out", input=self._source, frames=news.frames)
        what = "1 picture was" if news.frames == 1 else f"{news.frames} pictures were"
        self.note(f"{what} left out: coding does not keep up")

    def _lost(self, news: Any) -> None:
        self._said.event("lost", input=self._source, message=news.reason)
        self.note(f"{news.reason}; trying again until it is back")

    def _back(self, news: Any) -> None:
        self._said.event("back", input=self._source, seconds=round(news.seconds, 3))
        self.note(f"is back after {news.seconds:.1f} s: a gap in the recording")

    def _seen(self, news: Seen) -> None:
        if not self._events:
            return
        if news.over:
            watching.found(self._said, str(news.path), news.event)
            return
        self._said.event(
            "happens",
            input=str(news.path),
            start=round(news.event.start, 6),
            box=list(news.event.box),
        )
        if not self._said.as_json:
            say(f"{printable(str(news.path))}: something happens, from {news.event.start:.3f} s")

    def _recorded(self, news: RecordResult) -> None:
        self._said.event(
            "recorded",
            input=self._source,
            files=news.files,
            frames=news.frames,
            left_out=news.left_out,
            duration=round(news.seconds, 6),
        )
