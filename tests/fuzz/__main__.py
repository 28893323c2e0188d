"""`make fuzz`: each target for some minutes, by atheris where it installs, else by hypothesis."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_INSTRUMENTED = [
    "stcodec.container",
    "stcodec.codec.chunk",
    "stcodec.codec.contexts",
    "stcodec.codec.decoder",
    "stcodec.codec.entropy",
    "stcodec.codec.model_files",
    "stcodec.codec.vectors",
]


def _with_atheris(name: str, seconds: float, found: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS, seeds

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds:.0f}", "-rss_limit_mb=3000", "-timeout=20"]
        where = [f"-artifact_prefix={found}/{name}-", "-max_len=20000", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, *where, corpus], TARGETS[name])
        atheris.Fuzz()


def _with_hypothesis(name: str, seconds: float, found: Path) -> None:
    """Seeds with changes, until the time is over."""
    from hypothesis import HealthCheck, given, settings

    from tests.fuzz.mutations import mutated
    from tests.fuzz.targets import TARGETS, seeds

    count, end = 0, time.monotonic() + seconds

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated(seeds(name)))
    def some(data: bytes) -> None:
        nonlocal count
        count += 1
        (found / f"{name}-last").write_bytes(data)
        TARGETS[name](data)

    while time.monotonic() < end:
        some()
    (found / f"{name}-last").unlink(missing_ok=True)
    print(f"stat::number_of_executed_units: {count}")


def main() -> None:
    """One process for each target, one after the other."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="default: all")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--found", type=Path, default=Path("fuzz"), help="folder for what fails")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    chosen.found.mkdir(parents=True, exist_ok=True)
    if chosen.one:
        try:
            import atheris  # noqa: F401
        except ImportError:
            _with_hypothesis(chosen.one, 60 * chosen.minutes, chosen.found)
        else:
            _with_atheris(chosen.one, 60 * chosen.minutes, chosen.found)
        return
    names, failed = chosen.targets or list(TARGETS), []
    for name in names:
        share = str(chosen.minutes / len(names))
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--minutes", share]
        done = subprocess.run(
            [*command, "--found", str(chosen.found)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "0"},
            check=False,
        )
        said = (done.stdout + done.stderr).splitlines()
        stats = [line.split()[-1] for line in said if "number_of_executed_units" in line]
        print(f"{name}: {stats[0] if stats else '?'} runs, exit code {done.returncode}", flush=True)
        if done.returncode:
            failed.append(name)
            print("\n".join(said[-60:]), file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
