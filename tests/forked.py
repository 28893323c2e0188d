"""The command in a new process that need not import everything again: a server imports once
(`tests/warm.py`), and each run is a fork of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def available() -> bool:
    """Whether this system can fork."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def run(
    arguments: list[str], environment: dict[str, str], timeout: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `stcodec` with `arguments` in a folder (none: this one), as `subprocess.run` would."""
    with tempfile.TemporaryDirectory() as outputs:
        streams = os.devnull, os.path.join(outputs, "out"), os.path.join(outputs, "err")
        process = start(arguments, environment, streams, folder)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        out, err = (Path(outputs, name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, process.exitcode, out, err)


def start(
    arguments: list[str],
    environment: dict[str, str],
    streams: tuple[str, str, str],
    folder: Path | None = None,
    largest: int | None = None,
) -> Any:
    """Have `stcodec` run, with files or named pipes as its three standard streams, and files of at
    most so many bytes: a `multiprocessing.Process` that has been started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm"])
    where = os.getcwd() if folder is None else str(folder)
    process = context.Process(
        target=_child, args=(arguments, environment, where, streams, largest), daemon=True
    )
    process.start()
    return process


def _child(
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    streams: tuple[str, str, str],
    largest: int | None,
) -> None:
    for number, name in enumerate(streams):
        file = os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    if largest is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.stdin = open(0)  # noqa: SIM115
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["stcodec", *arguments]
    from stcodec.terminal.cli import main

    main()
