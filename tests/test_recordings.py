"""Names of recordings, which of them are old, and how coding keeps up: nothing is coded here."""

from __future__ import annotations

import datetime
import os
import threading
import time
import traceback
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stcodec.common.values import Packet, Picture
from stcodec.container.stp import SIGNATURE
from stcodec.errors import InputError, UsageError
from stcodec.flows.arrivals import Arrivals, Arrived, Ended
from stcodec.flows.cutting import thinned
from stcodec.flows.feed import Event, Feed, Lost
from stcodec.flows.keeping_up import KeepingUp, Level, Meter, levels
from stcodec.flows.recordings import Recordings, next_border
from stcodec.media.live import Live
from stcodec.options import EncodeOptions, RecordOptions

DAY = 86400.0
NOW = datetime.datetime(2026, 3, 20, 12, 0).timestamp()


def test_old_recordings_are_removed_and_nothing_else(tmp_path: Path) -> None:
    def make(name: str, data: bytes = SIGNATURE + b"...", age: float = 30 * DAY) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        os.utime(path, (NOW - age, NOW - age))
        return path

    old = [make("cam-20260301-1200.stp"), make("cam-20260301-1200-2.stp")]
    stay = [
        make("cam-20260319-1200.stp", age=1 * DAY),
        make("cam-20260301-1210.stp", age=1 * DAY),  # was written yesterday, whatever it is called
        make("cam-20260319-1210.stp"),
        make("cam-20260301-1200.mp4"),
        make("cam-20260301-1200.stp.bak"),
        make("my-cam-20260301-1200.stp"),
        make("cam-2026031-1200.stp"),
        make("cam-20261301-1200.stp"),  # no such month
        make("cam-20260301-1200-x.stp"),
        make("cam-20260302-1200.stp", b"my notes"),
        make("other.stp"),
    ]
    (tmp_path / "cam-20260303-1200.stp").symlink_to(make("precious.stp"))
    (tmp_path / "cam-20260304-1200.stp").mkdir()
    recordings = Recordings(tmp_path / "cam-%Y%m%d-%H%M.stp")
    assert recordings.remove_old(7 * DAY, NOW) == sorted(old)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in stay)
    assert (tmp_path / "cam-20260303-1200.stp").is_symlink()
    assert (tmp_path / "precious.stp").exists()
    assert recordings.remove_old(7 * DAY, NOW) == []


def test_names_with_dots_brackets_and_percents_are_taken_as_they_are(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "a.(b)+%%%Y%j.stp")
    path = recordings.path(NOW)
    assert path.name == "a.(b)+%2026079.stp"
    path.write_bytes(SIGNATURE)
    os.utime(path, (0, 0))
    (tmp_path / "aX(b)+%2026079.stp").write_bytes(SIGNATURE)
    assert recordings.path(NOW).name == "a.(b)+%2026079-2.stp"
    assert recordings.remove_old(DAY, NOW + 2 * DAY) == [path]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:a@b@cam:554/1?channel=1", "rtsp://cam:554/1?channel=1"),
        ("rtsp://me:a/b@cam/1", "rtsp://cam/1"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("http://h/v?usr=a&PWD=b;c/d&x=1", "http://h/v?usr=a&PWD=***&x=1"),
        ("rtsp://h/user=a_password=b_channel=1", "rtsp://h/user=a_password=***_channel=1"),
        (
            "https://h/a?X-Amz-Signature=a&keyframes=3",
            "https://h/a?X-Amz-Signature=***&keyframes=3",
        ),
        ("srt://h:9000?passphrase=a", "srt://h:9000?passphrase=***"),
        ("/dev/key=1", "/dev/key=1"),
    ],
)
def test_no_message_has_a_password(address: str, shown: str) -> None:
    assert Live(address).name == shown


def test_nor_has_what_is_shown_for_a_report() -> None:
    source = Live("tcp://127.0.0.1:9/?password=mine")
    with pytest.raises(InputError) as caught:
        source.open()
    shown = "".join(traceback.format_exception(caught.value))
    assert "password=***" in shown and "mine" not in shown


