"""A batch as it is shown: what it would do, or what it does while it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from stcodec.batch import messages
from stcodec.batch.pool import Pool
from stcodec.batch.run import Batch, Event
from stcodec.errors import StcodecError
from stcodec.terminal.report import Reporter, tell
from stcodec.terminal.streams import printable

# People are told every minute how far a file is; programs hear all.
_SECONDS_BETWEEN_LINES = 60


def show_plan(planned: Batch, said: Reporter) -> None:
    """What would be done, a line or an object for each file."""
    for entry in planned.entries:
        value = messages.planned_fields(entry, planned)
        said.event("planned", **value)
        if not said.as_json:
            why = f" ({entry.reason})" if entry.reason else ""
            line = f"{value['action']:<6} {entry.task.source} -> {value['output']}{why}"
            tell(printable(line))


def run(planned: Batch, pool: Callable[[int], Pool], said: Reporter) -> None:
    """Do it, and say what happens. StcodecError at the end if files failed."""
    begun = time.monotonic()
    said.event("batch", **messages.begun_fields(planned))
    try:
        with contextlib.closing(planned.run(pool)) as events:
            listener = _Listener(planned, said)
            for event in events:
                listener.hear(event)
    except KeyboardInterrupt:
        left = sum(e.state == "waiting" for e in planned.entries)
        what = "1 file is" if left == 1 else f"{left} files are"
        if left:
            said.note(f"{what} left: stcodec batch --resume -o {planned.settings.output}")
        raise
    said.event("batch_ended", **messages.ended_fields(planned, time.monotonic() - begun))
    said.result("\n".join(messages.table(planned.entries)))
    failed = sum(e.state == "failed" for e in planned.entries)
    if failed:
        raise StcodecError(f"{failed} of {len(planned.entries)} files failed")


class _Listener:
    """Says what is worth saying of each event."""

    def __init__(self, planned: Batch, said: Reporter) -> None:
        self._planned, self._said = planned, said
        self._finished, self._spoken = 0, time.monotonic()

    def hear(self, event: Event) -> None:
        self._finished += event.kind not in ("started", "progress")
        self._said.event(event.kind, **messages.fields(event, self._planned))
        now = time.monotonic()
        if event.kind == "progress" and now - self._spoken < _SECONDS_BETWEEN_LINES:
            return
        self._spoken = now
        text = messages.line(event, self._finished, len(self._planned.entries))
        if text is not None and event.kind == "failed":
            tell(text)  # an error, even where a person wants nothing else
        elif text is not None:
            self._said.result(text)
        if not self._said.as_json:
            for line in event.values.get("notes", ()):
                self._said.note(f"{event.entry.task.source}: {line}")
