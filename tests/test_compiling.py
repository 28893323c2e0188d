"""The encoder's loops are compiled once for a machine, however many processes want them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stcodec.encoder import choice
from stcodec.flows.compiling import compile_once
from stcodec.options import EncodeOptions


class Compiler:
    """Stands for the compiler: slow, and counts how often it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
        self.runs = 0
        self.said: list[str] = []
        monkeypatch.setattr(choice, "compiled", lambda: self.runs > 0)
        monkeypatch.setattr(choice, "cache_folder", lambda: folder)
        monkeypatch.setattr(choice, "compile_apart", self.compile)

    def compile(self) -> None:
        time.sleep(0.2)
        self.runs += 1


def test_jobs_at_the_same_time_compile_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    compiler = Compiler(monkeypatch, tmp_path / "cache")
    jobs = [threading.Thread(target=compile_once, args=(EncodeOptions(),)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert compiler.runs == 1


def test_a_user_who_waits_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch, tmp_path)
    compile_once(EncodeOptions(motion="none"), compiler.said.append)
    assert (compiler.said, compiler.runs) == ([], 0)
    for _ in range(2):
        compile_once(EncodeOptions(), compiler.said.append)
    assert len(compiler.said) == compiler.runs == 1


@pytest.mark.parametrize("kept", [True, False])
def test_no_lock_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    compiler = Compiler(monkeypatch, blocked / "cache" if kept else None)
    compile_once(EncodeOptions())
    assert compiler.runs == 1
