"""Commands and options that there are not: one line that says which one may be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run

ENCODE = ("encode", "in.mp4", "out.stp")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("encod", "in.mp4"), "No such command 'encod': is encode or record meant?"),
        (("compress", "in.mp4"), "is encode meant?"),
        (("version",), "is --version meant?"),
        (("film.stp", "out.mp4"), "comes before it: stcodec decode IN"),
        (("film.mov",), "comes before it: stcodec encode IN"),
        (("bench", "payload"), "is payloads meant?"),
        ((*ENCODE, "--qualty", "3"), "No such option --qualty: is --quality or --quiet meant?"),
        ((*ENCODE, "-crf", "23"), "No such option -crf: is --quality meant?"),
        ((*ENCODE, "-b:v", "1M"), "No such option -b:v: is --target-bitrate meant?"),
        ((*ENCODE, "--preset", "slow"), "is --effort meant?"),
        ((*ENCODE, "-vf", "scale=640:-2"), "No such option -vf: is --scale or --crop or --fps or"),
        (("decode", "a.stp", "b.mp4", "-vf", "crop=2:2"), "No such option -vf: is --crop meant?"),
        ((*ENCODE, "-ss", "5"), "is --start meant?"),
        (("encode", "-i", "in.mp4"), "inputs are named without it"),
        (("decode", "in.stp", "-q", "20"), "No such option -q: is --crf meant?"),
        (("encode", "a.mp4", "b.stp", "c.mp4"), "stcodec batch takes many"),
        (("encode", "in.mp4", ""), "a name is empty"),
        ((*ENCODE, "-y", "-n"), "-y and -n exclude each other"),
        ((*ENCODE, "--no-audio", "--audio", "aac"), "--no-audio and --audio aac exclude"),
    ],
)
def test_what_may_be_meant(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_there(bee: Path, bee_stp: Path, tmp_path: Path) -> None:
    for arguments, code, said in (
        (("encode", bee, "a.stp", "--model", "nope"), 1, "where there is dct, "),
        (("encode", bee, tmp_path), 2, "is a directory: name the file that is to be in it"),
        (("encode", bee, "a.stp", "--start", 9), 2, "which lasts 0.67 s: there is no picture"),
        (("encode", bee, "a.stp", "--fps", "1/100"), 2, "--fps 1/100 leaves no picture"),
        (("decode", bee_stp, "a.mp4", "--codec", "h265"), 2, "is libx265 meant?"),
        (("verify", bee), 3, "not a .stp file (stcodec encode makes one of a video)"),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    """As a full disk or a copy that was broken off leaves it."""
    empty = tmp_path / "a.stp"
    empty.touch()
    for arguments in (["info", empty], ["verify", empty], ["decode", empty, tmp_path / "a.mp4"]):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (3, f"stcodec: {empty}: is empty\n")
