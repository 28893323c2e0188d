"""All that is left of damaged files, and the times of what is not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

import stcodec
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.container import records, stp
from stcodec.container.salvage import Break, Salvage
from stcodec.container.stp import SIGNATURE
from stcodec.errors import DamagedFileError, UsageError
from stcodec.flows.salvage import Lost, find_lost
from tests.conftest import run
from tests.media import demuxed
from tests.test_container import taken_apart

FRAME = 6 + 160 * 90 * 3 // 2  # of a Y4M file
SEGMENT = 20  # pictures: chunks of 8, 8 and 4
SECONDS = 1.0 / 29.97


@pytest.fixture(scope="module")
def whole(bee: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of a bee with sound, and what they come to."""
    folder = tmp_path_factory.mktemp("salvage")
    stcodec.encode(bee, folder / "one.stp", model="dct", quality=12)
    joined = run("concat", *[folder / "one.stp"] * 3, "-o", folder / "whole.stp")
    assert joined.returncode == 0, joined.stderr
    stcodec.decode(folder / "whole.stp", folder / "whole.y4m")
    stcodec.decode(folder / "whole.stp", folder / "whole.mkv", audio="copy")
    return folder / "whole.stp"


def parts(path: Path) -> tuple[list[bytes], list[int]]:
    """Its sections, and which of them are chunks."""
    sections = taken_apart(path.read_bytes())
    return sections, [i for i, s in enumerate(sections) if s.startswith(b"CHNK")]


def frames_of(path: Path) -> list[bytes]:
    data = path.read_bytes()
    at = data.index(b"\n") + 1
    return [data[i : i + FRAME] for i in range(at, len(data), FRAME)]


def flip(section: bytes) -> bytes:
    return section[:-7] + bytes([section[-7] ^ 8]) + section[-6:]


def salvaged(path: Path, data: bytes) -> tuple[list[bytes], tuple[Lost, ...]]:
    """The pictures of damaged data, and what is lost."""
    bad, out = path / "bad.stp", path / "out.y4m"
    bad.write_bytes(data)
    result = stcodec.decode(bad, out, salvage=True, overwrite=True)
    return frames_of(out), result.lost


def times_of(lost: Lost) -> tuple[int, int | None]:
    """Numbers of the lost pictures."""
    end = None if lost.end is None else round(lost.end / SECONDS)
    return round(lost.start / SECONDS), end


def sizes(sections: Sequence[bytes]) -> int:
    return len(SIGNATURE) + sum(map(len, sections))


def damaged_chunk(s: list[bytes], c: list[int]) -> None:
    s[c[4]] = flip(s[c[4]])


def damaged_head_of_a_chunk(s: list[bytes], c: list[int]) -> None:
    s[c[4]] = b"CHNX\xff\xff\xff\x00" + s[c[4]][8:]


def bytes_gone(s: list[bytes], c: list[int]) -> None:
    s[c[4]] = s[c[4]][:200] + s[c[4]][210:]


def deleted_chunk(s: list[bytes], c: list[int]) -> None:
    del s[c[4]]


def first_of_segment(s: list[bytes], c: list[int]) -> None:
    s[c[3]] = flip(s[c[3]])


def deleted_segment(s: list[bytes], c: list[int]) -> None:
    del s[c[3] : c[6]]


def first_of_all(s: list[bytes], c: list[int]) -> None:
    s[c[0]] = flip(s[c[0]])


