"""Standard streams that are closed, full or a terminal, text that is not fit for them, signals in a
hurry, and errors that nobody foresaw."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stcodec.common import interrupts
from stcodec.common.pipes import InterruptibleReader
from stcodec.container import records, stp
from stcodec.media.reader import VideoReader
from stcodec.terminal import summaries
from stcodec.terminal.failures import Interrupts, describe
from stcodec.terminal.report import Reporter, to_line
from stcodec.terminal.streams import printable
from tests import forked
from tests.conftest import DATA, run

FAST = "--model dct --effort 0 --progress none"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of sh in which `stcodec` is the command."""
    define = f'stcodec() {{ "{sys.executable}" -m stcodec "$@"; }}\n'
    root = str(Path(__file__).parent.parent)
    return subprocess.run(
        ["sh", "-c", define + line],
        cwd=folder,
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, **environment},
    )


@pytest.fixture(scope="module")
def titled(bee_stp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bee under a title in Japanese with a terminal's escapes in it."""
    target = tmp_path_factory.mktemp("titled") / "bee.stp"
    with open(bee_stp, "rb") as source, open(target, "wb") as stream:
        reader = stp.Reader(source)
        title = {"title": "日本\x1b]0;owned\x07\x9b31m\nname"}
        writer = stp.Writer(stream, reader.header, reader.streams, title, reader.blobs)
        for item in reader:
            if isinstance(item, records.VideoChunk):
                writer.write_chunk(item)
            else:
                writer.write_packet(item)
        writer.close()
    return target


@pytest.mark.parametrize("more", ["", "--json"])
@pytest.mark.parametrize(("where", "why"), [("/dev/full", "No space left"), ("&-", "Bad file")])
def test_a_standard_output_that_takes_nothing_is_one_line(
    bee_stp: Path, tmp_path: Path, where: str, why: str, more: str
) -> None:
    done = shell(f"stcodec info '{bee_stp}' {more} >{where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"stcodec: standard output: cannot be written (" + why.encode())
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("where", ["/dev/full", "&-"])
def test_an_output_on_a_standard_output_that_takes_nothing(
    bee_stp: Path, tmp_path: Path, where: str
) -> None:
    done = shell(f"stcodec concat '{bee_stp}' -o - >{where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"stcodec: standard output: ")
    assert done.stderr.count(b"\n") == 1


def test_streams_that_are_closed_do_not_end_in_the_output(bee_stp: Path, tmp_path: Path) -> None:
    """Their numbers go to the next files that are opened; what is printed must not go there."""
    done = shell(f"stcodec concat '{bee_stp}' '{bee_stp}' -o a.stp <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    assert run("verify", tmp_path / "a.stp").returncode == 0
    assert shell("stcodec concat gone.stp -o b.stp 2>&-", tmp_path).returncode == 3
    missing = shell(f"stcodec encode - b.stp {FAST} <&-", tmp_path)
    assert (missing.returncode, missing.stderr.count(b"\n")) == (3, 1), missing.stderr


def test_titles_reach_any_terminal_as_text(titled: Path, tmp_path: Path) -> None:
    done = shell(f"stcodec info '{titled}'", tmp_path, PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert r"日本\x1b]0;owned\x07\x9b31m\nname" in text
    narrow = shell(f"stcodec info '{titled}'", tmp_path, PYTHONIOENCODING="cp1252")
    assert narrow.returncode == 0, narrow.stderr
    assert rb"\u65e5\u672c\x1b" in narrow.stdout
    events = shell(f"stcodec info '{titled}' --json", tmp_path, PYTHONIOENCODING="cp1252")
    title = json.loads(events.stdout.decode("ascii"))["metadata"]["title"]
    assert title == "日本\x1b]0;owned\x07\x9b31m\nname"


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_not_utf_8_leave_json_whole(bee_stp: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.stp")
    (tmp_path / name).write_bytes(bee_stp.read_bytes())
    done = run("verify", name, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["input"] == "caf\ufffd.stp"
    assert run("verify", name, cwd=tmp_path).returncode == 0
    batch = run("batch", "--decode", name, "-o", "out", "--to", "y4m", "--json", cwd=tmp_path)
    assert batch.returncode == 0, batch.stderr
    assert os.path.isfile(os.fsencode(tmp_path / "out") + b"/caf\xe9.y4m")


def test_json_is_ascii_and_says_the_same() -> None:
    value = {"a": ["é", "日本", "\U0001f41d", "\x7f\x9b\u2028", 'quote"', 1.5, None]}
    line = to_line(value)
    assert line.isascii() and line.isprintable()
    assert json.loads(line) == value
    assert json.loads(to_line("a\udce9b")) == "a\ufffdb"


def test_printable_keeps_words_of_all_languages() -> None:
    kept = "Ünïcode 日本 العربية 👩‍👩‍👧 a\tb"
    assert printable(kept) == kept
    assert printable("a\rb\u202ec\x1b[31m") == r"a\rb\u202ec\x1b[31m"


def test_a_stp_file_is_not_written_under_another_name(bee_stp: Path, tmp_path: Path) -> None:
    for arguments in (
        ("encode", DATA / "bee.mp4", tmp_path / "out.mp4"),
        ("encode", DATA / "bee.mp4", tmp_path / "out.PNG", "-y"),
        ("concat", bee_stp, "-o", tmp_path / "out.mkv"),
        ("split", bee_stp, "-o", tmp_path / "out%d.mov", "--every", 1),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "what is written is a .stp file" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["encode", "decode", "concat -o"])
def test_a_terminal_gets_no_video(bee_stp: Path, tmp_path: Path, command: str) -> None:
    name, *more = command.split()
    source = DATA / "bee.mp4" if name == "encode" else bee_stp
    outer, inner = pty.openpty()
    try:
        done = forked.finish([name, source, *more, "-"], stdin=subprocess.DEVNULL, stdout=inner)
    finally:
        os.close(inner)
        os.close(outer)
    assert done.returncode == 2
    assert b"is a terminal" in done.stderr


FAILING = """
import os, signal, sys
from stcodec.flows import inspect
from stcodec.terminal.cli import main
def info(path):
    {what}
inspect.info = info
sys.argv = ["stcodec", "info", "x.stp", *sys.argv[1:]]
main()
"""


def failing(what: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in whose middle something happens."""
    return subprocess.run(
        [sys.executable, "-c", FAILING.format(what=what), *more],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise ValueError('first\\nsecond')", "unexpected ValueError: first (please report this"),
        ("raise EOFError", "unexpected EOFError: no message (please report this"),
        ("raise MemoryError", "out of memory"),
        ("raise OSError(28, 'No space left', 'a.stp')", "a.stp: No space left"),
        ("raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')", "out of memory"),
    ],
)
def test_what_nobody_foresaw_is_one_line(what: str, said: str) -> None:
    done = failing(what)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"stcodec: {said}")
    told = failing(what, "--json")
    event = json.loads(told.stdout)
    assert (event["event"], event["exit_code"]) == ("error", 1)
    assert event["message"].startswith(said)


def test_a_traceback_is_shown_to_who_asks() -> None:
    done = failing("raise ValueError('here')", STCODEC_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in info" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("stcodec: unexpected ValueError: here")


@pytest.mark.parametrize(
    "what",
    [
        # As compiled loops do with an interrupt: it becomes an error of another kind.
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt as e: raise SystemError('returned a result') from e",
        # An impatient hand, while the command tidies up.
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally: [os.kill(os.getpid(), signal.SIGINT) for _ in range(5)]",
        "try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: os.kill(os.getpid(), signal.SIGTERM)",
        "os.kill(os.getpid(), signal.SIGHUP)",
    ],
)
def test_signals_end_a_command_with_one_line(what: str) -> None:
    done = failing(what)
    assert (done.returncode, done.stderr) == (130, "stcodec: interrupted\n")


def test_an_interrupt_in_code_made_from_text_is_as_any_other(tmp_path: Path) -> None:
    """dataclasses and numba make code so. Python remembers the interrupt as one that nobody has
    caught, and kills what was started by `-m` in the end."""
    what = "exec('os.kill(os.getpid(), signal.SIGINT)')"
    (tmp_path / "program.py").write_text(FAILING.format(what=what))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (130, "stcodec: interrupted\n")


def test_an_interrupt_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    listening = Interrupts()
    assert not listening.came
    for seconds, counts in ((0, True), (1, False), (1.9, False), (3, True), (4, False)):
        now[0] = seconds
        if counts:
            with pytest.raises(KeyboardInterrupt):
                listening._come(signal.SIGINT, None)
        else:
            listening._come(signal.SIGINT, None)
    assert listening.came
    listening.ignore()


def test_an_interrupt_that_a_library_drops_is_not_lost() -> None:
    """As where it comes in a call back from C: nothing is raised there, and the command goes on."""
    done = failing(
        "from stcodec.common.threads import run_ahead\n"
        "    class Dropping:\n"
        "        def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "    for item in run_ahead(range(9), lambda item: None, lambda: None):\n"
        "        print(item)\n"
        "        Dropping()"
    )
    assert (done.returncode, done.stdout) == (130, "(0, None)\n")
    assert done.stderr == "stcodec: interrupted\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_pyav_loses_is_no_end_of_a_video(tmp_path: Path) -> None:
    """It may come when the function that FFmpeg calls has begun, and not yet come to its `try`."""
    picture = b"FRAME\n" + bytes(96 * 64 * 3 // 2)
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W96 H64 F25:1\n" + 12 * picture)
    armed = False

    def come(frame: Any, event: str, _: object) -> None:
        if armed and frame.f_code is InterruptibleReader.read.__code__:
            sys.settrace(None)
            interrupts.interrupt_came()
            raise KeyboardInterrupt

    before = sys.gettrace()
    with open(tmp_path / "a.y4m", "rb") as stream, VideoReader(stream) as video:
        sys.settrace(come)
        try:
            for _ in video:
                armed = True
        except KeyboardInterrupt:
            armed = False
        finally:
            sys.settrace(before)
            interrupts.forget_interrupt()
    assert not armed


def test_an_interrupt_ends_the_main_thread_alone_and_once() -> None:
    interrupts.interrupt_came()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupts.check_interrupt).result()
    with pytest.raises(KeyboardInterrupt):
        interrupts.check_interrupt()
    interrupts.check_interrupt()
    interrupts.interrupt_came()
    interrupts.forget_interrupt()
    interrupts.check_interrupt()


def test_an_interrupt_while_the_command_is_loaded_is_one_line() -> None:
    """As early as Python can tell; what it does itself before that shows nothing of ours."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from stcodec.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "info", "x.stp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "stcodec: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no nohup")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    command = FAILING.format(what="os.kill(os.getpid(), signal.SIGHUP); raise ValueError('on')")
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$0" -c "$1"', sys.executable, command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "unexpected ValueError: on" in done.stderr


def test_errors_are_said_to_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(as_json=True, quiet=True).failed("a\nb", 3)
    said = capsys.readouterr()
    assert said.err == "stcodec: a\\nb\n"
    assert json.loads(said.out)["message"] == "a\nb"
    Reporter(quiet=True).note("nothing")
    Reporter(as_json=True).result("nothing")
    assert capsys.readouterr().err == ""
    summaries.serving("a\x1b", "http://x")
    assert capsys.readouterr().out.startswith("a\\x1b: http://x")


def test_messages_of_a_system_that_fails_ask_for_no_report() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch calls it."""

    assert describe(OutOfMemoryError("CUDA out of memory.\nTried")) == ("CUDA out of memory.", 1)


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["decode", "no.stp"], 3)])
def test_what_a_process_has_promised_for_its_end_is_done(arguments: list[str], code: int) -> None:
    program = (
        "import atexit, sys, threading, time\n"
        "from stcodec.__main__ import main\n"
        "atexit.register(print, 'the last words', end='')\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('a thread'))).start()\n"
        f"sys.argv = ['stcodec', *{arguments!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.endswith("a thread\nthe last words")
