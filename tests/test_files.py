"""Output files: whole or not at all, under their own name, and never over something else."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stcodec
from stcodec.common.files import (
    Overwrite,
    check_output,
    open_input,
    open_output,
    temporary_output,
    temporary_pictures,
)
from stcodec.errors import InputError, OutputExistsError, StcodecError
from stcodec.flows.decode import decode_steps
from stcodec.flows.encode import encode_steps
from stcodec.flows.targets import search_steps
from stcodec.options import DecodeOptions, EncodeOptions


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write(path: Path, overwrite: Overwrite, meanwhile: Callable[[], object]) -> None:
    with open_output(path, overwrite) as stream:
        stream.write(b"ours")
        meanwhile()


def no_links(*_: object) -> None:
    raise OSError(95, "not supported")


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.stp"
    with pytest.raises(OutputExistsError, match="already exists"):
        write(path, Overwrite.NO, lambda: path.write_bytes(b"theirs"))
    assert (path.read_bytes(), left(tmp_path)) == (b"theirs", ["a.stp"])
    write(path, Overwrite.YES, lambda: None)
    assert (path.read_bytes(), left(tmp_path)) == (b"ours", ["a.stp"])
    path.unlink()
    write(path, Overwrite.NO, lambda: None)
    assert (path.read_bytes(), left(tmp_path)) == (b"ours", ["a.stp"])
    assert path.stat().st_mode & 0o600 == 0o600


@pytest.mark.parametrize("links", [True, False])
def test_a_link_that_leads_nowhere_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path = tmp_path / "a.stp"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        check_output(path, Overwrite.NO)
    check_output(path, Overwrite.YES)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OutputExistsError):
        write(path, Overwrite.NO, lambda: None)
    assert path.is_symlink()


def test_pictures_that_appear_meanwhile_are_not_replaced(tmp_path: Path) -> None:
    def make(overwrite: Overwrite) -> None:
        with temporary_pictures(tmp_path / "%d.png", overwrite) as pattern:
            for number in (1, 2):
                Path(str(pattern) % number).write_bytes(b"ours")
            (tmp_path / "2.png").write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match=r"2\.png"):
        make(Overwrite.NO)
    assert left(tmp_path) == ["2.png"]
    assert (tmp_path / "2.png").read_bytes() == b"theirs"
    make(Overwrite.YES)
    assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == [b"ours"] * 2


def fail_after(what: Callable[[], object]) -> None:
    what()
    raise InputError("damaged")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells where a file is")
def test_a_folder_that_gets_another_name_takes_its_output_along(
    tmp_path: Path, bee: Path, bee_stp: Path
) -> None:
    """An encode takes hours, and meanwhile somebody tidies up."""
    before, after = tmp_path / "before", tmp_path / "after"

    def steps(name: str, make: Callable[..., Iterator[object]], source: Path, options: Any) -> None:
        before.mkdir()
        for number, _ in enumerate(make(source, before / name, options)):
            if number == 0:
                before.rename(after)

    steps("a.stp", encode_steps, bee, EncodeOptions(model="dct", effort=0))
    assert left(after) == ["a.stp"]
    assert stcodec.decode(after / "a.stp", tmp_path / "a.mkv").frames == 20
    shutil.rmtree(after)
    with pytest.raises(StcodecError, match=r"before/%d.png: cannot be written"):
        steps("%d.png", decode_steps, bee_stp, DecodeOptions())
    assert left(after) == []
    shutil.rmtree(after)
    before.mkdir()
    with pytest.raises(InputError), temporary_output(before / "a.stp"):
        fail_after(lambda: before.rename(after))
    assert left(after) == []


def test_a_folder_of_pictures_is_made_and_goes_if_there_are_none(tmp_path: Path) -> None:
    pattern = tmp_path / "new" / "%d.png"
    check_output(pattern, Overwrite.NO)
    with pytest.raises(InputError), temporary_pictures(pattern):
        raise InputError("damaged")
    assert left(tmp_path) == []
    with temporary_pictures(pattern) as temporary:
        Path(str(temporary) % 1).write_bytes(b"ours")
    assert left(tmp_path / "new") == ["1.png"]
    with pytest.raises(StcodecError, match=r"the folder .*far does not exist"):
        check_output(tmp_path / "far" / "off" / "%d.png", Overwrite.NO)


def test_a_folder_that_takes_nothing_is_known_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A benchmark of hours is not measured for a file that cannot be written."""
    (tmp_path / "file").touch()
    with pytest.raises(StcodecError, match=r"the folder .*file is none"):
        check_output(tmp_path / "file" / "a.stp", Overwrite.YES)
    # Root, as whom tests may run, may write into any folder.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for name in ("a.stp", "a.json", "%d.png", "new/%d.png"):
        with pytest.raises(StcodecError, match="nothing can be written into the folder"):
            check_output(tmp_path / name, Overwrite.YES)
    os.mkfifo(tmp_path / "pipe")
    check_output(tmp_path / "pipe", Overwrite.NO)


def fail(path: Path, error: type[StcodecError]) -> None:
    with temporary_output(path) as temporary:
        raise error(f"{temporary}: no space is left")


@pytest.mark.parametrize("error", [StcodecError, InputError])
def test_errors_name_the_output_and_not_the_hidden_file(
    tmp_path: Path, error: type[StcodecError]
) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(error) as caught:
        fail(path, error)
    assert str(caught.value) == f"{path}: no space is left"
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 251 + ".stp", "€" * 84 + ".py", "a." + "y" * 253])
def test_names_of_any_length_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, Overwrite.NO, lambda: None)
    assert left(tmp_path) == [name]


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_the_disk_holds_a_file_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: Overwrite
) -> None:
    flushed: list[tuple[bool, list[str]]] = []

    def fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        assert is_folder or os.fstat(handle).st_size == 4
        flushed.append((is_folder, [name for name in left(tmp_path) if name[0] != "."]))

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "a.stp", overwrite, lambda: None)
    assert flushed == [(False, []), (True, ["a.stp"])]
    flushed.clear()
    with temporary_pictures(tmp_path / "%d.png", overwrite) as pattern:
        Path(str(pattern) % 1).write_bytes(b"ours")
    assert flushed == [(False, ["a.stp"]), (True, ["1.png", "a.stp"])]


def test_what_cannot_be_opened_is_an_error_of_the_input(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    for path in (tmp_path / ("a" * 5000), tmp_path / "socket"):
        with pytest.raises(InputError, match=r"too long|No such device"), open_input(path):
            pass
    listening.close()


def test_a_copy_of_a_pipe_that_finds_no_room_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("stcodec.flows.targets.shutil.copyfileobj", full)
    monkeypatch.setattr("stcodec.flows.targets.open_input", lambda _: contextlib.nullcontext())
    os.mkfifo(tmp_path / "pipe")
    steps = search_steps(tmp_path / "pipe", tmp_path / "a.stp", EncodeOptions(target_size=1000))
    with pytest.raises(StcodecError, match=rf"{tmp_path}.*No space left.*TMPDIR"):
        list(steps)
    assert left(tmp_path) == ["pipe"]
