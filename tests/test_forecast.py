"""An output that will be larger than its input is told while there is time to stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from stcodec.common.values import Progress
from stcodec.flows.forecast import Forecast
from tests.conftest import run
from tests.media import clip, write_clip


def told(forecast: Forecast, sizes: list[int], total: int | None) -> list[tuple[int, str]]:
    """What is said, and after how many pictures; sizes: of chunks of 8 pictures."""
    said, written = [], 0
    for number, size in enumerate(sizes, 1):
        written += size
        line = forecast.hear(Progress(8 * number, total, written))
        if line is not None:
            said.append((8 * number, line))
    return said


def test_a_first_picture_that_takes_much_is_no_measure_of_the_rest() -> None:
    sizes = [8000] + [1000] * 15
    assert told(Forecast(24_000, 32), sizes, 128) == []
    [(at, line)] = told(Forecast(20_000, 32), sizes, 128)
    assert at == 40
    assert "about 23000 bytes, not 20000, by 40 of 128 pictures" in line
    assert "below 32" in line and "--target-size" in line and "--no-larger" in line
    # Each segment has such a picture.
    assert Forecast(1, 32).expected(Progress(8, 1280, 8000)) is None
    forecast = Forecast(1, 32)
    for frames, written in ((8, 8000), (40, 12_000)):
        expected = forecast.expected(Progress(frames, 1280, written))
    assert expected == 160 * 1000 + 10 * 7000


@pytest.mark.parametrize(("size", "total"), [(None, 128), (1, None), (1, 32)])
def test_what_cannot_be_known_is_not_told(size: int | None, total: int | None) -> None:
    assert told(Forecast(size, 32), [1000] * 4, total) == []


def test_the_command_tells_it_early(tmp_path: Path) -> None:
    options = {"crf": "51", "preset": "veryslow"}
    source = write_clip(tmp_path / "small.mp4", clip(64), codec="libx264", options=options)
    arguments = ("-q", 60, "--model", "dct", "--effort", 0, "--progress", "none")
    done = run("encode", source, tmp_path / "a.stp", *arguments)
    assert done.returncode == 0
    first, *_, last, _ = done.stderr.splitlines()
    assert "will be larger than the input" in first and "of 64 pictures" in first
    assert "the output is larger than the input" in last
    assert "will be" not in run("encode", source, tmp_path / "b.stp", *arguments, "--quiet").stderr
