"""Sections that are lost, doubled or moved: each is whole, and what reads the file says where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import stcodec
from stcodec.common.files import Overwrite
from stcodec.container.joining import Split, concat
from stcodec.container.stp import SIGNATURE
from stcodec.errors import DamagedFileError
from stcodec.flows import inspect
from stcodec.flows.salvage import Lost
from tests.conftest import run
from tests.test_container import taken_apart

Damage = Callable[[list[bytes], list[int], list[int]], object]


@pytest.fixture(scope="module")
def whole(bee: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of 20 pictures, with sound."""
    folder = tmp_path_factory.mktemp("totals")
    stcodec.encode(bee, folder / "one.stp", model="dct", quality=4)
    concat([str(folder / "one.stp")] * 3, str(folder / "whole.stp"), Overwrite.NO)
    return folder / "whole.stp"


def lost_segment(s: list[bytes], c: list[int], p: list[int]) -> None:
    del s[c[3] : c[6]]


def lost_chunk(s: list[bytes], c: list[int], p: list[int]) -> None:
    del s[c[4]]


def lost_last_chunk(s: list[bytes], c: list[int], p: list[int]) -> None:
    del s[c[8]]


def doubled_chunk(s: list[bytes], c: list[int], p: list[int]) -> None:
    s.insert(c[4], s[c[4]])


def doubled_segment(s: list[bytes], c: list[int], p: list[int]) -> None:
    s[c[6] : c[6]] = s[c[3] : c[6]]


def swapped_chunks(s: list[bytes], c: list[int], p: list[int]) -> None:
    s[c[4]], s[c[5]] = s[c[5]], s[c[4]]


def swapped_segments(s: list[bytes], c: list[int], p: list[int]) -> None:
    s[c[3] : c[8] + 1] = [*s[c[6] : c[8] + 1], *s[c[3] : c[6]]]


def lost_packet(s: list[bytes], c: list[int], p: list[int]) -> None:
    del s[p[len(p) // 2]]


def doubled_packet(s: list[bytes], c: list[int], p: list[int]) -> None:
    s.insert(p[len(p) // 2], s[p[len(p) // 2]])


def swapped_packets(s: list[bytes], c: list[int], p: list[int]) -> None:
    a, b = p[len(p) // 2], p[len(p) // 2 + 1]
    s[a], s[b] = s[b], s[a]


SECOND = 20 / 29.97  # when the second segment begins


@pytest.mark.parametrize(
    ("damage", "earliest", "latest"),
    [
        (lost_segment, SECOND, SECOND),
        (lost_chunk, SECOND, 2 * SECOND),
        (lost_last_chunk, 2 * SECOND, 3 * SECOND),
        (doubled_chunk, SECOND, 2 * SECOND),
        (doubled_segment, SECOND, 2 * SECOND),
        (swapped_chunks, SECOND, 2 * SECOND),
        (swapped_segments, SECOND, 2 * SECOND),
        (lost_packet, SECOND, 2 * SECOND),
        (doubled_packet, None, None),
        (swapped_packets, SECOND, 2 * SECOND),
    ],
)
def test_what_is_lost_or_moved_is_an_error_with_its_place(
    whole: Path, tmp_path: Path, damage: Damage, earliest: float | None, latest: float | None
) -> None:
    sections = taken_apart(whole.read_bytes())
    chunks, packets = (
        [i for i, s in enumerate(sections) if s.startswith(tag)] for tag in (b"CHNK", b"PCKT")
    )
    damage(sections, chunks, packets)
    bad = tmp_path / "bad.stp"
    bad.write_bytes(SIGNATURE + b"".join(sections))
    out = str(tmp_path / "out.stp")

    def split() -> None:
        with Split(str(bad), str(tmp_path / "%d.stp"), 0.1) as parts:
            parts.write()

    def play() -> None:
        with stcodec.open(bad) as video:
            for _ in video:
                pass

    reads: list[Callable[[], object]] = [
        lambda: stcodec.decode(bad, tmp_path / "out.y4m"),
        lambda: list(inspect.verify(bad)),
        lambda: concat([str(bad)], out, Overwrite.NO),
        split,
        lambda: play() if "packet" not in damage.__name__ else stcodec.decode(bad, out + ".mkv"),
    ]
    if "swapped" not in damage.__name__:
        reads.append(lambda: inspect.info(bad))
    for read in reads:
        with pytest.raises(
            DamagedFileError, match=r"bad\.stp: .*(byte|chunk|picture) \d+"
        ) as caught:
            read()
        if read is reads[0] and earliest is not None and latest is not None:
            [time] = re.findall(r"\((?:from )?(-?[\d.]+) s( on)?\)", str(caught.value))
            assert earliest - 0.1 <= float(time[0]) <= latest + 0.1, caught.value
    assert [path.name for path in tmp_path.iterdir()] == ["bad.stp"]


@pytest.mark.parametrize("damage", [lost_segment, lost_packet])
def test_commands_end_with_their_exit_code(whole: Path, tmp_path: Path, damage: Damage) -> None:
    sections = taken_apart(whole.read_bytes())
    chunks, packets = (
        [i for i, s in enumerate(sections) if s.startswith(tag)] for tag in (b"CHNK", b"PCKT")
    )
    damage(sections, chunks, packets)
    bad = tmp_path / "bad.stp"
    bad.write_bytes(SIGNATURE + b"".join(sections))
    for arguments in (
        ("info", bad),
        ("decode", bad, tmp_path / "out.y4m"),
        ("events", bad),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), (arguments, done.stderr)


@pytest.mark.parametrize("cut", [None, -30])
@pytest.mark.parametrize("same", [False, True])
def test_one_file_behind_another_is_no_file(
    whole: Path, tmp_path: Path, same: bool, cut: int | None
) -> None:
    """As `cat` makes it, also of one that was cut off: nothing of it is taken for all of it, and
    chunks of the two are not put together."""
    first, second = whole.read_bytes()[:cut], (whole if same else whole.with_name("one.stp"))
    bad = tmp_path / "bad.stp"
    bad.write_bytes(first + second.read_bytes())
    lost: list[Lost] = []
    said = "out of place|cut off|damaged|impossible" if cut else rf"another .* byte {len(first)} "
    for read in (lambda: inspect.info(bad), lambda: list(inspect.verify(bad, lost=lost))):
        with pytest.raises(DamagedFileError, match=said):
            read()
    assert lost[-1].what == f"another .stp file, from byte {len(first)} on"
    assert [one.what for one in lost[:-1]] == (["pictures"] if cut else [])
    assert lost[-1].start == pytest.approx(60 / 29.97, abs=0.01)
    bad.write_bytes(first + b"\n")
    with pytest.raises(DamagedFileError):
        list(inspect.verify(bad))


def test_zeros_behind_the_end_are_no_damage(whole: Path, tmp_path: Path) -> None:
    """As tapes and disks fill their blocks with."""
    padded, data = tmp_path / "padded.stp", whole.read_bytes()
    for count in (1, 500, 3 << 20):
        padded.write_bytes(data + bytes(count))
        assert inspect.info(padded).frames == 60
        assert sum(chunk.frames for chunk in inspect.verify(padded)) == 60
        with stcodec.open(padded) as video:
            assert len(video) == 60
    done = run("decode", padded, tmp_path / "a.y4m", "--salvage")
    assert (done.returncode, "lost" in done.stderr) == (0, False), done.stderr
    padded.write_bytes(data + bytes(500) + b"x" + bytes(500))
    with pytest.raises(DamagedFileError, match=f"follows its end at byte {len(data) + 500}"):
        list(inspect.verify(padded))
