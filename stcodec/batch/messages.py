"""What a batch says: lines and a table for people, objects for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from stcodec.batch.run import Batch, Entry, Event
from stcodec.terminal.report import human_size
from stcodec.terminal.streams import printable


def line(event: Event, number: int, of: int) -> str | None:
    """The line about an event, if it is worth one. number: files that are finished, of `of`."""
    entry = event.entry
    if event.kind in ("encoded", "decoded"):
        seconds = entry.result["seconds"]
        speed = entry.result["frames"] / seconds if seconds else 0.0
        what = f"{printable(entry.task.target)}: {_outcome(entry)}, {speed:.1f} frames/s"
        return f"[{number}/{of}] {what}"
    if event.kind == "failed" or (event.kind == "skipped" and event.values):
        return f"[{number}/{of}] {printable(entry.reason)}"
    if event.kind == "progress":
        frames, total = event.values["frames"], event.values["total"]
        of_all = f"/{total}" if total else ""
        return f"{printable(entry.task.target)}: {frames}{of_all} frames so far"
    return None


def fields(event: Event, batch: Batch) -> dict[str, Any]:
    """What the JSON of an event says."""
    entry = event.entry
    value: dict[str, Any] = {"input": entry.task.source, "output": _output(entry, batch)}
    if event.kind == "failed":
        return {**value, "message": entry.reason, "exit_code": entry.exit_code}
    if event.kind == "skipped":
        return {**value, "message": entry.reason}
    return {**value, **event.values}


def planned_fields(entry: Entry, batch: Batch) -> dict[str, Any]:
    """What a dry run says of a file."""
    actions = {
        "waiting": "decode" if batch.settings.decode else "encode",
        "skipped": "skip",
        "failed": "fail",
    }
    return {
        "input": entry.task.source,
        "output": _output(entry, batch),
        "action": actions[entry.state],
        "message": entry.reason,
    }


def begun_fields(batch: Batch) -> dict[str, Any]:
    """The first object of a batch."""
    files, waiting = len(batch.entries), len(batch.waiting)
    return {"files": files, "waiting": waiting, "jobs": batch.jobs}


def ended_fields(batch: Batch, seconds: float) -> dict[str, Any]:
    """The last object of a batch."""
    done = [e for e in batch.entries if e.state == "done"]
    return {
        **{
            state: sum(e.state == state for e in batch.entries)
            for state in ("done", "skipped", "failed")
        },
        "input_bytes": sum(e.result["input_bytes"] for e in done),
        "output_bytes": sum(e.result["output_bytes"] for e in done),
        "seconds": round(seconds, 3),
    }


def table(entries: Sequence[Entry]) -> list[str]:
    """A row per file, and one that sums up."""
    rows = [
        (e.state, printable(e.task.source), _outcome(e) if e.state == "done" else _why(e))
        for e in entries
    ]
    width = max((len(name) for _, name, _ in rows), default=0)
    lines = [f"{state:<8} {name:<{width}}  {what}".rstrip() for state, name, what in rows]
    states = [e.state for e in entries]
    counts = [
        f"{states.count(s)} {s}" for s in ("done", "skipped", "failed", "waiting") if s in states
    ]
    done = [e.result for e in entries if e.state == "done"]
    if done:
        counts.append(
            f"{_sizes(sum(r['input_bytes'] for r in done), sum(r['output_bytes'] for r in done))}"
        )
    return [*lines, ", ".join(counts)]


def _output(entry: Entry, batch: Batch) -> str | None:
    return os.path.join(batch.settings.output, entry.task.target) if entry.task.target else None


def _outcome(entry: Entry) -> str:
    result = entry.result
    return f"{result['frames']} frames, {_sizes(result['input_bytes'], result['output_bytes'])}"


def _why(entry: Entry) -> str:
    return printable(entry.reason.removeprefix(f"{entry.task.source}: "))


def _sizes(before: int, after: int) -> str:
    return f"{human_size(before)} -> {human_size(after)}"
