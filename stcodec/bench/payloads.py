"""Many clips by their payloads alone: jobs of a clip and a setting each, in several processes, with
a cache, so that a question about one constant of the encoder takes minutes.

This file imports no part of the codec: constants are replaced in the worker processes before these
do.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stcodec.bench.cache import CODEC_FOLDERS, ResultCache, code_digest, file_digest
from stcodec.bench.overrides import Settings, check_constants, set_constants
from stcodec.bench.peers import Peer
from stcodec.bench.sources import TABLE_NAME, Clip, Row, Table, prepare, read_table
from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.flows.compiling import compile_once
from stcodec.options import EncodeOptions

_CACHE_VERSION = 1
_MEASURING = ("bench/coding.py", "bench/sources.py", "quality/metrics.py")
_VIDEOS = frozenset((".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m", ".h264", ".hevc", ".ts"))


@dataclass(frozen=True)
class Plan:
    """What to measure.

    clips: files, or folders with videos in them; models: ids or files. qualities: 0..63. frames: of
    each clip, 0: all. scale: a factor of its size, None: as the tables say. table: of
    `sources.read_table`, which goes before the CLIPS.tsv of a clip's own folder. peers: other
    codecs by name. settings: constants of the encoder, see `overrides`. tune: of `options.TUNES`.
    jobs: processes. cache: folder of results, None: nothing is kept.
    """

    clips: Sequence[Path]
    models: Sequence[str]
    qualities: Sequence[int] = (16, 26, 36, 46)
    frames: int = 32
    scale: float | None = None
    table: Table = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    tune: str = "psnr"
    jobs: int = 1
    cache: Path | None = None


@dataclass(frozen=True)
class Subject:
    """A clip that is to be measured: its file, name, kind of content, scale, where it comes from
    ("": not known) and SHA-256."""

    path: Path
    name: str
    kind: str
    scale: float
    source: str
    sha256: str

    def description(self) -> dict[str, Any]:
        """Plain values, for JSON: of the path the file's name alone."""
        return {**asdict(self), "path": self.path.name}


@dataclass(frozen=True)
class Job:
    """A clip and a setting: by a model (an id or a file), or by a peer."""

    subject: Subject
    codec: str
    setting: int
    model: str | None = None
    peer: Peer | None = None


@dataclass
class Results:
    """What was measured: by clip and codec ("stp:stc-1", "x265-medium"), the fields of
    `coding.Measured` at each setting."""

    frames: int
    settings: dict[str, Any]
    clips: list[dict[str, Any]]
    curves: dict[str, dict[str, list[dict[str, Any]]]]

    def codecs(self, own: bool) -> list[str]:
        """The models, or the other codecs, that were measured."""
        found = dict.fromkeys(codec for curves in self.curves.values() for codec in curves)
        return [codec for codec in found if codec.startswith("stp:") == own]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Results:
        """The inverse of `asdict`, from an object that may hold more; KeyError if it lacks any."""
        return cls(*(values[name] for name in ("frames", "settings", "clips", "curves")))


