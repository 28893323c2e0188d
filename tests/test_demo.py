"""What `make demo` prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stcodec.bench import demo
from stcodec.encoder import choice
from tests.conftest import make_video


def test_demo_compares_at_about_the_same_psnr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mkv"
    make_video(clip, width=160, height=128, frames=8)
    monkeypatch.setattr(choice, "compiled", lambda: False)
    monkeypatch.setattr(choice, "warm_up", lambda: None)
    demo.main(clip)
    said = "".join(capsys.readouterr()).splitlines()
    # Whoever waits reads why before the table begins.
    assert said[0].startswith("compiling")
    assert said[1].startswith(f"{clip} at half its size") and "80x64, 8 frames" in said[1]
    row = (
        r"(x264 CRF|stcodec quality) (\d+) +([\d.]+ \w+) +([\d.]+ \w+) +([\d.]+) dB"
        r" +([\d.]+) frm/s +([\d.]+) frm/s"
    )
    rows = [found.groups() for line in said if (found := re.fullmatch(row, line))]
    assert [name for name, *_ in rows] == ["x264 CRF", "stcodec quality"] * 3
    assert [int(setting) for _, setting, *_ in rows[::2]] == [18, 23, 28]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    assert all(abs(float(a[4]) - float(b[4])) <= 0.5 for a, b in pairs)
    assert all(float(value) > 0 for cells in rows for value in cells[5:])
    assert len(re.findall(r"[+-]\d+ %", "\n".join(said))) == 3
