"""The command as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import forked
from tests.conftest import interrupt, make_video, moving_picture, psnr, read_times, run


def test_round_trip_keeps_frames_times_size_and_audio(
    bee: Path, bee_stp: Path, tmp_path: Path
) -> None:
    back = tmp_path / "back.mp4"
    assert run("decode", bee_stp, back).returncode == 0
    assert read_times(back) == read_times(bee)
    with av.open(str(bee)) as a, av.open(str(back)) as b:
        assert (a.streams.video[0].width, a.streams.video[0].height) == (160, 90)
        assert (b.streams.video[0].width, b.streams.video[0].height) == (160, 90)
        packets = [
            [(p.pts * p.time_base, bytes(p)) for p in c.demux(audio=0) if p.size] for c in (a, b)
        ]
        assert packets[0] == packets[1]
    with av.open(str(bee)) as a, av.open(str(back)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True):
            assert psnr(x.to_ndarray(format="gray"), y.to_ndarray(format="gray")) > 30


def test_y4m_to_a_file_and_to_a_pipe_are_the_same(bee_stp: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.y4m"
    assert run("decode", bee_stp, target, "--quiet").returncode == 0
    piped = forked.finish(["decode", bee_stp, "-", "--quiet"])
    assert piped.stdout == target.read_bytes()
    assert piped.stdout.startswith(b"YUV4MPEG2 W160 H90 ")


def test_standard_input_and_output(bee: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", frames=3)
    with open(tmp_path / "a.mkv", "rb") as stdin:
        done = forked.finish(["encode", "-", "-", "--quiet"], stdin=stdin)
    (tmp_path / "b.stp").write_bytes(done.stdout)
    assert run("verify", tmp_path / "b.stp").stdout.strip().endswith("intact, 3 frames in 1 chunks")


@pytest.mark.parametrize(
    ("width", "height", "frames"), [(2, 2, 1), (15, 33, 9), (70, 18, 8), (64, 48, 17)]
)
def test_odd_sizes_and_frame_counts(tmp_path: Path, width: int, height: int, frames: int) -> None:
    source, coded, back = tmp_path / "s.mkv", tmp_path / "s.stp", tmp_path / "s.mp4"
    make_video(source, width=width, height=height, frames=frames)
    assert run("encode", source, coded, "-q", "40").returncode == 0
    done = run("decode", coded, back)
    assert done.returncode == 0, done.stderr
    with av.open(str(back)) as container:
        decoded = list(container.decode(video=0))
    assert len(decoded) == frames
    assert (decoded[0].width, decoded[0].height) == (width, height)


def test_variable_frame_rate_and_negative_start(tmp_path: Path) -> None:
    times = [-7, 0, 3, 50, 51, 52, 400, 401, 1000, 1001]
    source, coded, back = tmp_path / "v.mkv", tmp_path / "v.stp", tmp_path / "v.mp4"
    make_video(source, frames=10, pts=lambda i: times[i] + 7, time_base=Fraction(1, 1000))
    assert run("encode", source, coded).returncode == 0
    assert run("decode", coded, back).returncode == 0
    assert read_times(back) == [Fraction(t + 7, 1000) for t in times]


def test_existing_output_is_refused_without_a_terminal(bee: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.stp"
    target.write_bytes(b"precious")
    done = run("encode", bee, target)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert str(target) in done.stderr
    assert run("encode", bee, target, "-n").returncode == 4
    assert target.read_bytes() == b"precious"
    assert run("encode", bee, target, "-y", "-q", "0").returncode == 0
    assert target.read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("encode", "missing.mp4", "x.stp"), 3),
        (("encode", "text.mp4", "x.stp"), 3),
        (("decode", "text.mp4", "x.mp4"), 3),
        (("info", "text.mp4"), 3),
        (("encode", "text.mp4", "x.stp", "-q", "64"), 2),
        (("encode", "text.mp4", "x.stp", "--effort", "3"), 2),
        (("encode", "text.mp4", "x.stp", "--device", "abacus"), 2),
        (("encode", "text.mp4", "text.mp4"), 2),
        (("encode", "text.mp4", "x.stp", "--model", "nobody"), 1),
        (("decode", "text.mp4", "x.avi"), 2),
        (("encode", "text.mp4", "no/such/folder/x.stp"), 1),
        (("nonsense",), 2),
    ],
)
def test_errors_are_one_line_and_have_a_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("stcodec: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text.mp4"]


def test_truncated_and_damaged_files_are_reported_with_the_chunk(
    bee_stp: Path, tmp_path: Path
) -> None:
    whole = bee_stp.read_bytes()
    cut, flipped = tmp_path / "cut.stp", tmp_path / "flipped.stp"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    damaged = bytearray(whole)
    damaged[whole.index(b"CHNK") + 200] ^= 0x10
    flipped.write_bytes(damaged)
    for path in (cut, flipped):
        for command in (("decode", path, tmp_path / "x.mp4"), ("verify", path)):
            done = run(*command)
            assert done.returncode == 3
            assert "chunk" in done.stderr
            assert str(path) in done.stderr
    assert not (tmp_path / "x.mp4").exists()
    assert run("info", cut).returncode == 0


def test_interrupt_leaves_nothing_behind(bee: Path, tmp_path: Path) -> None:
    source = tmp_path / "long.mkv"
    make_video(source, width=320, height=240, frames=150)
    interrupt("encode", source, tmp_path / "x.stp", when=lambda: list(tmp_path.glob(".*partial*")))
    assert [p.name for p in tmp_path.iterdir()] == ["long.mkv"]


def test_info_and_json(bee_stp: Path) -> None:
    found = json.loads(run("info", bee_stp, "--json").stdout)
    assert (found["width"], found["height"], found["frames"], found["chunks"]) == (160, 90, 20, 3)
    assert found["bytes"] == bee_stp.stat().st_size
    assert found["streams"][0]["codec"] == "aac"
    assert abs(found["duration"] - 20 * 1001 / 30000) < 0.002
    assert "160 x 90" in run("info", bee_stp).stdout


def test_encode_prints_json(bee: Path, tmp_path: Path) -> None:
    done = run("encode", bee, tmp_path / "j.stp", "--json", "-q", "5")
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["event"] == "encoded"
    assert event["frames"] == 20
    assert event["output_bytes"] == (tmp_path / "j.stp").stat().st_size


@pytest.mark.parametrize("arguments", [["--help"], ["info", "X"], ["encode", "--help"]])
def test_light_commands_do_not_import_torch(arguments: list[str], bee_stp: Path) -> None:
    arguments = [str(bee_stp) if a == "X" else a for a in arguments]
    program = (
        "import sys, stcodec.terminal.cli as c\n"
        f"sys.argv = ['stcodec', *{arguments!r}]\n"
        "try:\n    c.main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules and 'av' not in sys.modules, 'heavy import'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_quality_is_monotone_and_wide(tmp_path: Path, bee: Path) -> None:
    sizes, qualities = [], []
    with av.open(str(bee)) as container:
        source = [f.to_ndarray(format="yuv420p") for f in container.decode(video=0)]
    for quality in (0, 21, 42, 63):
        coded, back = tmp_path / f"{quality}.stp", tmp_path / f"{quality}.y4m"
        assert run("encode", bee, coded, "-q", quality, "--no-audio").returncode == 0
        assert run("decode", coded, back).returncode == 0
        with av.open(str(back)) as container:
            decoded = [f.to_ndarray(format="yuv420p") for f in container.decode(video=0)]
        sizes.append(coded.stat().st_size)
        qualities.append(float(np.mean([psnr(a, b) for a, b in zip(source, decoded, strict=True)])))
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert qualities[-1] - qualities[0] > 11


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file of two segments of 20 pictures each at 25 frames/s, and its decoded y4m."""
    folder = tmp_path_factory.mktemp("scenes")
    source, coded, decoded = folder / "in.y4m", folder / "in.stp", folder / "out.y4m"
    with source.open("wb") as stream:
        stream.write(b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n")
        for i in range(40):
            planes = moving_picture(i, 64, 48)
            if i >= 20:
                planes = [255 - plane for plane in planes]
            stream.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))
    assert run("encode", source, coded, "--model", "dct").returncode == 0
    assert run("decode", coded, decoded).returncode == 0
    return coded, decoded.read_bytes()


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [("1.2", "0:01.4", 30, 35), ("0:0.2", "1", 5, 25), ("1", None, 25, 40)],
)
def test_a_part_decodes_to_the_same_pictures(
    two_scenes: tuple[Path, bytes],
    tmp_path: Path,
    start: str,
    end: str | None,
    first: int,
    last: int,
) -> None:
    coded, whole = two_scenes
    part = tmp_path / "part.y4m"
    until = [] if end is None else ["--end", end]
    result = run("decode", coded, part, "--start", start, *until)
    assert result.returncode == 0, result.stderr
    assert part.read_bytes().split(b"FRAME\n")[1:] == whole.split(b"FRAME\n")[1:][first:last]


