"""What is written is read again first: a file that cannot be decoded does not come to be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stcodec
from stcodec.codec.entropy import SymbolWriter
from stcodec.codec.symbols import ChunkReader, ChunkSymbols
from stcodec.container import stp
from stcodec.errors import StcodecError
from stcodec.flows import inspect
from tests.conftest import make_video, run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three chunks of one segment."""
    path = tmp_path_factory.mktemp("proof") / "in.mkv"
    make_video(path, frames=24)
    return path


def flipped_words(writer: SymbolWriter, finish: Callable[[SymbolWriter], bytes]) -> bytes:
    """As a bit of memory that flips while a chunk is written."""
    words = bytearray(finish(writer))
    words[len(words) // 2] ^= 4
    return bytes(words)


def refused(clip: Path, tmp_path: Path, match: str, **options: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(StcodecError, match=match) as error:
        stcodec.encode(clip, out / "a.stp", model="dct", quality=10, **options)
    assert error.value.exit_code == 1
    assert os.listdir(out) == []


def test_wrong_words_are_not_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = SymbolWriter.finish
    monkeypatch.setattr(SymbolWriter, "finish", lambda self: flipped_words(self, finish))
    refused(clip, tmp_path, "chunk 0 cannot be decoded as it was encoded")


@pytest.mark.parametrize(("chunk", "found"), [(0, True), (1, True), (2, False)])
def test_tables_that_a_reader_does_not_find(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, found: bool
) -> None:
    crc, numbers = SymbolWriter.crc, iter(range(9))
    wrong = property(lambda self: crc.fget(self) ^ (next(numbers) == chunk))  # type: ignore[attr-defined]
    monkeypatch.setattr(SymbolWriter, "crc", wrong)
    if found:
        refused(clip, tmp_path, f"chunk {chunk} cannot be decoded")
        return
    # By default a part is read; `verify` reads all.
    stcodec.encode(clip, tmp_path / "a.stp", model="dct", quality=10)
    assert [c.chunk for c in inspect.verify(tmp_path / "a.stp") if c.problem] == [2]
    numbers = iter(range(9))
    refused(clip, tmp_path, "chunk 2 cannot be decoded", verify=True)


def test_pictures_are_those_that_were_meant(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stcodec.encode(clip, tmp_path / "plain.stp", model="dct", quality=10)
    stcodec.encode(clip, tmp_path / "checked.stp", model="dct", quality=10, verify=True)
    assert (tmp_path / "plain.stp").read_bytes() == (tmp_path / "checked.stp").read_bytes()
    read = ChunkReader.read

    def other(self: ChunkReader, payload: bytes, first: bool, levels: int) -> ChunkSymbols:
        symbols = read(self, payload, first, levels)
        for frame in symbols.frames:
            frame.values.values.mul_(3)
        return symbols

    monkeypatch.setattr(ChunkReader, "read", other)
    refused(clip, tmp_path, "its picture . differs by up to", verify=True)


def test_what_was_written_is_read_to_its_end(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = stp.Writer._write

    def cut(self: stp.Writer, data: bytes) -> None:
        write(self, data[:-1] if data[:4] == b"foot" else data)

    monkeypatch.setattr(stp.Writer, "_write", cut)
    refused(clip, tmp_path, "what was written does not come back: cut off")


def test_the_command(clip: Path, tmp_path: Path) -> None:
    done = run("encode", "--model", "dct", "--verify", clip, tmp_path / "a.stp")
    assert done.returncode == 0, done.stderr
