"""What is said of what happens in videos, for people and for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stcodec.terminal.report import Reporter, say
from stcodec.terminal.streams import printable

if TYPE_CHECKING:
    from stcodec.flows.camera import Camera
    from stcodec.flows.events import Event
    from stcodec.flows.keyframes import KeyFrame

_COLUMNS = (
    "input", "start", "end", "strength", "x", "y", "width", "height", "peak", "peak_frame",
)  # fmt: skip


def found(said: Reporter, source: str, event: Event) -> None:
    """An event, as soon as it is over."""
    said.event("found", input=source, **_values(event))
    if not said.as_json:
        x, y, width, height = event.box
        say(
            f"{printable(source)}: {event.start:.3f} to {event.end:.3f} s, strength "
            f"{event.strength:.1f}, {width}x{height} at {x},{y}, peak at {event.peak:.3f} s "
            f"(picture {event.peak_frame})"
        )


def watched(said: Reporter, source: str, events: int, duration: float) -> None:
    """The end of a file."""
    said.event("watched", input=source, events=events, duration=round(duration, 6))
    what = f"{events} event" + ("" if events == 1 else "s")
    said.result(f"{printable(source)}: {what} in {duration:.3f} s")


def learned(said: Reporter, sources: Sequence[str], output: str, known: Camera) -> None:
    """What is normal was written."""
    hours = sorted((name for name in known.hours if name.isdigit()), key=int)
    said.event("learned", inputs=list(sources), output=output, hours=list(map(int, hours)))
    of = f"hours {', '.join(hours)}" if hours else "no hours: the files do not say when they begin"
    said.result(f"{printable(output)}: what is normal in {len(sources)} files; {of}")


def keyframe(said: Reporter, source: str, made: KeyFrame) -> None:
    """A picture that was written."""
    said.event(
        "keyframe", input=source, output=made.output, picture=made.picture, time=round(made.time, 6)
    )
    said.result(f"{printable(made.output)}: picture {made.picture}, at {made.time:.3f} s")


def write_table(path: Path, events: Sequence[tuple[str, Event]]) -> None:
    """A CSV table of events, with the files they are in."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        table.writeheader()
        for source, event in events:
            values = _values(event)
            box = dict(zip(("x", "y", "width", "height"), event.box, strict=True))
            del values["box"]
            table.writerow({"input": source, **values, **box})


def _values(event: Event) -> dict[str, object]:
    return {
        "start": round(event.start, 6),
        "end": round(event.end, 6),
        "strength": round(event.strength, 3),
        "box": list(event.box),
        "peak": round(event.peak, 6),
        "peak_frame": event.peak_frame,
    }
