"""A batch: what is left to do, doing it, and what came of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stcodec.batch.plan import Task, make_plan
from stcodec.batch.pool import LocalPool, Pool
from stcodec.batch.ray_pool import RayPool
from stcodec.batch.settings import CORES_PER_JOB, Settings, remembered
from stcodec.batch.state import State, digest
from stcodec.common.files import Overwrite, check_output, give_name
from stcodec.common.interrupts import held_back
from stcodec.common.signatures import Signature, signature
from stcodec.common.threads import cores
from stcodec.errors import DamagedFileError, InputError, OutputExistsError, StcodecError
from stcodec.flows import sources
from stcodec.options import DecodeOptions, EncodeOptions

# What changes how fast an output is made, not what it is.
_INDIFFERENT = ("overwrite", "threads", "device", "keep_time", "remove_source")


@dataclass
class Entry:
    """A file and what became of it.

    state: "waiting", "done", "skipped" or "failed"; reason: why; replaces: an output that is there
    may go; result: fields of EncodeResult or DecodeResult, with output_bytes.
    """

    task: Task
    state: str = "waiting"
    reason: str = ""
    exit_code: int = 0
    replaces: bool = False
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """kind: "started", "progress", "encoded", "decoded", "skipped" (values: only where it was tried
    first) or "failed"."""

    kind: str
    entry: Entry
    values: dict[str, Any] = field(default_factory=dict)


class Batch:
    """A batch that has been planned: `entries` say what there is and what is done. Making it
    changes nothing.

    UsageError for options or outputs that make no sense, InputError where there is no input at all.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        kind = DecodeOptions if settings.decode else EncodeOptions
        chosen = dataclasses.asdict(kind(**settings.options))
        self._options = {name: value for name, value in chosen.items() if name not in _INDIFFERENT}
        # An encode to a size takes several passes.
        self._resumes = not settings.decode and not any(
            chosen[name] is not None for name in ("target_size", "target_bitrate")
        )
        found = make_plan(
            settings.inputs,
            settings.output,
            decode=settings.decode,
            ending=settings.ending,
            recursive=settings.recursive,
            names=settings.names,
        )
        part, parts = settings.part
        self._state = State(settings.output, f"-{part}-of-{parts}" if parts > 1 else "")
        gone = self._removed()
        if not found.tasks and not found.problems and not gone:
            what = ".stp file" if settings.decode else "video"
            raise InputError(f"{', '.join(settings.inputs)}: no {what} found")
        mine = slice(part - 1, None, parts)
        self.entries = [
            Entry(Task(path, ""), "failed", why, 3)
            for path, why in found.problems[mine]
            if os.path.abspath(path) not in {entry.task.source for entry in gone}
        ]
        self.entries += gone
        self.entries += [self._look(task) for task in found.tasks[mine]]
        self.waiting = [e for e in self.entries if e.state == "waiting"]
        wanted = settings.jobs or max(1, cores() // CORES_PER_JOB)
        self.jobs = max(1, min(wanted, len(self.waiting)))

    def _look(self, task: Task) -> Entry:
        """What is to be done about a file, before any work."""
        path = Path(self.settings.output, task.target)
        if not os.path.lexists(path):
            larger = self._state.larger.get(task.target)
            if larger is not None and self._same(task, larger):
                return Entry(task, "skipped", f"{task.source}: {larger['reason']}")
            return Entry(task)
        known = self._state.done.get(task.target)
        if known is not None and self._same(task, known):
            if _is_intact(path, known):
                return Entry(task, "skipped", "done and intact")
            return Entry(task, reason="damaged since it was made", replaces=True)
        if self.settings.overwrite and path.is_file():
            return Entry(task, replaces=True)
        why = (
            "was made of another input or with other options"
            if known is not None
            else "already exists"
        )
        return Entry(task, "failed", f"{path}: {why} (-y overwrites)", OutputExistsError.exit_code)

    def _removed(self) -> list[Entry]:
        """Those of the inputs that an earlier run has removed."""
        roots = [os.path.abspath(name) for name in self.settings.inputs]
        entries = []
        for target, known in self._state.done.items():
            source = known["input"]
            if not known.get("removes") or os.path.lexists(source):
                continue
            if any(source == root or source.startswith(os.path.join(root, "")) for root in roots):
                path = Path(self.settings.output, target)
                task = Task(source, target)
                if _is_intact(path, known):
                    why = "done and intact, and its source was removed"
                    entries.append(Entry(task, "skipped", why))
                else:
                    why = f"{path}: damaged since it was made, and its source was removed"
                    entries.append(Entry(task, "failed", why, DamagedFileError.exit_code))
        return entries

    def _same(self, task: Task, known: dict[str, Any]) -> bool:
        """Would the output be made of the same input with the same options?"""
        found = signature(task.source)
        if found is None:
            return False
        source = os.path.abspath(task.source)
        now = {"input": source, "options": self._options, **_written(found)}
        return all(known.get(name) == value for name, value in now.items())

    def run(self, pool: Callable[[int], Pool] = LocalPool) -> Generator[Event, None, None]:
        """Do what is waiting; yields what happens. An output has its name when it is complete, and
        `Entry.state` then says so.

        Whatever ends this early ends the work; the next batch goes on after what was complete, and
        within files that were being encoded.
        """
        for entry in self.entries:
            if entry.state != "waiting":
                yield Event(entry.state, entry)
        if not self.waiting:
            return
        settings, state = self.settings, self._state
        workers = pool(self.jobs)
        try:
            state.open([entry.task.target for entry in self.waiting])
            state.add("settings", **remembered(settings))
            threads = max(1, (settings.options.get("threads") or cores()) // self.jobs)
            jobs = [self._job(entry, threads) for entry in self.waiting]
            found = [signature(e.task.source) for e in self.waiting]
            before = [_written(f) for f in found]
            for number, record in workers.run(jobs):
                entry = self.waiting[number]
                if "done" in record:
                    entry.result = record["done"]
                    try:
                        self._finish(entry, jobs[number]["target"], before[number])
                        self._remove(entry, found[number])
                        yield Event(
                            "decoded" if settings.decode else "encoded", entry, entry.result
                        )
                    except (StcodecError, OSError) as error:
                        yield _failed(entry, *_cause(error))
                elif "larger" in record:
                    why = record["larger"].removeprefix(f"{entry.task.source}: ")
                    state.add("larger", reason=why, **self._known(entry), **before[number])
                    entry.state, entry.reason = "skipped", f"{entry.task.source}: {why}"
                    yield Event("skipped", entry, {"tried": True})
                elif "failed" in record:
                    yield self._failure(entry, jobs[number]["target"], record)
                elif "progress" in record:
                    frames, total = record["progress"]
                    yield Event("progress", entry, {"frames": frames, "total": total})
                else:
                    yield Event("started", entry, {n: v for n, v in record.items() if n == "node"})
        finally:
            workers.close()
            with held_back():
                state.close(ended=all(entry.state != "waiting" for entry in self.waiting))

    def _job(self, entry: Entry, threads: int) -> dict[str, Any]:
        target = entry.task.target
        return {
            "source": entry.task.source,
            "target": str(self._state.place(target) / os.path.basename(target)),
            "decode": self.settings.decode,
            "options": {**self.settings.options, **({"resume": True} if self._resumes else {})},
            "threads": threads,
        }

    def _finish(self, entry: Entry, made: str, before: dict[str, int]) -> None:
        """Give a complete output its name. What is written down first tells the next run that the
        output is this batch's. StcodecError, OSError."""
        target, overwrite = self._place(entry)
        sha256 = entry.result.pop("sha256")
        with held_back():
            self._state.add(
                "done",
                output_bytes=entry.result["output_bytes"],
                sha256=sha256,
                removes=self._removes(entry),
                **self._known(entry),
                **before,
            )
            try:
                give_name(Path(made), target, overwrite)
            except BaseException:
                self._state.add("undone", output=entry.task.target)
                raise
            entry.state = "done"

    def _failure(self, entry: Entry, made: str, record: dict[str, Any]) -> Event:
        """A file has failed. What is left of a damaged one still gets its name, but the next run
        does not take it for done."""
        if record.get("kept"):
            try:
                target, overwrite = self._place(entry)
                give_name(Path(made), target, overwrite)
            except (StcodecError, OSError) as error:
                return _failed(entry, *_cause(error))
        final = os.path.join(self.settings.output, entry.task.target)
        return _failed(entry, record["failed"].replace(made, final), record["exit_code"])

    def _place(self, entry: Entry) -> tuple[Path, Overwrite]:
        """Where an output goes, in a folder that is there. StcodecError, OSError."""
        target = Path(self.settings.output, entry.task.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        overwrite = Overwrite.YES if entry.replaces else Overwrite.NO
        check_output(target, overwrite)
        return target, overwrite

    def _known(self, entry: Entry) -> dict[str, Any]:
        """What is written down of every file."""
        source = os.path.abspath(entry.task.source)
        return {"input": source, "output": entry.task.target, "options": self._options}

    def _removes(self, entry: Entry) -> bool:
        """Whether a source is to go; its output has been proved then."""
        return bool(self.settings.options.get("remove_source") and entry.result["untouched"])

    def _remove(self, entry: Entry, before: Signature | None) -> None:
        """Remove a source, if that is wanted and it may go; else its notes say why not."""
        if not self.settings.options.get("remove_source"):
            return
        why = sources.remove(entry.task.source, before, entry.result["untouched"])
        entry.result["removed"] = why is None
        entry.result["notes"] = [*entry.result["notes"], *([] if why is None else [why])]


def _written(found: Signature | None) -> dict[str, int]:
    """What is written down of an input; not its number, which a copy of the disk does not keep."""
    return {} if found is None else {"input_bytes": found.size, "input_mtime_ns": found.mtime_ns}


def _is_intact(path: Path, known: dict[str, Any]) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == known["output_bytes"]
        and digest(path) == known["sha256"]
    )


def _cause(error: StcodecError | OSError) -> tuple[str, int]:
    """Why an output did not get its name, and the exit code."""
    if isinstance(error, OSError):
        return f"{error.filename2 or error.filename}: {error.strerror}", 1
    return str(error), error.exit_code


def _failed(entry: Entry, message: str, code: int) -> Event:
    entry.state, entry.reason, entry.exit_code = "failed", message, code
    return Event("failed", entry)


def choose_pool(settings: Settings, ray: str | None) -> Callable[[int], Pool]:
    """What makes the pool for a number of jobs at a time: processes of this machine, or tasks of
    the Ray cluster at the address `ray`."""
    if ray is None:
        return LocalPool
    device, threads = settings.options.get("device", ""), settings.options.get("threads", 0)
    return lambda _: RayPool(ray, device, settings.jobs, threads)
