"""Chapters stay with their pictures when files are split and joined."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import stcodec
from stcodec.common.files import Overwrite
from stcodec.container.joining import Split, concat
from stcodec.container.stp import Writer
from stcodec.errors import DamagedFileError
from stcodec.flows import inspect
from tests.media import frame_of, moving_planes
from tests.test_container import HEADER


def chapters_of(path: Path) -> list[tuple[str, Fraction, Fraction]]:
    """Title, start and end in seconds, from the decoded file."""
    target = path.with_suffix(".mkv")
    stcodec.decode(path, target, overwrite=True)
    with av.open(str(target)) as container:
        return [
            (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
            for c in container.chapters()
        ]


def test_chapters_follow_split_and_concat(tmp_path: Path) -> None:
    source, coded = tmp_path / "in.mkv", tmp_path / "in.stp"
    marks = [("Eins", 0, 200), ("Zwei", 200, 900), ("Drei", 900, 1200)]
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        unit = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": s + 1, "start": s, "end": e, "time_base": unit, "metadata": {"title": t}}
                for t, s, e in marks
            ]
        )
        for i in range(30):
            y, u, v = moving_planes(64, 48, i)
            frame = frame_of(
                (y, u, v) if i < 15 else (255 - y, u, v)
            )  # a cut, which starts a segment
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    stcodec.encode(source, coded, quality=10, model="dct")
    whole = [(t, Fraction(s, 1000), Fraction(e, 1000)) for t, s, e in marks]
    assert chapters_of(coded) == whole
    with Split(str(coded), str(tmp_path / "part-%d.stp"), 0.5) as split:
        split.write()
    parts = [tmp_path / "part-0.stp", tmp_path / "part-1.stp"]
    assert chapters_of(parts[0]) == [whole[0], ("Zwei", Fraction(1, 5), Fraction(3, 5))]
    assert chapters_of(parts[1]) == [
        ("Zwei", 0, Fraction(3, 10)),
        ("Drei", Fraction(3, 10), Fraction(3, 5)),
    ]
    concat([str(p) for p in parts], str(tmp_path / "again.stp"), Overwrite.NO)
    assert chapters_of(tmp_path / "again.stp") == whole
    concat([str(coded)] * 2, str(tmp_path / "twice.stp"), Overwrite.NO)
    second = [(t, s + Fraction(6, 5), e + Fraction(6, 5)) for t, s, e in whole]
    assert chapters_of(tmp_path / "twice.stp") == [*whole, *second]


def test_chapters_move_with_pictures_that_start_before_zero(tmp_path: Path) -> None:
    source, unit = tmp_path / "in.mkv", Fraction(1, 1000)
    with av.open(str(source), "w", options={"avoid_negative_ts": "disabled"}) as out:
        video: Any = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        out.set_chapters(
            [{"id": 1, "start": 40, "end": 80, "time_base": unit, "metadata": {"title": "Eins"}}]
        )
        for i in range(5):
            frame = frame_of(moving_planes(64, 48, i))
            frame.pts, frame.time_base = i - 2, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    stcodec.encode(source, tmp_path / "in.stp", quality=10, model="dct")
    assert chapters_of(tmp_path / "in.stp") == [("Eins", Fraction(3, 25), Fraction(4, 25))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chapters", b"[1]"),
        ("chapters", b'[{"start": [1, 0], "end": [1, 1], "metadata": {}}]'),
        ("chapters", b"{"),
        ("attachments", b'[{"name": "a", "mimetype": "b", "cover": false, "blob": "nowhere"}]'),
        ("video", b'{"display_matrix": [1, 2]}'),
        ("video", b'{"field_order": "sideways"}'),
        ("video", b'{"mastering_display": {"primaries": [[1, 2]]}}'),
        ("video", b'{"content_light": [1]}'),
        ("video", b"[]"),
    ],
)
def test_impossible_blobs_are_damage(tmp_path: Path, name: str, text: bytes) -> None:
    path = tmp_path / "a.stp"
    with path.open("wb") as stream:
        Writer(stream, HEADER, blobs={name: text}).close()
    with pytest.raises(DamagedFileError, match=r"impossible|JSON") as caught:
        inspect.info(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(DamagedFileError, match=r"impossible|JSON") as caught:
        stcodec.decode(path, tmp_path / "a.mp4")
    assert str(caught.value).startswith(f"{path}: ")
    assert [p.name for p in tmp_path.iterdir()] == ["a.stp"]
