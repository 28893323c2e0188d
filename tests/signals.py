"""Every command that takes its time, broken off at random moments: `python -m tests.load
signals`."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

_SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FAST = ("--model", "dct", "--effort", "0")
_SECONDS_TO_END = 600.0


class _Run(NamedTuple):
    """What came of a command: its exit code (minus a signal that it did not hear), what it said,
    and how long it took."""

    code: int | None
    said: str
    seconds: float


def _commands(source: Path, coded: Path) -> dict[str, list[object]]:
    """By name, with `out` for what they write, in a folder that is new each time."""
    return {
        "encode": ["encode", *_FAST, source, "out.stp"],
        "encode --verify": ["encode", *_FAST, "--verify", source, "out.stp"],
        "encode --min-psnr": ["encode", *_FAST, "--min-psnr", 36, source, "out.stp"],
        "encode --target-size": ["encode", *_FAST, "--target-size", "40kB", source, "out.stp"],
        "decode": ["decode", coded, "out.mkv"],
        "decode %d": ["decode", coded, "out%04d.png"],
        "decode --salvage": ["decode", "--salvage", coded, "out.mp4"],
        "verify --deep": ["verify", "--deep", coded],
        "compare": ["compare", "--metrics", "psnr,ms-ssim", source, coded],
        "sample": ["sample", *_FAST, source],
        "concat": ["concat", coded, coded, "-o", "out.stp"],
        "split": ["split", coded, "-o", "out%d.stp", "--every", "1"],
        "events": ["events", coded, "--csv", "out.csv"],
        "keyframes": ["keyframes", coded, "out", "--per", "segment"],
        "batch": ["batch", source, "-o", "out", "--jobs", 1, *_FAST],
        "bench payloads": ["bench", "payloads", source, "--models", "dct", "--jobs", 1],
    }


def _child(arguments: list[str], folder: str) -> None:
    from stcodec import __main__ as program

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), program._leave)
    os.setpgid(0, 0)
    os.chdir(folder)
    said = os.open("../said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["stcodec", *arguments]
    Path("../begun").touch()
    program.main()


def _run(arguments: list[object], folder: Path, send: Callable[[Any], None] | None = None) -> _Run:
    """Run a command in a new folder; `send` is called when it has begun."""
    begun, where = folder / "begun", folder / "work"
    begun.unlink(missing_ok=True)
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.warm"])
    process = context.Process(target=_child, args=([*map(str, arguments)], str(where)))
    process.start()
    while not begun.exists() and process.exitcode is None:
        time.sleep(0.001)
    start = time.monotonic()
    if send is not None:
        send(process)
    process.join(_SECONDS_TO_END)
    seconds = time.monotonic() - start
    assert process.exitcode is not None, (arguments, "does not end")
    return _Run(process.exitcode, (folder / "said").read_text(), seconds)


def _files(folder: Path) -> dict[str, int]:
    """Sizes of all `.stp` files in a folder, by name, and 0 for others, which encoders of several
    threads make a little different each time."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.name != "state.jsonl"]
    return {
        str(p.relative_to(folder)): p.stat().st_size if p.suffix == ".stp" else 0 for p in found
    }


def signals(folder: Path, source: Path, coded: Path, count: int, seed: int = 1) -> str:
    """Run each command whole, then `count` commands broken off: exit code 130 and one line, also
    where a second signal follows; nothing left but what is whole."""
    rng, kinds = random.Random(seed), _commands(source, coded)
    whole: dict[str, tuple[float, dict[str, int]]] = {}
    for name, arguments in kinds.items():
        done = _run(arguments, folder)
        assert done.code == 0, (name, done)
        whole[name] = done.seconds, _files(folder / "work")
    broken = twice = ended = 0
    for number in range(count):
        name = list(kinds)[number % len(kinds)]
        seconds, right = whole[name]
        moment, again = rng.uniform(0, seconds), rng.choice([None, 0.01, 0.2])
        chosen = rng.choice(_SIGNALS)

        def send(
            process: Any,
            moment: float = moment,
            again: float | None = again,
            chosen: signal.Signals = chosen,
        ) -> None:
            process.join(moment)
            for wait in [0.0] if again is None else [0.0, again]:
                process.join(wait)
                if process.exitcode is None:
                    os.kill(process.pid, chosen)

        done = _run(kinds[name], folder, send)
        what = (name, f"{chosen.name} at {moment:.3f} s, again: {again}", done)
        assert done.code in (0, 130), what
        assert "Traceback" not in done.said and "unexpected" not in done.said, what
        if done.code:
            assert "stcodec: interrupted" in done.said.splitlines(), what
            broken, twice = broken + 1, twice + (again is not None)
        else:
            ended += 1
        left = _files(folder / "work")
        # Whole outputs may be there, of commands that write several; nothing else.
        assert left.items() <= right.items(), (what, left)
        assert bool(done.code) or left == right, (what, left)
    return (
        f"{count} runs of {len(kinds)} commands (seed {seed}): {broken} broken off by a signal "
        f"({twice} of them by two), each with exit code 130 and nothing left; {ended} had ended"
    )


def prepared(folder: Path, source: Path) -> Path:
    """The source, coded."""
    coded = folder / "coded.stp"
    command = [sys.executable, "-m", "stcodec", "encode", "--quiet", *_FAST, source, coded]
    subprocess.run([*map(str, command)], check=True)
    return coded
