"""Many files in one command, as a user does it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from stcodec.batch.run import Batch
from stcodec.batch.settings import Settings
from stcodec.batch.state import digest
from tests import forked
from tests.conftest import DATA, run
from tests.media import clip, write_clip

FAST = ("--model", "dct", "--effort", 0)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good films, one of them in a folder, a broken one, and what is no film."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "trip" / "day").mkdir(parents=True)
    write_clip(folder / "one.mp4", clip(16), codec="libx264", audio="aac")
    write_clip(folder / "trip" / "day" / "two.MKV", clip(8), codec="libx264")
    (folder / "broken.mov").write_bytes(b"no film at all" * 100)
    (folder / "notes.txt").write_text("hello")
    (folder / ".hidden.mp4").write_bytes(b"")
    return folder


def batch(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run("batch", *arguments, cwd=cwd)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def kinds(text: str) -> list[str]:
    return [e["event"] for e in events(text) if e["event"] not in ("started", "progress")]


def files(folder: Path) -> list[str]:
    """All files but the state."""
    found = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    return sorted(p for p in found if not p.startswith(".stcodec-batch/state"))


def test_there_and_back(films: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    done = batch(films, "-o", out, "-r", "--jobs", 2, "--json", *FAST)
    assert done.returncode == 1
    assert "1 of 3 files failed" in done.stderr
    assert files(out) == ["one.stp", "trip/day/two.stp"]
    said = events(done.stdout)
    assert said[0] == {"event": "batch", "version": 1, "files": 3, "waiting": 3, "jobs": 2}
    assert sorted(kinds(done.stdout)[1:-2]) == ["encoded", "encoded", "failed"]
    one = next(e for e in said if e["event"] == "encoded" and e["input"] == str(films / "one.mp4"))
    assert (one["output"], one["frames"], one["width"]) == (str(out / "one.stp"), 16, 64)
    assert one["output_bytes"] == (out / "one.stp").stat().st_size
    bad = next(e for e in said if e["event"] == "failed")
    assert (bad["input"], bad["exit_code"]) == (str(films / "broken.mov"), 3)
    assert {n: said[-2][n] for n in ("event", "done", "skipped", "failed")} == {
        "event": "batch_ended", "done": 2, "skipped": 0, "failed": 1,
    }  # fmt: skip
    assert said[-1] == {
        "event": "error",
        "version": 1,
        "message": "1 of 3 files failed",
        "exit_code": 1,
    }
    assert {e["version"] for e in said} == {1}

    # Again: what is done is skipped, what was damaged since is made anew.
    kept = (out / "one.stp").stat().st_mtime_ns
    whole = (out / "trip/day/two.stp").read_bytes()
    (out / "trip/day/two.stp").write_bytes(whole[:-9] + b"damaged!!")
    again = batch(films, "-o", out, "-r", *FAST)
    assert again.returncode == 1
    table = [line.split()[:2] for line in again.stderr.splitlines()]
    for row in (("failed", "broken.mov"), ("skipped", "one.mp4"), ("done", "trip/day/two.MKV")):
        assert [row[0], str(films / row[1])] in table
    assert (out / "one.stp").stat().st_mtime_ns == kept
    assert (out / "trip/day/two.stp").read_bytes() == whole

    # The sound can be left out on the way back.
    silent = batch(
        out / "one.stp", "-o", tmp_path / "silent", "--decode", "--no-audio", "--threads", 1
    )
    assert silent.returncode == 0, silent.stderr
    with av.open(str(tmp_path / "silent" / "one.mp4")) as container:
        assert [s.type for s in container.streams] == ["video"]

    decoded = batch(out, "-o", back, "-r", "--decode", "--to", "mkv")
    assert decoded.returncode == 0, decoded.stderr
    assert "Traceback" not in decoded.stderr
    assert files(back) == ["one.mkv", "trip/day/two.mkv"]
    with av.open(str(back / "one.mkv")) as container:
        assert len(list(container.decode(video=0))) == 16
    with av.open(str(back / "one.mkv")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 0.6 * 48000


@pytest.fixture
def queue_of_films(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    film = write_clip(tmp_path / "film.mp4", clip(16), codec="libx264")
    for name in "abcd":
        os.link(film, folder / f"{name}.mp4")
    return folder


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    arguments = ["batch", folder, "-o", out, "--jobs", 1, "--json", *FAST]
    return forked.popen(
        arguments,
        warm_workers=1,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def until(process: subprocess.Popen[str], kind: str, count: int) -> Iterator[dict[str, Any]]:
    """Events up to the `count`th of a kind."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        yield event
        count -= event["event"] == kind
        if not count:
            return


