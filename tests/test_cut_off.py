"""Inputs that end too early or are damaged: what is whole is kept with a note, `--strict` refuses
the file."""

from __future__ import annotations

import io
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest

import stcodec
from stcodec.common.pipes import CountedReader
from stcodec.common.values import Picture
from stcodec.errors import InputError
from stcodec.flows.encode import EncodeResult, encode_steps
from stcodec.media.reader import VideoReader
from stcodec.media.shortfall import Skimmer
from stcodec.options import EncodeOptions
from tests import forked
from tests.conftest import run
from tests.media import times

FRAMES = 40
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
KINDS = {
    "fast.mp4": "-c:v mpeg4 -movflags faststart",
    "fragmented.mp4": "-c:v mpeg4 -movflags frag_keyframe+empty_moov+default_base_moof",
    "a.mov": "-c:v mjpeg -movflags faststart",
    "a.mkv": "-c:v mpeg4",
    "live.mkv": "-c:v mpeg4 -live 1",
    "a.webm": "-c:v libvpx -c:a libopus",
    "a.avi": "-c:v mpeg4 -c:a pcm_s16le",
    "a.ts": "-c:v mpeg2video",
    "a.flv": "-c:v flv -ar 44100",
    "a.ogv": "-c:v libtheora -q:v 8 -c:a libvorbis",
    "a.ivf": "-c:v libvpx -an",
    "a.wmv": "-c:v wmv2 -c:a wmav2",
    "a.y4m": "-an",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    made = {name: folder / name for name in KINDS}
    command = [FFMPEG, "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1.6"]
    command += ["-f", "lavfi", "-i", "sine=d=1.6"]
    for name, options in KINDS.items():
        # Several threads of libvpx can wait for each other for minutes where cores are busy.
        command += ["-threads", "1", "-g", "8", *options.split(), str(made[name])]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return made


def count(source: Any, strict: bool = False) -> tuple[int, list[str]]:
    with VideoReader(source, strict=strict) as reader:
        pictures = sum(isinstance(item, Picture) for item in reader)
        return pictures, [n for n in reader.notes if "cut off" in n or "cannot be" in n]


class Pipe(io.RawIOBase):
    """Bytes that can be read once, in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self.name = io.BytesIO(data), "a pipe"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._data.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@pytest.mark.parametrize("piped", [False, True])
def test_what_has_no_picture_yet_is_told_in_our_words(
    whole: dict[str, Path], tmp_path: Path, piped: bool
) -> None:
    """FFmpeg says of such a beginning that it is the end of a file, an invalid argument or a disk
    that fails, by its format."""
    ours = re.compile(
        "(is empty|nothing came|is no media file that can be read|ends before its first picture"
        "|its index .moov atom. |no picture can be decoded|holds no video|no decoder for its)"
    )
    raw = {name: path.read_bytes() for name, path in whole.items()} | {"a.h264": b"\0\0\0\1\x67"}
    cut = tmp_path / "cut"
    for name, data in raw.items():
        for length in (*range(0, 64, 3), *range(64, 1200, 71)):
            path = cut.with_suffix(Path(name).suffix)
            path.write_bytes(data[:length])
            source: Any = path
            if piped:
                source = CountedReader(Pipe(data[:length]))  # type: ignore[arg-type]
            try:
                count(source)
            except InputError as error:
                said = str(error).removeprefix("a pipe: ").removeprefix(f"{path}: ")
                assert ours.match(said), (name, length, said)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_whole_is_kept(whole: dict[str, Path], tmp_path: Path, name: str) -> None:
    data, short = whole[name].read_bytes(), tmp_path / name
    assert count(whole[name], strict=True) == (FRAMES, [])
    short.write_bytes(data[: len(data) * 2 // 3 // 188 * 188 + 1])
    found, notes = count(short)
    assert FRAMES // 4 < found < FRAMES
    assert len(notes) == 1
    assert re.search(r"is cut off: at least \d+ bytes are missing.*\(--strict", notes[0])
    with pytest.raises(InputError, match=rf"{name}: is cut off: at least \d+ bytes"):
        count(short, strict=True)
    pipe = CountedReader(io.BufferedReader(Pipe(short.read_bytes())))  # type: ignore[arg-type]
    assert count(pipe) == (found, notes) or name in ("a.avi", "a.wmv")  # which guess their length
    short.write_bytes(data[:-1])
    assert count(short)[1][0].startswith("is cut off: at least 1 byte is missing")


@pytest.mark.parametrize("cut", [0, 200])
def test_a_pipe_whose_index_comes_last(whole: dict[str, Path], tmp_path: Path, cut: int) -> None:
    with av.open(str(whole["fast.mp4"])) as old, av.open(str(tmp_path / "a.mp4"), "w") as out:
        copy = out.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    data = (tmp_path / "a.mp4").read_bytes()
    pipe = CountedReader(io.BufferedReader(Pipe(data[: len(data) - cut])))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a pipe needs it in front"):
        count(pipe)


def test_every_length_is_seen(whole: dict[str, Path]) -> None:
    """By reading here and there as by reading all; what nobody announces cannot be missing."""
    for name, path in whole.items():
        data, seen = path.read_bytes(), 0
        for size in range(48, len(data), len(data) // 40):
            one, two = Skimmer(), Skimmer()
            one.skim(io.BytesIO(data[:size]), size)
            for at in range(0, size, 777):
                two.feed(data[at : min(at + 777, size)])
            assert one.missing == two.missing, (name, size)
            assert one.missing <= len(data) - size
            seen += one.missing > 0
        assert seen >= 36, name  # the others end between two parts
    for other in (b"", b"x", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\0\0\0\x01\x67" * 9):
        skimmer = Skimmer()
        skimmer.skim(io.BytesIO(other), len(other))
        assert skimmer.missing == 0


def test_what_follows_a_whole_file_is_no_promise(whole: dict[str, Path], tmp_path: Path) -> None:
    for name in ("fast.mp4", "a.mkv", "a.avi"):
        path = tmp_path / name
        for more in (b"\xff\xfe camera's own " * 9, b"\n"):
            path.write_bytes(whole[name].read_bytes() + more)
            assert count(path, strict=True) == (FRAMES, [])


def test_the_command_says_it_in_one_line(whole: dict[str, Path], tmp_path: Path) -> None:
    data, coded = whole["fast.mp4"].read_bytes(), tmp_path / "a.stp"
    source = tmp_path / "in.mp4"
    source.write_bytes(data[: len(data) // 2])
    done = run("encode", source, coded, "--model", "dct")
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "cut off" in line]
    assert re.search(r"the pictures end at \d\.\d s of 1\.6 s", note)
    stcodec.decode(coded, tmp_path / "out.mp4")
    kept = times(tmp_path / "out.mp4")
    assert kept == times(whole["fast.mp4"])[: len(kept)]
    refused = run("encode", source, tmp_path / "b.stp", "--strict", "--model", "dct")
    assert refused.returncode == 3
    assert not (tmp_path / "b.stp").exists()


def test_a_producer_that_died(whole: dict[str, Path], tmp_path: Path) -> None:
    data = whole["a.y4m"].read_bytes()
    for strict in (False, True):
        command = ["encode", "-", tmp_path / "a.stp", "-y", "--model", "dct"]
        command += ["--strict"] if strict else []
        done = forked.finish(command, data[: len(data) // 4])
        assert done.returncode == (3 if strict else 0)
        assert b": is cut off: at least" in done.stderr


@pytest.mark.parametrize("strict", [False, True])
def test_a_copy_that_is_not_complete_yet(
    whole: dict[str, Path], tmp_path: Path, strict: bool
) -> None:
    """Where a format promises nothing, the file says it."""
    data = whole["a.ts"].read_bytes()
    source, coded, half = tmp_path / "in.ts", tmp_path / "a.stp", len(data) // 376 * 188
    source.write_bytes(data[:half])
    os.utime(source, (0, 0))
    options = EncodeOptions(model="dct", effort=0, audio="none", strict=strict)
    steps = encode_steps(source, coded, options)
    next(steps)
    with open(source, "ab") as copy:
        copy.write(data[half:])
    what = "was written to while it was read"
    if strict:
        with pytest.raises(InputError, match=what):
            list(steps)
        assert not coded.exists()
        return
    result = list(steps)[-1]
    assert isinstance(result, EncodeResult)
    assert [what in note for note in result.notes].count(True) == 1 and not result.untouched
