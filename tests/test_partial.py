"""What is had of damaged files, and how large pictures may be."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

import stcodec
from stcodec.container.records import Header, pack_fields
from stcodec.container.stp import SIGNATURE
from stcodec.errors import DamagedFileError, InputError
from stcodec.flows import inspect
from stcodec.flows.budget import check_pixels
from stcodec.flows.compare import compare_steps
from stcodec.options import CompareOptions
from tests.conftest import make_video, run
from tests.test_container import HEADER, section, taken_apart

FRAME = 6 + 64 * 48 * 3 // 2  # of a Y4M file


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three chunks of 8 pictures."""
    folder = tmp_path_factory.mktemp("partial")
    make_video(folder / "in.mkv", frames=24)
    stcodec.encode(folder / "in.mkv", folder / "whole.stp", model="dct", quality=10)
    stcodec.decode(folder / "whole.stp", folder / "whole.y4m")
    return folder / "whole.stp"


def damaged(coded: Path, target: Path, how: str) -> int:
    """Write the file with some damage; how many pictures come before that."""
    sections = taken_apart(coded.read_bytes())
    chunks = [i for i, s in enumerate(sections) if s.startswith(b"CHNK")]
    at = chunks[2]
    if how == "cut":
        sections[at:] = [sections[at][:-5]]
    elif how == "crc":
        sections[at] = sections[at][:-5] + bytes(5)
    elif how == "symbols":
        body = sections[at][12:]
        sections[at] = section(b"CHNK", body[:-5] + bytes([body[-5] ^ 1]) + body[-4:])
    else:
        sections[-2] = section(b"indx", b"")
    target.write_bytes(SIGNATURE + b"".join(sections))
    return 24 if how == "index" else 16


@pytest.mark.parametrize("how", ["cut", "crc", "symbols", "index"])
def test_the_pictures_before_the_damage(coded: Path, tmp_path: Path, how: str) -> None:
    bad, out = tmp_path / "bad.stp", tmp_path / "out.y4m"
    frames = damaged(coded, bad, how)
    with pytest.raises(DamagedFileError):
        stcodec.decode(bad, out)
    assert os.listdir(tmp_path) == ["bad.stp"]
    with pytest.raises(DamagedFileError, match=rf"bad\.stp: .*; {frames} pictures before that"):
        stcodec.decode(bad, out, keep_partial=True)
    whole = coded.with_suffix(".y4m").read_bytes()
    head = whole.index(b"\n") + 1
    assert (
        out.read_bytes()[out.read_bytes().index(b"\n") + 1 :]
        == (whole[head : head + frames * FRAME])
    )


def test_the_command_says_so_and_ends_with_3(coded: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.stp"
    damaged(coded, bad, "crc")
    result = run("decode", "--keep-partial", "--quiet", bad, tmp_path / "out.mkv")
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1 and "16 pictures before that are kept" in result.stderr
    assert (tmp_path / "out.mkv").stat().st_size > 0


def test_nothing_is_kept_where_no_picture_is(coded: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.stp"
    bad.write_bytes(coded.read_bytes()[: coded.read_bytes().index(b"CHNK") + 50])
    with pytest.raises(DamagedFileError):
        stcodec.decode(bad, tmp_path / "out.y4m", keep_partial=True)
    assert os.listdir(tmp_path) == ["bad.stp"]


def sized(width: int, height: int) -> Header:
    return dataclasses.replace(HEADER, width=width, height=height)


def test_pictures_are_in_proportion_to_the_file() -> None:
    for width, height, size in ((4096, 2304, 0), (4096, 2304, None), (7680, 4320, 1 << 20)):
        check_pixels(sized(width, height), size)
    for width, height, size in ((7680, 4320, 1 << 14), (7680, 4320, None), (65536, 65536, 1 << 20)):
        with pytest.raises(InputError, match=rf"{width}x{height} take about .* GB"):
            check_pixels(sized(width, height), size)
        check_pixels(sized(width, height), size, width * height)
    with pytest.raises(InputError, match="--max-pixels 3072"):
        check_pixels(sized(64, 48), 1 << 20, 3071)


def test_a_huge_picture_in_a_small_file_is_refused(coded: Path, tmp_path: Path) -> None:
    sections = taken_apart(coded.read_bytes())
    body = sections[0][12:]
    claimed = dataclasses.replace(HEADER, width=1 << 16, height=1 << 16, bit_depth=8)
    fields = pack_fields(claimed)
    sections[0] = section(b"HEAD", body[:4] + fields[4:12] + body[12:])
    huge = tmp_path / "huge.stp"
    huge.write_bytes(SIGNATURE + b"".join(sections))
    for work in (
        lambda: stcodec.decode(huge, tmp_path / "out.y4m"),
        lambda: list(inspect.verify(huge)),
        lambda: next(iter(stcodec.open(huge))),
    ):
        with pytest.raises(InputError, match=r"huge\.stp: pictures of 65536x65536 take about"):
            work()
    with pytest.raises(InputError, match="of memory"):
        list(inspect.verify(coded, max_pixels=100))
    with pytest.raises(InputError, match="of memory"):
        list(compare_steps(coded, coded, CompareOptions("psnr", max_pixels=100)))
    done = run("compare", coded, coded, "--metrics", "psnr", "--max-pixels", 100)
    assert done.returncode == 3 and f"{coded}: pictures of" in done.stderr