def test_encoding_a_part_is_encoding_that_part(tmp_path: Path) -> None:
    head = b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n"
    frames = [
        b"FRAME\n" + b"".join(p.tobytes() for p in moving_picture(i, 64, 48)) for i in range(30)
    ]
    whole, part = tmp_path / "whole.y4m", tmp_path / "part.y4m"
    whole.write_bytes(head + b"".join(frames))
    part.write_bytes(head + b"".join(frames[5:20]))
    assert (
        run(
            "encode", whole, tmp_path / "a.stp", "--model", "dct", "--start", "0.2", "--end", "0.8"
        ).returncode
        == 0
    )
    assert run("encode", part, tmp_path / "b.stp", "--model", "dct").returncode == 0
    assert (tmp_path / "a.stp").read_bytes() == (tmp_path / "b.stp").read_bytes()
    assert (
        run(
            "encode",
            whole,
            tmp_path / "c.stp",
            "--model",
            "dct",
            "--start",
            "0.2",
            "--duration",
            "0.6",
        ).returncode
        == 0
    )
    assert (tmp_path / "c.stp").read_bytes() == (tmp_path / "b.stp").read_bytes()


def test_a_part_that_is_not_there_is_a_usage_error(
    two_scenes: tuple[Path, bytes], tmp_path: Path
) -> None:
    coded, _ = two_scenes
    part = tmp_path / "part.mp4"
    assert (
        run("encode", coded.with_name("in.y4m"), tmp_path / "x.stp", "--start", "9").returncode == 2
    )
    assert not (tmp_path / "x.stp").exists()
    for arguments in (
        ["--start", "9"],
        ["--start", "2", "--end", "1"],
        ["--end", "1", "--duration", "1"],
        ["--start", "soon"],
    ):
        result = run("decode", coded, part, *arguments)
        assert result.returncode == 2
        assert not part.exists()


