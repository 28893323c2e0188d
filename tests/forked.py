"""The command in a new process that need not import everything again: a server imports once
(`tests/warm.py`), and each run is a fork of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def available() -> bool:
    """Whether this system can fork."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def run(
    arguments: list[str], environment: dict[str, str], timeout: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `stcodec` with `arguments` in a folder (none: this one), as `subprocess.run` would."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm"])
    with tempfile.TemporaryDirectory() as outputs:
        where = os.getcwd() if folder is None else str(folder)
        process = context.Process(target=_child, args=(arguments, environment, where, outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        out, err = (Path(outputs, name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, process.exitcode, out, err)


def _child(arguments: list[str], environment: dict[str, str], folder: str, outputs: str) -> None:
    for number, name in (
        (0, os.devnull),
        (1, os.path.join(outputs, "out")),
        (2, os.path.join(outputs, "err")),
    ):
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0)  # noqa: SIM115
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["stcodec", *arguments]
    from stcodec.terminal.cli import main

    main()
