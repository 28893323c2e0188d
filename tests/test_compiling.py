"""The encoder's loops are compiled once for a machine, however many processes want them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import stcodec
from stcodec.codec import kernels
from stcodec.common.compiled import apart
from stcodec.encoder import choice
from stcodec.flows import compiling
from stcodec.flows.activity import moments
from stcodec.flows.compare import compare_steps
from stcodec.flows.compiling import compile_decoder, compile_once
from stcodec.flows.inspect import verify
from stcodec.flows.targets import sample
from stcodec.options import CompareOptions, EncodeOptions


class Compiler:
    """Stands for the compiler: slow, and counts how often it runs."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path | None, of: ModuleType = choice
    ) -> None:
        self.runs = 0
        self.said: list[str] = []
        ready = "compiled" if of is choice else "cached"
        monkeypatch.setattr(of, ready, lambda: self.runs > 0)
        monkeypatch.setattr(of, "cache_folder", lambda: folder)
        monkeypatch.setattr(of, "compile_apart", self.compile)
        monkeypatch.setattr(of, "warm_up", self.compile)

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
    compiler, other = Compiler(monkeypatch, tmp_path), Compiler(monkeypatch, tmp_path, kernels)
    for _ in range(2):
        compile_once(EncodeOptions(motion="none"), other.said.append)
    assert (compiler.said, compiler.runs) == ([], 0)
    assert len(other.said) == other.runs == 1 and "decoder" in other.said[0]
    compile_decoder(other.said.append)
    for _ in range(2):
        compile_once(EncodeOptions(), compiler.said.append)
    assert len(compiler.said) == compiler.runs == 1
    assert len(other.said) == other.runs == 1


def test_nobody_waits_for_an_input_that_is_none(
    bee: Path, bee_stp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilers = [Compiler(monkeypatch, tmp_path, of) for of in (choice, kernels)]
    empty, text, target = tmp_path / "empty.stp", tmp_path / "text.mp4", tmp_path / "out.stp"
    empty.touch()
    text.write_text("no video")
    uses: list[Callable[[], object]] = [
        lambda: stcodec.encode(text, target),
        lambda: sample(text, EncodeOptions()),
        lambda: stcodec.decode(empty, tmp_path / "out.mkv"),
        lambda: list(verify(empty)),
        lambda: list(moments(empty)),
        *(
            lambda pair=pair: list(compare_steps(*pair, CompareOptions(metrics="psnr")))
            for pair in [(bee_stp, empty), (empty, bee_stp), (bee_stp, text), (bee_stp, target)]
        ),
    ]
    for use in uses:
        with pytest.raises(stcodec.InputError):
            use()
    with pytest.raises(stcodec.UsageError, match="nonsense"):
        stcodec.decode(bee_stp, tmp_path / "out.mkv", codec="nonsense")
    assert [compiler.runs for compiler in compilers] == [0, 0]
    assert not list(tmp_path.glob("*out*"))


def test_no_lock_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    compiler = Compiler(monkeypatch, blocked / "cache")
    compile_once(EncodeOptions(), compiler.said.append)
    assert compiler.runs == 1
    assert compiler.said[0].endswith(", once")


@pytest.mark.parametrize("of", [choice, kernels])
def test_where_nothing_can_be_kept_each_process_compiles_and_says_so(
    of: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_here", set())
    compiler = Compiler(monkeypatch, None, of)
    monkeypatch.setattr(of, "compiled" if of is choice else "cached", lambda: False)
    # Commands that are given nobody to tell have said whom.
    monkeypatch.setattr(compiling._Listener, "tell", None)
    compiling.tell_who_waits(compiler.said.append)
    for _ in range(2):
        compile_once(EncodeOptions()) if of is choice else compile_decoder()
    assert len(compiler.said) == compiler.runs == 1
    assert "in each run" in compiler.said[0] and "NUMBA_CACHE_DIR" in compiler.said[0]


def test_programs_apart_import_nothing_from_where_a_user_is(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('imported')")
    program = apart("import random, stcodec; print(stcodec.__file__)")
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent.name == "stcodec"
