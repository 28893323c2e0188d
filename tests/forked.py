"""The command in a new process that need not import everything again: a server imports once
(`tests/warm.py`), and each run is a fork of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any, NamedTuple

_CONTEXT: Any = None
_SIGNALS: dict[str, Any] = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}


def available() -> bool:
    """Whether this system can fork."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def run(
    arguments: list[str], environment: dict[str, str], timeout: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `stcodec` with `arguments` in a folder (none: this one), as `subprocess.run` would."""
    with tempfile.TemporaryDirectory() as outputs:
        names = [os.path.join(outputs, name) for name in ("out", "err")]
        with open(names[0], "w") as out, open(names[1], "w") as err:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            process = popen(arguments, env=environment, cwd=folder, warm_workers=2, **options)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said, told = (Path(name).read_text() for name in names)
        return subprocess.CompletedProcess(arguments, process.returncode, said, told)


def popen(arguments: list[Any], *, warm_workers: int = 0, **options: Any) -> subprocess.Popen[Any]:
    """Start `stcodec` with `arguments`, and with `options` of `subprocess.Popen`. warm_workers:
    how many of the workers of a batch are forks, too; the others begin anew."""
    words = [*map(str, arguments)]
    if available():
        return _Fork(words, warm_workers, options)
    return subprocess.Popen([sys.executable, "-m", "stcodec", *words], **options)


def finish(
    arguments: list[Any], input: bytes | str | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, with pipes for all that is not among the `options`."""
    pipe = subprocess.PIPE
    streams = {"stdin": pipe if input is not None else None, "stdout": pipe, "stderr": pipe}
    with popen(arguments, **{**streams, **options}) as process:
        out, err = process.communicate(input)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def start(
    arguments: list[str],
    environment: dict[str, str],
    streams: tuple[str, str, str],
    folder: Path | None = None,
    largest: int | None = None,
) -> Any:
    """Have `stcodec` run, with files or named pipes as its three standard streams, and files of at
    most so many bytes: a `multiprocessing.Process` that has been started."""
    where = os.getcwd() if folder is None else str(folder)
    what = _Start(arguments, environment, where, [], 0, None)
    process = _context().Process(target=_child, args=(what, streams, largest), daemon=True)
    process.start()
    return process


class _Handle:
    """A file descriptor that goes into the new process with what is pickled for it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[..., int], tuple[Any, ...]]:
        return _taken, (reduction.DupFd(self._number),)


def _taken(handle: Any) -> int:
    return int(handle.detach())


class _Start(NamedTuple):
    """What a new process is to do."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    handles: list[Any]
    warm_workers: int
    prepare: Callable[[], object] | None


class _Fork(subprocess.Popen):  # type: ignore[type-arg]
    """A process as of `subprocess`, but that it is a child of the server."""

    def __init__(self, words: list[str], warm_workers: int, options: dict[str, Any]) -> None:
        self._words, self._warm_workers = words, warm_workers
        super().__init__(["stcodec", *words], **options)

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: Any,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        *others: Any,
    ) -> None:
        # Behind three that are of no use here: both ends of three pipes.
        ends = others[3:9]
        theirs = [ends[0], ends[3], ends[5]]
        handles = [_Handle(number if end == -1 else end) for number, end in enumerate(theirs)]
        what = _Start(
            self._words,
            dict(os.environ if env is None else env),
            os.getcwd() if cwd is None else str(cwd),
            handles,
            self._warm_workers,
            preexec_fn,
        )
        self._process = _context().Process(target=_child, args=(what,))
        self._process.start()
        self.pid = self._process.pid
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            self._process.join(timeout)
            if self._internal_poll() is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return int(self.returncode)


def _context() -> Any:
    global _CONTEXT
    if _CONTEXT is None:
        _CONTEXT = multiprocessing.get_context("forkserver")
        _CONTEXT.set_forkserver_preload(["tests.warm"])
    return _CONTEXT


def _child(
    what: _Start, names: tuple[str, str, str] | tuple[()] = (), largest: int | None = None
) -> None:
    for number, name in enumerate(names):
        file = os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    if largest is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    for number, handle in enumerate(what.handles):
        os.dup2(handle, number)
        if handle > 2:
            os.close(handle)
    _open_streams()
    # The server may have been started by a process that passed over them.
    for name, handler in _SIGNALS.items():
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)
    os.environ.clear()
    os.environ.update(what.environment)
    os.chdir(what.folder)
    if what.prepare is not None:
        what.prepare()
    if what.warm_workers and what.arguments[:1] == ["batch"]:
        _keep_workers(what.warm_workers)
    sys.argv = ["stcodec", *what.arguments]
    from stcodec.terminal.cli import main

    main()


def _open_streams() -> None:
    # One that is replaced takes nothing with it.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


class _Worker:
    """A fork that waits for jobs, with what `batch.pool` wants of a process."""

    def __init__(self, others: list[_Worker]) -> None:
        to_read, write = os.pipe()
        read, to_write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            for other in others:
                other.stdin.close()
                other.stdout.close()
            for number, handle in ((0, to_read), (1, to_write)):
                os.dup2(handle, number)
            for handle in (to_read, write, read, to_write):
                os.close(handle)
            _open_streams()
            from stcodec.batch.worker import main

            try:
                main()
            except SystemExit as end:
                os._exit(int(end.code or 0))
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        os.close(to_read)
        os.close(to_write)
        self.stdin, self.stdout = open(write, "w"), open(read)  # noqa: SIM115
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _keep_workers(count: int) -> None:
    """Fork workers while there are no threads yet, and have the batch take them."""
    from stcodec.batch import pool

    kept: list[_Worker] = []
    for _ in range(count):
        kept.append(_Worker(kept))
    real = subprocess.Popen

    def taken(*arguments: Any, **options: Any) -> Any:
        return kept.pop() if kept else real(*arguments, **options)

    pool.subprocess = _Substitute(taken)  # type: ignore[attr-defined]


class _Substitute:
    """`subprocess`, but for what starts processes."""

    def __init__(self, popen: Callable[..., Any]) -> None:
        self.Popen = popen

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)