def find_clips(inputs: Sequence[Path], table: Table, scale: float | None) -> list[Subject]:
    """The clips of files and folders, by name; InputError where there are none, UsageError where
    two have one name."""
    paths: list[Path] = []
    for given in inputs:
        inside = (
            sorted(p for p in given.iterdir() if p.suffix.lower() in _VIDEOS)
            if (given.is_dir())
            else [given]
        )
        if not inside:
            raise InputError(f"{given}: there is no video in this folder")
        paths += inside
    subjects: dict[str, Subject] = {}
    for path in paths:
        beside = path.parent / TABLE_NAME
        rows = {**(read_table(beside) if beside.is_file() else {}), **table}
        row = rows.get(path.name, Row())
        if path.stem in subjects:
            raise UsageError(f"{path}: there is another clip of this name")
        try:
            digest = file_digest(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        factor = row.scale if scale is None else scale
        subjects[path.stem] = Subject(path, path.stem, row.kind, factor, row.source, digest)
    return list(subjects.values())


def measure(plan: Plan, log: Callable[[str], None]) -> Results:
    """Measure what the cache does not hold. Raises errors of `stcodec.errors`."""
    check_constants(plan.settings)
    subjects = find_clips(plan.clips, plan.table, plan.scale)
    jobs = [job for subject in subjects for job in _jobs(plan, subject)]
    cache, keys = ResultCache(plan.cache), _Keys(plan)
    found = {job: kept for job in jobs if (kept := cache.get(keys.of(job))) is not None}
    missing = [job for job in jobs if job not in found]
    log(f"{len(subjects)} clips, {len(jobs)} encodes, {len(found)} of them from the cache")
    for number, (job, value) in enumerate(_work(plan, missing), 1):
        found[job] = value
        cache.put(keys.of(job), value)
        log(
            f"{number} of {len(missing)}: {job.subject.name} {job.codec} {job.setting}: "
            f"{value['bytes']} bytes, {value['psnr_611']:.2f} dB"
        )
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for job in jobs:
        codecs = curves.setdefault(job.subject.name, {})
        codecs.setdefault(job.codec, []).append(found[job])
    described = [subject.description() for subject in subjects]
    return Results(plan.frames, dict(plan.settings), described, curves)


def _jobs(plan: Plan, subject: Subject) -> Iterator[Job]:
    for model in plan.models:
        label = label_of(model)
        for quality in plan.qualities:
            yield Job(subject, label, quality, model=model)
    for name, peer in plan.peers.items():
        for crf in peer.crfs:
            yield Job(subject, name, crf, peer=peer)


def label_of(model: str) -> str:
    """What a model is called among the codecs."""
    return f"stp:{Path(model).stem if model.endswith('.safetensors') else model}"


class _Keys:
    """The keys of results in the cache: all that a result depends on."""

    def __init__(self, plan: Plan) -> None:
        import av
        import torch

        from stcodec.codec.model_files import find_model

        self._frames, self._settings = plan.frames, tuple(plan.settings.items())
        self._tune = plan.tune
        self._models = {model: file_digest(find_model(model)) for model in plan.models}
        self._own = code_digest(CODEC_FOLDERS, _MEASURING), torch.__version__
        versions = sorted(av.library_versions.items())
        self._other = code_digest((), (*_MEASURING, "bench/peers.py")), av.__version__, versions

    def of(self, job: Job) -> tuple[object, ...]:
        """The key of a job's result."""
        s = job.subject
        clip = (_CACHE_VERSION, s.sha256, self._frames, s.scale, job.setting)
        if job.model is None:
            return (*clip, job.peer, self._other)
        return (*clip, self._models[job.model], self._settings, self._tune, self._own)


def _work(plan: Plan, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, Any]]]:
    """The results of jobs as they come, from `plan.jobs` processes of one thread each."""
    if not jobs:
        return
    if any(job.model for job in jobs):
        compile_once(EncodeOptions())  # before several processes ask for it
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as folder:
        others = multiprocessing.active_children()
        executor = ProcessPoolExecutor(plan.jobs, context, _start_worker, (dict(plan.settings),))
        try:
            yield from _run(executor, plan, jobs, Path(folder))
            executor.shutdown()
        except BaseException as error:
            workers = [p for p in multiprocessing.active_children() if p not in others]
            executor.shutdown(wait=False, cancel_futures=True)
            for process in workers:
                process.terminate()
                process.join()
            if isinstance(error, BrokenProcessPool):
                raise StcodecError("a worker process died (out of memory?)") from error
            raise


def _run(
    executor: ProcessPoolExecutor, plan: Plan, jobs: Sequence[Job], folder: Path
) -> Iterator[tuple[Job, dict[str, Any]]]:
    subjects = list(dict.fromkeys(job.subject for job in jobs))
    folders = [folder / str(i) for i in range(len(subjects))]
    tables = [{s.path.name: Row(s.kind, s.scale)} for s in subjects]
    preparing = [
        executor.submit(_prepare, s.path, f, table, plan.frames)
        for s, f, table in zip(subjects, folders, tables, strict=True)
    ]
    clips = {s: future.result() for s, future in zip(subjects, preparing, strict=True)}

    def work(job: Job) -> int:
        return clips[job.subject].width * clips[job.subject].height * clips[job.subject].frames

    futures = {
        executor.submit(_do, clips[job.subject], job, dict(plan.settings), plan.tune): job
        for job in sorted(jobs, key=work, reverse=True)  # so that no long one comes last
    }
    for future in concurrent.futures.as_completed(futures):
        yield futures[future], future.result()


def _start_worker(settings: dict[str, object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    set_constants(settings)


def _prepare(source: Path, folder: Path, table: Table, frames: int) -> Clip:
    folder.mkdir()
    return prepare(source, folder, table, None, frames)


def _do(clip: Clip, job: Job, settings: dict[str, object], tune: str) -> dict[str, Any]:
    from stcodec.bench.coding import code_own, code_peer

    if job.peer is not None:
        return asdict(code_peer(clip, job.peer, job.setting))
    assert job.model is not None
    return asdict(code_own(clip, job.model, job.setting, settings, tune))
