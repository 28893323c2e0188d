"""What is compiled is kept; what of that is damaged is compiled again, and a disk that takes
nothing is no error."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stcodec.common.compiled import cache_folder, is_cached, room

pytest.importorskip("numba")

LOOPS = """
from stcodec.common.compiled import compiled

@compiled
def total(n):
    found = 0
    for i in range(n):
        found += i
    return found
"""


@pytest.fixture
def loops(tmp_path: Path) -> Callable[[], Any]:
    """Reads the loops as another process would."""
    path = tmp_path / "total_kernels.py"
    path.write_text(LOOPS)

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("total_kernels", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.total

    return load


def kept(folder: Path, ending: str) -> Path:
    [path] = folder.glob(f"*{ending}")
    return path


def hits(total: Any) -> int:
    return sum(total.stats.cache_hits.values())


def test_what_is_kept_is_used_and_what_is_damaged_is_not(loops: Callable[[], Any]) -> None:
    total = loops()
    assert not is_cached(total)
    assert total(5) == 10
    assert is_cached(total)
    folder = cache_folder(total)
    assert folder is not None
    again = loops()
    assert is_cached(again) and again(5) == 10 and hits(again) == 1

    for ending in (".nbi", ".nbc"):
        whole = kept(folder, ending).read_bytes()
        for damaged in (b"", whole[:-5], whole[:40], b"\x80\x05garbage" * 9):
            kept(folder, ending).write_bytes(damaged)
            other = loops()
            assert not is_cached(other), (ending, len(damaged))
            assert other(5) == 10 and hits(other) == 0
            # Compiled again, and kept.
            assert is_cached(loops())
    # Code with one changed bit would run.
    whole = kept(folder, ".nbc").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    kept(folder, ".nbc").write_bytes(flipped)
    assert not is_cached(loops())
    kept(folder, ".nbc").unlink()
    assert not is_cached(loops())
    assert loops()(5) == 10


def test_what_another_machine_has_compiled_is_not_taken_for_ready(
    loops: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    total = loops()
    assert total(5) == 10 and is_cached(total)
    codegen = type(total.targetctx.codegen())
    monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("another", "machine", ""))
    assert not is_cached(loops())


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path, loops: Callable[[], Any]) -> None:
    """Nor is a setting that is meant for other loops, without which these cannot run."""
    loops()
    program = (
        "import resource, sys; from pathlib import Path\n"
        "sys.dont_write_bytecode = True\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        # As a full disk does: files can be made, and take little.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from total_kernels import total\n"
        "from stcodec.common.compiled import cache_folder, is_cached, room\n"
        "assert cache_folder(total) is None\n"
        "assert (total(5), is_cached(total)) == (10, False)\n"
        "assert total.signatures\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
            "NUMBA_DISABLE_JIT": "1",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_kept_is_read_without_all_that_a_compiler_knows(
    tmp_path: Path, loops: Callable[[], Any]
) -> None:
    """Which is there as soon as something has to be compiled."""
    compiling = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from total_kernels import total\n"
        "def ready(): return 'numba.np.polynomial.polynomial_core' in sys.modules\n"
        "assert total(5) == 10\n"
    )
    loading = (
        "assert sum(total.stats.cache_hits.values()) == 1 and not ready()\n"
        "assert total(True) == 0 and ready()\n"
    )
    for program in (compiling, compiling + loading):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_room(tmp_path: Path) -> None:
    assert room(tmp_path / "new" / "folder")
    (tmp_path / "file").touch()
    assert not room(tmp_path / "file" / "folder")


def test_where_it_is_kept_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
    assert "NUMBA_CACHE_DIR" in page