def test_sound_stays_with_its_part(bee_stp: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.mp4"
    assert run("decode", bee_stp, part, "--start", "0.3").returncode == 0
    assert 0 <= read_times(part)[0] < 0.04
    with av.open(str(part)) as container:
        audio = container.streams.audio[0]
        sounds = [float(p.pts * p.time_base) for p in container.demux(audio) if p.pts is not None]
    assert -0.05 < min(sounds) < 0.05
    assert 0.2 < max(sounds) < 0.6


def test_no_larger_refuses_and_leaves_nothing(bee: Path, tmp_path: Path) -> None:
    result = run("encode", bee, tmp_path / "x.stp", "-q", "63", "--no-larger")
    assert result.returncode == 5
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shell", "registers"),
    [
        ("bash", "complete -o nosort -F _stcodec_completion stcodec"),
        ("zsh", "compdef _stcodec_completion stcodec"),
        ("fish", "complete --no-files --command stcodec"),
    ],
)
def test_completion_scripts(shell: str, registers: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", shell).stdout)
    assert f"_STCODEC_COMPLETE={shell}_complete" in script.read_text()
    assert registers in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on PATH to read the script")
    read = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish on PATH")
def test_fish_completes(tmp_path: Path) -> None:
    program(tmp_path)
    script = "stcodec completion fish | source; complete -C 'stcodec enc'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
    )
    assert done.stdout.split()[:1] == ["encode"], done.stderr


def program(folder: Path) -> Path:
    """The command, as a shell finds it."""
    command = folder / "stcodec"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stcodec "$@"\n')
    command.chmod(0o755)
    return command


def test_completion_knows_the_commands() -> None:
    environment = {
        **os.environ,
        "_STCODEC_COMPLETE": "bash_complete",
        "COMP_WORDS": "stcodec en",
        "COMP_CWORD": "1",
    }
    answer = forked.finish([], env=environment, text=True)
    assert "plain,encode" in answer.stdout


@pytest.mark.parametrize(
    ("words", "answer"),
    [("encode fi", "compopt -o default"), ("decode --no-a", "--no-audio"), ("ver", "verify")],
)
def test_bash_completes_names_of_options_and_files(tmp_path: Path, words: str, answer: str) -> None:
    command = program(tmp_path)
    script = f"""eval "$("{command}" completion bash)"
        compopt() {{ echo compopt "$@"; }}
        COMP_WORDS=(stcodec {words}); COMP_CWORD={len(words.split())}
        _stcodec_completion "{command}"
        echo "${{COMPREPLY[*]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == answer
    assert done.stderr == ""
