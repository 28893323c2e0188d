"""A file that encodes also decodes, whatever its times were: to MP4, MOV, Matroska and Y4M."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import stcodec
from stcodec.common.values import Picture, StreamInfo
from stcodec.media.continuity import DecodingOrder
from stcodec.media.reader import VideoReader
from stcodec.media.writer import open_writer
from tests.media import clip, copy, demuxed, read, times, write_clip
from tests.timelines import Moment, write_timeline

HOUR = 3_600_000
STARTS = (0, -200, 7, 95_443_717)
# Milliseconds from a picture to the next: as it should be, none, back, close, gaps, jumps.
STEPS = (40, 40, 40, 0, -30, 1, 333, 5000, HOUR, -HOUR, 24 * HOUR)


def interleaved(start: int, steps: list[int], untimed: Collection[int]) -> list[Moment]:
    """A picture after each step, and the sound of the time between; untimed: the numbers of packets
    whose time is not said."""
    moments, now, sound = [Moment(start)], start, 0
    for step in steps:
        now += step
        moments.append(Moment(now))
        for _ in range(2):
            moments.append(Moment(now + sound % 40, True))
            sound += 21
    return [m._replace(time=None) if i in untimed else m for i, m in enumerate(moments)]


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(STEPS), min_size=5, max_size=9),
    st.sets(st.integers(0, 27), max_size=9),
)
def test_what_encodes_decodes(
    tmp_path_factory: pytest.TempPathFactory, start: int, steps: list[int], untimed: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("timeline")
    moments = interleaved(start, steps, untimed)
    source = write_timeline(folder / "in.mkv", moments)
    pictures = sum(not m.sound for m in moments)
    coded = stcodec.encode(source, folder / "a.stp", model="dct")
    assert coded.frames == pictures
    # An hour is a gap; half a day, and any way back, is none.
    longest = sum(step for step in steps if 0 < step <= HOUR) / 1000
    usual = 1 / av_rate(folder / "a.stp")
    assert coded.duration <= longest + (len(steps) + 1) * max(usual, 0.34) + 1
    for ending in ("mp4", "mov", "mkv"):
        target = folder / f"out.{ending}"
        stcodec.decode(folder / "a.stp", target)
        shown = times(target)
        assert len(shown) == pictures
        assert all(a < b for a, b in itertools.pairwise(shown))
        assert float(shown[-1] - shown[0]) == pytest.approx(coded.duration, abs=usual + 0.34)
        heard = [p.dts for p in demuxed(target)]
        assert heard == sorted(set(heard))
        assert len(heard) == len(moments) - pictures
    stcodec.decode(folder / "a.stp", folder / "out.y4m")
    assert (folder / "out.y4m").read_bytes().count(b"FRAME\n") == pictures


def av_rate(path: Path) -> float:
    with stcodec.open(path) as video:
        return float(video.info.frame_rate or 25)


def test_a_recorder_that_began_anew(tmp_path: Path) -> None:
    """Times that go back to zero in a format that knows no jumps: sound and pictures go on."""
    first = [
        Moment(HOUR + t, t % 40 != 0) for t in sorted({*range(0, 200, 40), *range(1, 200, 21)})
    ]
    second = [m._replace(time=m.time - HOUR) for m in first]
    source = write_timeline(tmp_path / "in.mkv", first + second)
    result = stcodec.encode(source, tmp_path / "a.stp", model="dct")
    assert any("times jump" in n for n in result.notes)
    assert result.duration == pytest.approx(0.4, abs=0.06)
    stcodec.decode(tmp_path / "a.stp", tmp_path / "out.mp4")
    shown = times(tmp_path / "out.mp4")
    heard = [p.pts * p.time_base for p in demuxed(tmp_path / "out.mp4")]
    assert max(b - a for a, b in itertools.pairwise(shown)) < Fraction(1, 10)
    assert max(b - a for a, b in itertools.pairwise(heard)) < Fraction(1, 10)
    assert abs((heard[-1] - shown[-1]) - (heard[len(heard) // 2 - 1] - shown[4])) < Fraction(1, 20)


@pytest.mark.parametrize("jump", [-HOUR, 13 * HOUR])
def test_sound_that_comes_later_in_the_file_than_a_jump_of_the_pictures(
    tmp_path: Path, jump: int
) -> None:
    pictures = [Moment(HOUR + t + (jump if t >= 200 else 0)) for t in range(0, 400, 40)]
    sound = [Moment(HOUR + t + (jump if t >= 200 else 0), True) for t in range(0, 400, 21)]
    moments = [*pictures[:7], *sound[:14], *pictures[7:], *sound[14:]]
    source = write_timeline(tmp_path / "in.mkv", moments)
    result = stcodec.encode(source, tmp_path / "a.stp", model="dct")
    assert any("times jump" in n for n in result.notes)
    stcodec.decode(tmp_path / "a.stp", tmp_path / "out.mp4")
    shown = times(tmp_path / "out.mp4")
    heard = [p.pts * p.time_base for p in demuxed(tmp_path / "out.mp4")]
    assert [round(t * 1000) for t in shown] == list(range(0, 400, 40))
    assert [round(t * 1000) for t in heard] == pytest.approx(list(range(0, 400, 21)), abs=10)


def test_pictures_without_times_before_sound_that_begins_at_once(tmp_path: Path) -> None:
    """What FFmpeg says of the video then is that it begins late, and of the sound nothing."""
    early = [Moment(-30_000), Moment(-29_960), Moment(-29_960, True), Moment(-29_939, True)]
    late = [Moment(70_080), Moment(-29_920, True), Moment(70_120)]
    source = write_timeline(tmp_path / "in.mkv", [*early, *late])
    result = stcodec.encode(source, tmp_path / "a.stp", model="dct")
    assert result.frames == 4
    assert not any("becomes zero" in n for n in result.notes)
    stcodec.decode(tmp_path / "a.stp", tmp_path / "out.mp4")
    assert len(times(tmp_path / "out.mp4")) == 4
    assert len(demuxed(tmp_path / "out.mp4")) == 3


def test_packets_of_sound_without_times() -> None:
    order = DecodingOrder()
    info = StreamInfo("audio", "aac", Fraction(1, 1000), b"", {"sample_rate": 48000}, {})
    given_times = [(0, 0), (None, None), (42, 42), (42, 42), (None, 90)]
    found = [order.mend(0, info, pts, dts, 21) for pts, dts in given_times]
    assert found == [(0, 0), (21, 21), (42, 42), (63, 63), (90, 90)]
    assert order.repaired == 2


def test_a_gap_that_mp4_cannot_say(tmp_path: Path) -> None:
    """Units of a nanosecond: MP4 counts to 2.1 s between two pictures."""
    reader, pictures, _ = read(write_clip(tmp_path / "a.mkv", clip(4)))
    info = dataclasses.replace(reader.info, time_base=Fraction(1, 10**9))
    stamps = [0, 40_000_000, 5_040_000_000, 5_080_000_000]
    ends = [*stamps[1:], 5_120_000_000]
    writer = open_writer(tmp_path / "out.mp4", info, format="mp4")
    for picture, pts, end in zip(pictures, stamps, ends, strict=True):
        writer.write(Picture(picture.planes, pts, end - pts))
    writer.close()
    assert len(writer.notes) == 1
    shown = times(tmp_path / "out.mp4")
    assert set(shown) >= {Fraction(s, 10**9) for s in stamps}
    assert len(shown) == 4 + 5_000_000_000 // (1 << 28)
    with VideoReader(tmp_path / "out.mp4") as again:
        planes = [i.planes[0] for i in again if isinstance(i, Picture)]
    assert np.abs(planes[2].astype(int) - planes[1]).mean() < 2


def test_pictures_shorter_than_a_millisecond(tmp_path: Path) -> None:
    """MP4 hides what lies behind the end of its edit list, which is usually in milliseconds."""
    base, how = Fraction(1, 10_000), {"bf": "0"}
    source = write_clip(tmp_path / "a.mp4", clip(3), "libx264", None, base, 10_000, how)
    copy(source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == [0, base, 2 * base]