@pytest.mark.parametrize(
    ("every", "border"),
    [(600, (12, 10)), (3600, (13, 0)), (7200, (14, 0)), (60, (12, 4)), (DAY, (0, 0))],
)
def test_files_begin_at_round_times_of_the_local_clock(
    every: float, border: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for zone in ("UTC", "Asia/Kolkata", "America/St_Johns"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        begin = datetime.datetime(2026, 3, 20, 12, 3, 20).timestamp()
        at = next_border(begin, every)
        assert begin < at <= begin + every
        local = datetime.datetime.fromtimestamp(at)
        assert (local.hour, local.minute, local.second) == (*border, 0)
        assert next_border(at, every) == at + every
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["UTC", "Australia/Sydney", "Europe/Berlin"])
def test_names_tell_files_apart_wherever_the_clock_is(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    Recordings("cam-%Y%m%d-%H.stp").check(3600, None)
    Recordings("cam-%Y%m%d.stp").check(DAY, None)
    Recordings("cam-%Y.stp").check(3 * 366 * DAY, None)
    with pytest.raises(UsageError, match="the same name"):
        Recordings("cam-%Y%m%d.stp").check(DAY / 2, None)
    monkeypatch.undo()
    time.tzset()


def simulate(costs: dict[Level, float], seconds: float, chosen: list[Level]) -> list[Level]:
    """What is chosen for a camera of 25 pictures a second where a picture of a level costs so many
    seconds; the last of it goes on for ever."""
    keeping = KeepingUp(chosen)
    meter = Meter(keeping)
    now, said, number = 0.0, [], 0
    while now < seconds:
        came = number / 25
        now = max(now, came)
        meter_says = meter.picture(now - came, now)
        said += [meter_says[0]] if meter_says else []
        if number % keeping.level.nth == 0:
            now += costs[keeping.level]
        number += 1
    return said


def test_levels_become_faster_one_by_one() -> None:
    found = levels(2, 26)
    assert found[0] == Level(2, 26)
    assert found == [
        *(Level(2, 26), Level(1, 26), Level(0, 26), Level(0, 20), Level(0, 14)),
        *(Level(0, 14, 2), Level(0, 14, 4), Level(0, 14, 8)),
    ]
    assert levels(0, 0) == [Level(0, 0), Level(0, 0, 2), Level(0, 0, 4), Level(0, 0, 8)]


def test_a_fast_machine_changes_nothing() -> None:
    chosen = levels(1, 26)
    assert simulate(dict.fromkeys(chosen, 0.03), 600, chosen) == []


def test_a_slow_machine_gives_up_no_more_than_it_must() -> None:
    chosen = levels(1, 26)
    costs = {level: 0.05 if level.nth == 1 and level.quality > 14 else 0.035 for level in chosen}
    said = simulate(costs, 120, chosen)
    assert said[:3] == [Level(0, 26), Level(0, 20), Level(0, 14)]
    assert all(level.nth == 1 for level in said)


def test_taking_back_is_tried_more_and_more_rarely() -> None:
    chosen = levels(0, 26)
    costs = {level: 0.06 if level == chosen[0] else 0.03 for level in chosen}
    said = simulate(costs, 3600, chosen)
    assert set(said) == set(chosen[:2])
    assert len(said) < 20
    assert len(said) > 3


def test_what_was_given_up_is_taken_back_when_there_is_time() -> None:
    keeping = KeepingUp(levels(1, 26))
    for second in range(10):
        keeping.update(2.0 + second / 10, second)
    assert keeping.level != Level(1, 26)
    for second in range(10, 200):
        keeping.update(0.0, second)
    assert keeping.level == Level(1, 26)


def picture(number: int) -> Picture:
    plane = np.zeros((16, 16), np.uint8)
    return Picture((plane, plane[::2, ::2], plane[::2, ::2]), 10 * number, 10)


def test_pictures_are_left_out_where_there_is_no_room_and_packets_are_not() -> None:
    packet = Packet(0, 0, 0, 1, True, b"x" * 1000)
    items = [picture(i) if i % 2 else packet for i in range(100)]
    arrivals = Arrivals(items, cannot_wait=True, most=(2000, 3))
    time.sleep(0.2)
    got = []
    while not isinstance((arrived := arrivals.get(5)).item, Ended):  # type: ignore[union-attr]
        got.append(arrived.item)  # type: ignore[union-attr]
    assert got.count(packet) == 50
    assert len(got) + arrivals.left_out == 100
    assert arrivals.left_out > 40


def test_a_source_that_can_wait_does() -> None:
    given = []

    def items() -> Iterator[Picture]:
        for number in range(100):
            given.append(number)
            yield picture(number)

    arrivals = Arrivals(items(), most=(0, 4))
    time.sleep(0.2)
    assert len(given) <= 6
    assert arrivals.get(5) is not None
    assert arrivals.stop(5)
    assert threading.active_count() < 20


def test_pictures_last_until_the_next_one_that_is_kept() -> None:
    events: list[Event] = [Arrived(picture(i), float(i)) for i in range(7)]
    events.insert(5, Lost("away"))
    nth = iter([1, 1, 3, 3, 3, 3, 3, 3])
    found = list(thinned(iter(events), lambda: next(nth, 3)))
    kept = [
        (e.item.pts, e.item.duration)
        for e in found
        if isinstance(e, Arrived) and isinstance(e.item, Picture)
    ]
    # Before the source went away a picture lasts for those that were left out after it, no longer.
    assert kept[0] == (0, 10)
    assert kept[-2][0] + kept[-2][1] == 50
    assert kept[-1] == (50, 20)
    assert Fraction(sum(d for _, d in kept)) == 70


def test_what_had_come_before_the_end_is_not_dropped(bee: Path) -> None:
    """A camera's pictures come once; those of a file can be read again."""
    for realtime in (True, False):
        stop = threading.Event()
        feed = Feed(bee, EncodeOptions(), RecordOptions(realtime=realtime), stop)
        came = 0
        for event in feed.events():
            if isinstance(event, Arrived) and isinstance(event.item, Picture):
                came += 1
                if not stop.is_set():
                    time.sleep(0.4)  # while others come
                    stop.set()
        assert 5 < came < 20 if realtime else came == 1
        assert feed.left_out == 0 and feed.notes == []
