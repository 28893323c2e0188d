"""A batch that was broken off goes on within its films, and gives the bytes of an unbroken one."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stcodec.batch import worker
from stcodec.batch.run import Batch
from stcodec.batch.settings import Settings
from stcodec.common import files
from stcodec.common.values import Progress
from stcodec.flows.proof import Proof
from stcodec.terminal.failures import Interrupts
from tests.media import clip, frame_of, write_clip

SCENES, LENGTH = 4, 16
CHUNKS = 2 * SCENES
OPTIONS = {"model": "dct", "effort": 0, "quality": 20}


class InThisProcess:
    """A pool of one."""

    def __init__(self, count: int) -> None:
        pass

    def run(self, jobs: Sequence[worker.Record]) -> Iterator[tuple[int, worker.Record]]:
        for number, job in enumerate(jobs):
            yield number, {"started": True}
            for record in worker.execute(job):
                yield number, record

    def close(self) -> None:
        pass


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four scenes, with sound."""
    frames = []
    for scene in range(SCENES):
        for picture in clip(LENGTH):
            planes = [p[: 48 >> (i > 0), : 64 >> (i > 0)] for i, p in enumerate(planes_of(picture))]
            frames.append(frame_of([255 - p if scene % 2 else p for p in planes]))
    (tmp_path / "in").mkdir()
    return write_clip(tmp_path / "in" / "film.mkv", frames, audio="aac")


def planes_of(frame: Any) -> list[Any]:
    import numpy as np

    return [
        np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width]
        for p in frame.planes
    ]


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every chunk that is coded."""
    chunks: list[None] = []
    finish = Proof.finish

    def counted(*arguments: Any) -> Any:
        chunks.append(None)
        return finish(*arguments)

    monkeypatch.setattr(Proof, "finish", counted)
    return chunks


def do(film: Path, out: Path, **options: Any) -> None:
    for _ in Batch(Settings((str(film),), str(out), options={**OPTIONS, **options})).run(
        InThisProcess
    ):
        pass


def broken_at(monkeypatch: pytest.MonkeyPatch, chunks: int, film: Path, out: Path) -> None:
    steps = worker._steps

    def some(job: worker.Record) -> Iterator[Any]:
        count = 0
        for step in steps(job):
            yield step
            count += isinstance(step, Progress)
            if count == chunks:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_steps", some)
        with pytest.raises(KeyboardInterrupt):
            do(film, out)


def left(out: Path) -> list[Path]:
    return [p for p in (out / ".stcodec-batch").rglob("*") if p.is_file() and p.suffix == ".stp"]


def test_a_batch_goes_on_within_a_film(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coded: list[None]
) -> None:
    do(film, tmp_path / "whole")
    assert len(coded) == CHUNKS
    unbroken = (tmp_path / "whole" / "film.stp").read_bytes()
    out = tmp_path / "out"
    for chunks in (3, 6):
        broken_at(monkeypatch, chunks, film, out)
        assert len(left(out)) == 1 and not (out / "film.stp").exists()
    coded.clear()
    do(film, out)
    assert 0 < len(coded) <= CHUNKS - 4  # what was on the disk has not been coded again
    assert (out / "film.stp").read_bytes() == unbroken
    assert [p.name for p in (out / ".stcodec-batch").iterdir()] == ["state.jsonl"]


def test_what_is_of_no_use_is_removed(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coded: list[None]
) -> None:
    out = tmp_path / "out"
    broken_at(monkeypatch, 1, film, out)  # not one segment is whole
    assert left(out) == [] and not (out / ".stcodec-batch" / "work").exists()
    broken_at(monkeypatch, 5, film, out)
    [old] = left(out)
    (old.parent / "film.stp").write_bytes(b"of a process that was killed")
    coded.clear()
    do(film, out, quality=30)  # other options: from the start
    assert len(coded) == CHUNKS and left(out) == []


def test_an_interrupt_while_an_output_gets_its_name(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as while the disk is asked to hold it: what has its name is done, now and later."""
    settings = Settings((str(film),), str(tmp_path / "out"), options=OPTIONS)
    listening, real = Interrupts(), files._flush

    def come(path: Path) -> None:
        real(path)
        if path == tmp_path / "out":
            listening._come(signal.SIGINT, None)

    with monkeypatch.context() as patched:
        patched.setattr(files, "_flush", come)
        with pytest.raises(KeyboardInterrupt):
            list(Batch(settings).run(InThisProcess))
    listening.ignore()
    [entry] = Batch(settings).entries
    assert (entry.state, entry.reason) == ("skipped", "done and intact")
    assert not (tmp_path / "out" / ".stcodec-batch" / "work").exists()
