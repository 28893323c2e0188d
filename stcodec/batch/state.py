"""What a batch has done, kept beside its outputs so that it outlives the process: lines of JSON,
each written through."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from stcodec.common.leftovers import is_resumable
from stcodec.container import stp
from stcodec.container.records import VideoChunk
from stcodec.errors import StcodecError

FOLDER = ".stcodec-batch"
_PIECE, _DIGITS = 1 << 20, 16
# Records of what has become of an output; "undone": it is not this batch's, after all.
_OF_OUTPUTS = ("done", "larger", "undone")


def to_json(value: object) -> str:
    """One line of ASCII; fractions are kept, and names of files whatever bytes they have."""
    return json.dumps(value, default=lambda v: {"fraction": str(v)})


def from_json(text: str) -> Any:
    """The inverse of `to_json`; ValueError for anything else."""
    return json.loads(
        text, object_hook=lambda v: Fraction(v["fraction"]) if set(v) == {"fraction"} else v
    )


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex."""
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        while data := stream.read(_PIECE):
            sha.update(data)
    return sha.hexdigest()


class State:
    """The state of the batches that write into the folder `output`; reading it changes nothing.

    `done`: what is known of each output, by its path under `output`; `larger`: the same of those
    that would have been larger than their inputs, which was not wanted; `settings`: those of the
    last run. A process killed while it wrote leaves a torn last line, which is passed over.
    Processes that write at the same time have a `part` each.
    """

    def __init__(self, output: str, part: str = "") -> None:
        self._folder = Path(output) / FOLDER
        self._part = part
        self._log: TextIO | None = None
        self.done: dict[str, dict[str, Any]] = {}
        self.larger: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] | None = None
        records = []
        for path in self._folder.glob("state*.jsonl"):
            for line in path.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    record = from_json(line)
                    records.append((float(record["time"]), record["record"], record))
        # What is said of an output last holds, whichever part has said it.
        for _, kind, record in sorted(records, key=lambda r: r[0]):
            if kind in _OF_OUTPUTS and "output" in record:
                self._remember(kind, record)
            elif kind == "settings":
                self.settings = record

    @property
    def work(self) -> Path:
        """The folder of outputs that are not complete, on the file system of the outputs."""
        return self._folder / f"work{self._part}"

    def place(self, output: str) -> Path:
        """The folder, under `work`, in which an output is made; the same in every run."""
        return self.work / hashlib.sha256(os.fsencode(output)).hexdigest()[:_DIGITS]

    def open(self, outputs: Collection[str]) -> None:
        """Begin to write; clears what a run that was broken off has left, but for what an encode of
        one of the `outputs` may go on with. StcodecError if another process is at it, OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = open(self._folder / f"state{self._part}.jsonl", "a+", encoding="utf-8")  # noqa: SIM115
        try:
            _lock(log)
        except OSError as error:
            log.close()
            raise StcodecError(f"{self._folder.parent}: another batch is writing there") from error
        self._log = log
        self.work.mkdir(exist_ok=True)
        places = [self.place(output) for output in outputs]
        for left in self.work.iterdir():
            if left not in places:
                shutil.rmtree(left, ignore_errors=True)
        for place in places:
            place.mkdir(exist_ok=True)
            _tidy(place)
        # Whatever a torn line began ends here.
        self._write("\n")

    def close(self, ended: bool) -> None:
        """Stop writing, and remove what is not complete, unless the run has not `ended` and the
        next one may go on with it."""
        if self._log is None:
            return
        with contextlib.suppress(OSError):  # what a full disk did not take was said already
            self._log.close()
        for place in [] if ended else self.work.iterdir():
            _tidy(place)
        if ended or not any(self.work.glob("*/*")):
            shutil.rmtree(self.work, ignore_errors=True)

    def add(self, record: str, **values: Any) -> None:
        """Append a record: on the disk when this returns. OSError that names the file."""
        self._write(to_json({"record": record, "time": time.time(), **values}) + "\n")
        if record in _OF_OUTPUTS:
            self._remember(record, values)

    def _write(self, text: str) -> None:
        assert self._log is not None
        try:
            self._log.write(text)
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._log.name) from error

    def _remember(self, kind: str, record: dict[str, Any]) -> None:
        """The last that is known of an output."""
        for known, what in ((self.done, "done"), (self.larger, "larger")):
            known.pop(record["output"], None)
            if kind == what:
                known[record["output"]] = record


def _tidy(place: Path) -> None:
    """Remove from a folder what no encode can go on with."""
    for left in place.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif not (is_resumable(left) and _holds_a_segment(left)):
            left.unlink(missing_ok=True)


def _holds_a_segment(path: Path) -> bool:
    """Whether a file that was broken off has a whole segment, behind which an encode goes on."""
    with contextlib.suppress(OSError, StcodecError), open(path, "rb") as stream:
        items = stp.Reader(stream)
        starts = (item for item in items if isinstance(item, VideoChunk) and item.first)
        next(starts, None)
        return next(starts, None) is not None
    return False


def _lock(stream: TextIO) -> None:
    """OSError if another process holds the lock; it goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # a system without it
        return
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise
        # Some network file systems have no locks: their users see to it themselves.
