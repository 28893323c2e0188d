"""Messages that say what to do next, and outputs that go where a user means."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import stcodec
from stcodec.container.stp import SIGNATURE
from stcodec.errors import StcodecError, UsageError
from tests.conftest import run

FAST = ("--model", "dct", "--effort", 0, "--progress", "none")


def test_what_a_link_leads_to_is_replaced(bee: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.stp", tmp_path / "link.stp"
    real.write_bytes(b"old")
    link.symlink_to(real)
    assert run("encode", bee, link, *FAST).returncode == 4
    assert run("encode", bee, link, "-y", *FAST).returncode == 0
    assert link.is_symlink() and real.read_bytes().startswith(SIGNATURE)
    assert os.listdir(tmp_path / "disk") == ["real.stp"]


def test_an_encoder_that_does_not_work_is_named(bee_stp: Path, tmp_path: Path) -> None:
    for codec in ("h264_nvenc", "hevc_amf"):
        with pytest.raises(UsageError, match=rf"codec '{codec}'.*stcodec codecs"):
            stcodec.decode(bee_stp, tmp_path / "a.mp4", codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m", "a%d.png", "a.stp"])
def test_a_full_disk_is_told_with_the_name_of_the_output(
    name: str, bee: Path, bee_stp: Path, tmp_path: Path
) -> None:
    work = stcodec.encode if name == "a.stp" else stcodec.decode
    source = bee if name == "a.stp" else bee_stp
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files can be made, and take little; as on a full disk, but for the words.
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(StcodecError) as caught:
            work(source, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(str(tmp_path / name)), str(caught.value)
    assert "partial" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


PLAIN = """
import signal, sys
for name in ("SIGHUP", "SIGKILL"):
    delattr(signal, name)
for name in ("fcntl", "resource", "pty", "termios"):
    sys.modules[name] = None
from stcodec.terminal.cli import main
for line in sys.argv[1:]:
    sys.argv = ["stcodec", *line.split("|")]
    try:
        main()
    except SystemExit as end:
        print("ended with", end.code or 0)
"""


def test_a_system_without_what_unix_has_will_do(bee_stp: Path, tmp_path: Path) -> None:
    decode = f"decode|{bee_stp}|{tmp_path / '日本.y4m'}|--progress|none"
    verify = f"verify|{bee_stp}|{tmp_path / 'gone.stp'}"
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, decode, verify],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"},
    )
    assert r"\u65e5\u672c.y4m: 20 frames" in done.stderr
    first, intact, last = done.stdout.splitlines()
    assert (first, last) == ("ended with 0", "ended with 3"), done.stderr
    assert "intact, 20 frames" in intact
    assert [p.name for p in tmp_path.iterdir()] == ["日本.y4m"]


def test_a_folder_that_is_gone_or_not_there_yet_is_said(bee: Path, tmp_path: Path) -> None:
    done = run("encode", bee, f"{tmp_path}/new/", *FAST)
    assert (done.returncode, "name the file that is to be in it" in done.stderr) == (2, True)
    line = f"cd '{tmp_path}' && mkdir gone && cd gone && rmdir ../gone && exec '{sys.executable}'"
    done = subprocess.run(
        ["sh", "-c", f"{line} -m stcodec encode '{bee}' x.stp"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "current folder is no longer there" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_where_the_system_knows_ascii_alone(bee: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment |= {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stcodec", "encode", bee, tmp_path / "日本.stp", *FAST]
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["日本.stp"]