def two_places(s: list[bytes], c: list[int]) -> None:
    s[c[0] + 1] = flip(s[c[0] + 1])  # a packet of sound
    s[c[7]] = s[c[7]][:30]


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (damaged_chunk, (28, 40)),
        (damaged_head_of_a_chunk, (28, 40)),
        (bytes_gone, (28, 40)),
        (deleted_chunk, (28, 40)),
        (first_of_segment, (20, 40)),
        (deleted_segment, (20, 40)),
        (first_of_all, (0, 20)),
        (two_places, (48, 60)),
    ],
)
def test_a_segment_at_most_is_lost(
    whole: Path,
    tmp_path: Path,
    damage: Callable[[list[bytes], list[int]], None],
    lost: tuple[int, int],
) -> None:
    sections, chunks = parts(whole)
    damage(sections, chunks)
    frames, ranges = salvaged(tmp_path, SIGNATURE + b"".join(sections))
    right = frames_of(whole.with_suffix(".y4m"))
    pictures = [r for r in ranges if r.what == "pictures"]
    assert [times_of(r) for r in pictures] == [lost]
    assert [r.frames for r in pictures] == [lost[1] - lost[0]]
    assert len(frames) == len(right) == 3 * SEGMENT
    held = right[lost[0] - 1] if lost[0] else frames[0]
    assert frames == [held if lost[0] <= i < lost[1] else f for i, f in enumerate(right)]
    with pytest.raises(DamagedFileError):
        stcodec.decode(tmp_path / "bad.stp", tmp_path / "no.y4m")


def test_files_cut_anywhere(whole: Path, tmp_path: Path) -> None:
    data, (sections, chunks) = whole.read_bytes(), parts(whole)
    right = frames_of(whole.with_suffix(".y4m"))
    ends = [sizes(sections[: i + 1]) for i in chunks]
    for cut in (ends[0] + 1, ends[3] - 1, ends[5], len(data) - 50, len(data) - 1):
        count = [0, 8, 16, 20, 28, 36, 40, 48, 56, 60][sum(end <= cut for end in ends)]
        frames, lost = salvaged(tmp_path, data[:cut])
        assert frames == right[:count]
        assert [times_of(r) for r in lost] == [(count, None)] and lost[0].frames is None
    # Nothing says when the first picture was shown that is gone.
    first_of_all(sections, chunks)
    _, lost = salvaged(tmp_path, (SIGNATURE + b"".join(sections))[: ends[5]])
    assert [times_of(r) for r in lost if r.what == "pictures"] == [(0, 20), (40, None)]


