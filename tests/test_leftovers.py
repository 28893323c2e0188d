"""What dead processes leave behind goes with the next command into the folder, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stcodec.common import files, leftovers
from stcodec.common.files import Overwrite, open_output, temporary_folder, temporary_output
from stcodec.terminal.failures import Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks here")

_HOLD = """
import pathlib, sys, time
from stcodec.common.files import temporary_output
with temporary_output(pathlib.Path(sys.argv[1]) / "held.stp") as path:
    path.write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _not_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_cleared", set())


def age(path: Path) -> None:
    old = time.time() - 3600
    os.utime(path, (old, old))


def write(folder: Path) -> None:
    leftovers._cleared.clear()
    with open_output(folder / "out.stp", Overwrite.YES) as stream:
        stream.write(b"done")


def test_an_interrupt_leaves_nothing_whenever_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal: while the file is made, and while it gets its name."""
    for name in ("claim", "_rename"):
        target, listening = tmp_path / f"{name}.stp", Interrupts()
        with monkeypatch.context() as patched:
            real = getattr(files, name)

            def come(*given: Any, real: Any = real, listening: Interrupts = listening) -> Any:
                done = real(*given)
                listening._come(signal.SIGINT, None)
                return done

            patched.setattr(files, name, come)
            with pytest.raises(KeyboardInterrupt):
                with open_output(target) as stream:
                    stream.write(b"done")
        listening.ignore()
        assert listening.came
        assert [p for p in tmp_path.iterdir() if p != target] == []
        assert target.exists() == (name == "_rename")
        target.unlink(missing_ok=True)


def test_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    [hidden] = tmp_path.iterdir()
    age(hidden)
    write(tmp_path)
    assert hidden.read_bytes() == b"half"
    process.kill()
    process.wait()
    process.stdout.close()
    write(tmp_path)
    assert os.listdir(tmp_path) == ["out.stp"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    names = [
        "video.partial",
        ".video.partial",
        ".video.12345678.partial.not.this",
        ".video.1234.partial.stp",
        ".video.12345678.resume.stp",
        "video.12345678.partial.stp",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"theirs")
        age(tmp_path / name)
    young = tmp_path / ".new.abcdefgh.partial.stp"
    young.write_bytes(b"just made")
    link = tmp_path / ".link.abcdefgh.partial.stp"
    link.symlink_to(tmp_path / names[0])
    write(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, young.name, link.name, "out.stp"])


def test_folders_of_the_dead_go(tmp_path: Path) -> None:
    dead = tmp_path / ".stcodec.abcdefgh.partial"
    dead.mkdir()
    (dead / "0001.png").write_bytes(b"x")
    age(dead)
    with temporary_folder(tmp_path) as ours:
        age(ours)
        write(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([ours.name, "out.stp"])
    assert os.listdir(tmp_path) == ["out.stp"]


def test_an_error_leaves_nothing_unless_it_should(tmp_path: Path) -> None:
    def interrupted(keep: bool) -> None:
        with temporary_output(tmp_path / "a.stp", key="0123", keep=keep) as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    for keep in (False, True):
        with pytest.raises(KeyboardInterrupt):
            interrupted(keep)
        names = os.listdir(tmp_path)
        assert bool(names) is keep
    assert names[0].startswith(".a.0123.") and names[0].endswith(".resume.stp")
