"""What `make demo` prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stcodec.bench import demo
from tests.conftest import make_video


def test_demo_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.mkv"
    make_video(clip, frames=4)
    demo.main(clip)
    said = "".join(capsys.readouterr())
    assert said.startswith(f"{clip}: 64x48, ")
    row = r"^ +(\d+) +[\d.]+ \w+ +([\d.]+)x +([\d.]+) dB +([\d.]+) frm/s +([\d.]+) frm/s$"
    rows = [tuple(map(float, found)) for found in re.findall(row, said, re.M)]
    qualities, ratios, decibels, *speeds = zip(*rows, strict=True)
    assert qualities == (16, 32, 48)
    assert ratios == tuple(sorted(ratios, reverse=True)) and ratios[2] > 1
    assert decibels == tuple(sorted(decibels)) and decibels[0] > 30
    assert min(min(s) for s in speeds) > 0