def test_every_byte_that_is_cut_or_changed(whole: Path) -> None:
    data, (_, chunks) = whole.read_bytes(), parts(whole)
    chunk = len(chunks)
    found = 0
    for at in range(700, len(data), 397):
        for bad in (data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
            items = list(Salvage(io.BytesIO(bad)))
            assert any(isinstance(i, Break) for i in items)
            there = [i for i in items if isinstance(i, records.VideoChunk)]
            assert len(there) <= chunk
            if len(bad) == len(data):
                assert len(there) >= chunk - 1
                found += 1
    assert found > 20


def test_what_is_out_of_place_comes_back(whole: Path, tmp_path: Path) -> None:
    right = frames_of(whole.with_suffix(".y4m"))
    sections, c = parts(whole)
    doubled = [*sections[: c[2]], sections[c[1]], *sections[c[2] :]]
    segments = [sections[: c[3]], sections[c[3] : c[6]], sections[c[6] : -2], sections[-2:]]
    swapped = [*segments[0], *segments[2], *segments[1], *segments[3]]
    twice = [*segments[0], *segments[1], *segments[1], *segments[2], *segments[3]]
    for moved in (doubled, swapped, twice):
        frames, lost = salvaged(tmp_path, SIGNATURE + b"".join(moved))
        assert frames == right and [r for r in lost if r.what == "pictures"] == []


def test_sound_is_in_its_place(whole: Path, tmp_path: Path) -> None:
    sections, c = parts(whole)
    damaged_chunk(sections, c)
    gone = next(i for i in range(c[2] + 1, len(sections)) if sections[i].startswith(b"PCKT"))
    sections[gone] = flip(sections[gone])
    bad, out = tmp_path / "bad.stp", tmp_path / "out.mkv"
    bad.write_bytes(SIGNATURE + b"".join(sections))
    result = stcodec.decode(bad, out, salvage=True, audio="copy")
    before, after = demuxed(whole.with_suffix(".mkv")), demuxed(out)
    lost = {p.pts for p in before} - {p.pts for p in after}
    assert len(lost) == 1 and len(after) == len(before) - 1
    kept = {p.pts: bytes(p) for p in before}
    assert all(bytes(p) == kept[p.pts] for p in after)
    [sound] = [r for r in result.lost if r.what.startswith("audio")]
    [pts] = lost
    assert abs(sound.start - float(pts * before[0].time_base)) < 0.03
    with av.open(str(out)) as video, av.open(str(whole.with_suffix(".mkv"))) as plain:
        ours, theirs = ([f.pts for f in v.decode(video=0)] for v in (video, plain))
    assert ours == theirs


@pytest.mark.parametrize("how", ["gone", "doubled", "swapped"])
def test_packets_of_sound_that_are_gone_doubled_or_swapped(
    whole: Path, tmp_path: Path, how: str
) -> None:
    """All of them are whole in themselves."""
    sections, _ = parts(whole)
    packets = [i for i, s in enumerate(sections) if s.startswith(b"PCKT")]
    at, behind = packets[20], packets[21]
    if how == "gone":
        del sections[at]
    elif how == "doubled":
        sections.insert(at, sections[at])
    else:
        sections[at], sections[behind] = sections[behind], sections[at]
    bad, out = tmp_path / "bad.stp", tmp_path / "out.mkv"
    bad.write_bytes(SIGNATURE + b"".join(sections))
    lost = stcodec.decode(bad, out, salvage=True, audio="copy").lost
    before, after = demuxed(whole.with_suffix(".mkv")), demuxed(out)
    right = [(p.pts, bytes(p)) for p in before]
    if how == "doubled":
        assert [(p.pts, bytes(p)) for p in after] == right and lost == ()
        return
    assert [(p.pts, bytes(p)) for p in after] == right[:20] + right[21:]
    [sound] = lost
    assert sound.what.startswith("audio") and sound.end is not None
    base = before[0].time_base
    assert abs(sound.start - float(right[20][0] * base)) < 0.03
    assert abs(sound.end - float(right[21][0] * base)) < 0.03


def test_sound_is_kept_where_no_picture_is(whole: Path, tmp_path: Path) -> None:
    sections, c = parts(whole)
    for i in c:
        sections[i] = flip(sections[i])
    (tmp_path / "bad.stp").write_bytes(SIGNATURE + b"".join(sections))
    result = stcodec.decode(tmp_path / "bad.stp", tmp_path / "out.mkv", salvage=True, audio="copy")
    assert len(demuxed(tmp_path / "out.mkv")) == len(demuxed(whole.with_suffix(".mkv")))
    assert [times_of(r) for r in result.lost] == [(0, 60)]


def test_damaged_tables(whole: Path, tmp_path: Path) -> None:
    sections, _ = parts(whole)
    right = frames_of(whole.with_suffix(".y4m"))
    table = next(i for i, s in enumerate(sections) if s.startswith(b"STRM"))
    for left in ([flip(sections[table])], []):
        damaged = [*sections[:table], *left, *sections[table + 1 :]]
        frames, lost = salvaged(tmp_path, SIGNATURE + b"".join(damaged))
        assert frames == right
        assert "tags, chapters, attachments or streams" in [r.what for r in lost]
    with pytest.raises(DamagedFileError, match="header is damaged"):
        salvaged(tmp_path, SIGNATURE + b"".join([flip(sections[0]), *sections[1:]]))
    frames, lost = salvaged(tmp_path, b"\0" * 8 + b"".join(sections))
    assert frames == right


def test_a_disk_that_cannot_be_read_everywhere(whole: Path) -> None:
    data = whole.read_bytes()

    class Disk(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            at = self.tell()
            if size and at < 8192 and at + size > 4096:
                raise OSError(5, "Input/output error")
            return super().read(size)

    items = list(Salvage(Disk(data)))
    zeros = data[:4096] + bytes(4096) + data[8192:]
    plain = list(Salvage(io.BytesIO(zeros)))
    assert [type(i) for i in items] == [type(i) for i in plain]
    assert [i for i in items if not isinstance(i, Break)] == [
        i for i in plain if not isinstance(i, Break)
    ]


def test_what_looks_like_sections_costs_little() -> None:
    from tests.test_container import write

    head = b"".join([SIGNATURE, *taken_apart(write())[:1]])
    fake = records.SECTION.pack(b"CHNK", 1 << 19, 0) * (1 << 16)
    left = Salvage(io.BytesIO(head + fake))
    assert len(left.damage) == 1 and not [i for i in left if not isinstance(i, Break)]


def test_huge_gaps_cost_little() -> None:
    """Two chunks that a file claims to lie decades apart, with damage between."""
    from tests.test_container import HEADER

    data = io.BytesIO()
    writer = stp.Writer(data, HEADER)
    base = Fraction(HEADER.time_base_num, HEADER.time_base_den)
    for pts in (0, int(10**9 / base)):
        writer.write_chunk(records.VideoChunk(True, (pts,), (1,), b""))
    sections = taken_apart(data.getvalue())
    left = Salvage(io.BytesIO(SIGNATURE + sections[0] + sections[1] + b"junk" + sections[2]))
    from stcodec.flows.salvage import Missing, Recovery

    def unreadable(payload: bytes, first: bool) -> object:
        raise DamagedFileError("no")

    recovery = Recovery(left, unreadable)  # type: ignore[arg-type]
    assert sum(isinstance(i, Missing) for i in recovery) < 200_000


def test_the_commands_say_what_is_lost(whole: Path, tmp_path: Path) -> None:
    sections, c = parts(whole)
    damaged_chunk(sections, c)
    bad = tmp_path / "bad.stp"
    bad.write_bytes(SIGNATURE + b"".join(sections))
    done = run("decode", "--salvage", "--json", "--progress", "none", bad, tmp_path / "a.y4m")
    assert done.returncode == 3
    decoded, error = map(json.loads, done.stdout.splitlines())
    assert decoded["event"] == "decoded" and error["exit_code"] == 3
    [lost] = decoded["lost"]
    assert lost["what"] == "pictures" and lost["frames"] == 12
    assert "lost: pictures from 0.934 s to 1.335 s (12)" in done.stderr
    checked = run("verify", "--json", bad)
    assert checked.returncode == 3
    verified = json.loads(checked.stdout.splitlines()[0])
    assert (verified["event"], verified["intact"], verified["lost"]) == ("verified", False, [lost])
    intact = run("decode", "--salvage", "--quiet", whole, tmp_path / "b.y4m")
    assert intact.returncode == 0 and intact.stderr == ""
    assert json.loads(run("verify", "--json", whole).stdout)["lost"] == []


@pytest.mark.parametrize(
    ("option", "pictures", "said"),
    [
        ("--salvage", 60, "lost: pictures from 0.934 s to 1.335 s (12); what is left is in "),
        ("--keep-partial", 28, "28 pictures before that are kept"),
    ],
)
def test_a_batch_keeps_what_is_left(
    whole: Path, tmp_path: Path, option: str, pictures: int, said: str
) -> None:
    sections, c = parts(whole)
    damaged_chunk(sections, c)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.stp").write_bytes(SIGNATURE + b"".join(sections))
    (tmp_path / "in" / "good.stp").write_bytes(whole.read_bytes())
    command = ("batch", "--decode", option, tmp_path / "in", "-o", tmp_path / "out", "--to", "y4m")
    done = run(*command, "--jobs", 1, "--threads", 1, "--json")
    assert done.returncode == 1
    ends = {e["event"]: e for e in map(json.loads, done.stdout.splitlines())}
    assert ends["decoded"]["output"] == str(tmp_path / "out" / "good.y4m")
    assert (ends["failed"]["exit_code"], said in ends["failed"]["message"]) == (3, True)
    out = tmp_path / "out" / "bad.y4m"
    assert frames_of(out)[:28] == frames_of(whole.with_suffix(".y4m"))[:28]
    assert len(frames_of(out)) == pictures
    assert not list((tmp_path / "out" / ".stcodec-batch").rglob("*.y4m"))
    # It isn't done: what is there is not replaced unasked.
    again = run(*command, "--jobs", 1, "--threads", 1)
    assert again.returncode == 1 and "bad.y4m: already exists" in again.stderr


def test_what_goes_together(whole: Path, tmp_path: Path) -> None:
    for options in ({"start": 1.0}, {"end": 1.0}, {"keep_partial": True}):
        with pytest.raises(UsageError):
            stcodec.decode(whole, tmp_path / "a.y4m", salvage=True, **options)
    assert find_lost(whole, Arithmetic(choose_device("cpu"))) == ()
