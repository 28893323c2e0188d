"""A user's program that is started when something happens."""

from __future__ import annotations

import datetime
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from stcodec.errors import UsageError
from stcodec.flows.watch import Seen

_MOST_WAITING = 64
_SECONDS_AT_END = 10.0


def facts(seen: Seen) -> dict[str, str]:
    """What is known of an event, as variables of an environment."""
    event = seen.event
    began = datetime.datetime.fromtimestamp(seen.begins + event.start).astimezone()
    known = {
        "EVENT": "end" if seen.over else "begin",
        "FILE": os.path.abspath(seen.path),
        "TIME": began.isoformat(timespec="milliseconds"),
        "START": f"{event.start:.3f}",
        "STRENGTH": f"{event.strength:.1f}",
        "BOX": ",".join(map(str, event.box)),
    }
    if seen.over:
        known |= {
            "END": f"{event.end:.3f}",
            "PEAK": f"{event.peak:.3f}",
            "PEAK_FRAME": str(event.peak_frame),
        }
    return {f"STCODEC_{name}": value for name, value in known.items()}


class Caller:
    """Starts a program, one at a time, in the order of events; never by a shell. A context manager:
    at the end it waits a little for what runs. command: as a shell would divide it; tell: takes a
    line for a user. UsageError for what is no command."""

    def __init__(self, command: str, tell: Callable[[str], None]) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--on-event: {error}") from error
        if not self._command:
            raise UsageError("--on-event: there is no command")
        self._tell = tell
        self._waiting: queue.Queue[Mapping[str, str] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="on-event", daemon=True)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_SECONDS_AT_END)

    def call(self, seen: Seen) -> None:
        """Have the program told of an event; where it is far behind, it is not, and that is
        said."""
        try:
            self._waiting.put_nowait(facts(seen))
        except queue.Full:
            self._tell("--on-event: the command is too slow, and was not told of an event")

    def _run(self) -> None:
        while (known := self._waiting.get()) is not None:
            try:
                done = subprocess.run(  # noqa: S603 - what the user asks for
                    self._command,
                    env={**os.environ, **known},
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr.fileno(),
                    check=False,
                )
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                self._tell(f"--on-event: {self._command[0]}: {why}")
                continue
            if done.returncode:
                self._tell(f"--on-event: {self._command[0]} ended with {done.returncode}")