def children(process: subprocess.Popen[str]) -> list[int]:
    found = [p.read_text() for p in Path(f"/proc/{process.pid}/task").glob("*/children")]
    return [int(n) for text in found for n in text.split()]


def alive(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_killed_batch_is_resumed(queue_of_films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(queue_of_films, out) as process:
        made = [e["output"] for e in until(process, "encoded", 2) if e["event"] == "encoded"]
        assert "started" in [e["event"] for e in until(process, "started", 1)]
        workers = children(process)
        assert workers or sys.platform != "linux"
        process.kill()
        process.communicate()
    assert files(out)[-2:] == ["a.stp", "b.stp"]
    times = {name: (out / name).stat().st_mtime_ns for name in ("a.stp", "b.stp")}
    # Nobody is left who works for the batch that is gone.
    deadline = time.monotonic() + 30
    while any(alive(w) for w in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(w) for w in workers)

    done = batch("--resume", "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    said = events(done.stdout)
    assert sorted(e["output"] for e in said if e["event"] == "skipped") == sorted(made)
    assert [Path(e["output"]).name for e in said if e["event"] == "encoded"] == ["c.stp", "d.stp"]
    assert files(out) == ["a.stp", "b.stp", "c.stp", "d.stp"]
    assert {name: (out / name).stat().st_mtime_ns for name in times} == times
    # The options are those of the first run: same film, same bytes.
    assert (out / "d.stp").read_bytes() == (out / "a.stp").read_bytes()
    assert run("verify", out / "d.stp").returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_dead_worker_costs_its_file_alone_and_an_interrupt_leaves_nothing(
    queue_of_films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with start(queue_of_films, out) as process:
        list(until(process, "encoded", 1))
        list(until(process, "started", 1))
        os.kill(children(process)[0], signal.SIGKILL)
        said = list(until(process, "encoded", 1))
        failed = [e for e in said if e["event"] == "failed"]
        assert [Path(e["input"]).name for e in failed] == ["b.mp4"]
        assert "SIGKILL" in failed[0]["message"]
        list(until(process, "started", 1))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "--resume" in errors
    assert files(out) == ["a.stp", "c.stp"]
    assert sorted(p.name for p in (out / ".stcodec-batch").iterdir()) == ["state.jsonl"]


def test_two_inputs_with_one_output_are_an_error_before_any_work(tmp_path: Path) -> None:
    for name in ("a/film.mp4", "a/film.mov", "b/film.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    out = tmp_path / "out"
    for inputs in ((tmp_path / "a",), (tmp_path / "a/film.mp4", tmp_path / "b")):
        done = batch(*inputs, "-o", out)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "film.mp4" in done.stderr
        assert str(out / "film.stp") in done.stderr
    # The same file twice is one file.
    done = batch(tmp_path / "b", tmp_path / "b/film.mp4", "-o", out, "--dry-run")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert not out.exists()


def test_a_dry_run_does_nothing(films: Path, tmp_path: Path) -> None:
    done = batch(films, "-o", tmp_path / "out", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert [(e["event"], Path(e["output"]).name, e["action"]) for e in events(done.stdout)] == [
        ("planned", "broken.stp", "encode"),
        ("planned", "one.stp", "encode"),
    ]
    assert not (tmp_path / "out").exists()


def test_parts_share_the_files(queue_of_films: Path, tmp_path: Path) -> None:
    shares = []
    for part in ("1/3", "2/3", "3/3"):
        done = batch(queue_of_films, "-o", tmp_path / "out", "--dry-run", "--json", "--part", part)
        shares.append([Path(e["input"]).stem for e in events(done.stdout)])
    assert shares == [["a", "d"], ["b"], ["c"]]
    assert batch(queue_of_films, "-o", tmp_path / "out", "--part", "4/3").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="locks by fcntl")
def test_a_folder_of_outputs_has_one_writer(queue_of_films: Path, tmp_path: Path) -> None:
    import fcntl

    state = tmp_path / "out" / ".stcodec-batch"
    (state / "work").mkdir(parents=True)
    with open(state / "state.jsonl", "w") as other:
        fcntl.flock(other.fileno(), fcntl.LOCK_EX)
        done = batch(queue_of_films, "-o", tmp_path / "out")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "another batch" in done.stderr
    assert (state / "work").is_dir()


def test_what_is_not_of_this_batch_is_kept(tmp_path: Path) -> None:
    precious = tmp_path / "bee.stp"
    precious.write_bytes(b"precious")
    done = batch(DATA / "bee.mp4", tmp_path / "gone.mp4", "-o", tmp_path, "--json")
    assert done.returncode == 1
    failed = {
        Path(e["input"]).name: e["exit_code"] for e in events(done.stdout) if e["event"] == "failed"
    }
    assert failed == {"bee.mp4": 4, "gone.mp4": 3}
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--resume"], 2, "resume"),
        ([], 2, "input"),
        (["empty"], 3, "empty"),
        (["empty", "--crf", 20], 2, "--crf"),
        (["empty", "--decode", "--quality", 20], 2, "--quality"),
        (["empty", "--quality", 99], 2, "quality"),
        (["empty", "--quality", 32, "--min-psnr", 30], 2, "--min-psnr"),
        (["empty", "--to", "mkv"], 2, "--to"),
    ],
)
def test_usage(arguments: list[object], code: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = batch(*arguments, "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert text in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_link_that_leads_nowhere_is_a_file_that_failed(tmp_path: Path) -> None:
    """Where the disk is not there that it leads onto, a film would be left out without a word."""
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.mp4", clip(2))
    (tmp_path / "in" / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    done = batch("in", "-o", "out", *FAST, cwd=tmp_path)
    assert done.returncode == 1
    assert "in/b.mp4  is a link that leads nowhere" in done.stderr
    assert files(tmp_path / "out") == ["a.stp"]


def test_a_full_disk_under_the_state_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", clip(2))
    streams = ("/dev/null", str(tmp_path / "said"), str(tmp_path / "told"))
    words = ["batch", "a.mp4", "-o", "out", *map(str, FAST)]
    process = forked.start(words, {**os.environ}, streams, tmp_path, largest=100)
    process.join(60)
    assert process.exitcode == 1
    assert (tmp_path / "told").read_text().splitlines()[-1] == (
        f"stcodec: out/.stcodec-batch/state.jsonl: {os.strerror(errno.EFBIG)}"
    )


class _Intruder:
    """A pool in whose time something else takes the name of the output."""

    def __init__(self, target: Path, late: bool, patch: pytest.MonkeyPatch) -> None:
        self._target, self._late, self._patch = target, late, patch

    def run(self, jobs: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        made = Path(jobs[0]["target"])
        made.write_bytes(b"ours")
        link = os.link

        def intrude(*names: Any) -> None:
            self._target.write_bytes(b"theirs")
            link(*names)

        if self._late:
            self._patch.setattr(os, "link", intrude)
        else:
            self._target.write_bytes(b"theirs")
        yield 0, {"done": {"output_bytes": 4, "sha256": digest(made)}}

    def close(self) -> None:
        pass


@pytest.mark.parametrize("late", [False, True])
def test_an_output_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Now and by the next batch, also where it appears between the last look and the renaming."""
    write_clip(tmp_path / "a.mp4", clip(2), codec="libx264")
    target = tmp_path / "out" / "a.stp"
    settings = Settings((str(tmp_path / "a.mp4"),), str(tmp_path / "out"), ending=".stp")
    planned = Batch(settings)
    list(planned.run(lambda _: _Intruder(target, late, monkeypatch)))  # type: ignore[arg-type]
    [entry] = planned.entries
    assert (entry.state, entry.exit_code, target.read_bytes()) == ("failed", 4, b"theirs")
    [entry] = Batch(settings).entries
    assert (entry.state, entry.exit_code) == ("failed", 4)


def test_what_a_part_did_last_holds(tmp_path: Path) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4", clip(2), codec="libx264")
    command = ("a.mp4", "b.mp4", "-o", "out", "--threads", 1, *FAST)
    assert batch(*command, "-q", 20, cwd=tmp_path).returncode == 0
    assert batch(*command, "-q", 40, "-y", "--part", "1/2", cwd=tmp_path).returncode == 0
    again = batch(*command, "-q", 40, "--part", "1/2", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert kinds(again.stdout) == ["batch", "skipped", "batch_ended"]


def test_a_file_system_without_locks_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fcntl = pytest.importorskip("fcntl")
    from stcodec.batch.state import State

    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    state = State(str(tmp_path))
    state.open([])
    state.close(ended=True)
