"""What a file says of its video, in and out: rotation, colour, aspect, tags; PyAV alone reads it
back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from tests.media import (
    clip,
    copy,
    read,
    write_clip,
)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_in_and_out(tmp_path: Path, degrees: int, ending: str) -> None:
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", rotation=-degrees)
    assert read(source)[0].info.rotation == degrees
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation % 360 == -degrees % 360


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("degrees", "hflip", "vflip"),
    [(0, True, False), (0, False, True), (90, True, False), (-90, True, False)],
)
def test_mirror_images_in_and_out(
    tmp_path: Path, degrees: int, hflip: bool, vflip: bool, ending: str
) -> None:
    frame = clip(1)[0]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height = frame.width, frame.height
        video.set_display_rotation(degrees, hflip=hflip, vflip=vflip)
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    copy(path, tmp_path / f"b.{ending}")
    with av.open(str(path)) as one, av.open(str(tmp_path / f"b.{ending}")) as two:
        a, b = (bytes(next(c.decode(video=0)).side_data["DISPLAYMATRIX"]) for c in (one, two))
    assert a == b


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("color", [(1, 1, 1, 1), (1, 9, 16, 9), (2, 5, 6, 5), (1, 12, 13, 6)])
def test_colour_tags_in_and_out(
    tmp_path: Path, color: tuple[int, int, int, int], ending: str
) -> None:
    names = ("color_range", "color_primaries", "color_trc", "colorspace")
    frames = clip(2)
    for frame in frames:
        for name, value in zip(names, color, strict=True):
            setattr(frame, name, value)
    source = write_clip(
        tmp_path / "a.mp4", frames, "libx264", **dict(zip(names, color, strict=True))
    )
    info = read(source)[0].info
    assert (info.color_range, info.color_primaries, info.color_transfer, info.color_matrix) == color
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert tuple(int(getattr(frame, n)) for n in names) == color


@pytest.mark.parametrize(
    ("name", "number"), [("left", 1), ("center", 2), ("topleft", 3), ("top", 4)]
)
def test_chroma_location_in_and_out(tmp_path: Path, name: str, number: int) -> None:
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", options={"chroma_sample_location": name}
    )
    assert read(source)[0].info.chroma_location == number
    copy(source, tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4")[0].info.chroma_location == number


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sample_aspect_ratio_in_and_out(tmp_path: Path, ending: str) -> None:
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", sample_aspect_ratio=Fraction(16, 11)
    )
    assert read(source)[0].info.sample_aspect_ratio == Fraction(16, 11)
    copy(source, tmp_path / f"b.{ending}")
    with av.open(str(tmp_path / f"b.{ending}")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


@pytest.mark.parametrize(
    ("codec", "ending", "kept"),
    [("libvpx-vp9", "webm", False), ("ffv1", "mkv", False), ("libvpx-vp9", "mp4", True)],
)
def test_a_sample_aspect_ratio_that_is_lost_is_said(
    codec: str, ending: str, kept: bool, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "a.mp4", clip(2), "libx264", sample_aspect_ratio=Fraction(4, 3))
    notes = copy(source, tmp_path / f"b.{ending}", codec=codec, crf=None)
    assert ("samples are 4:3, not square" in "".join(notes)) == (not kept)
    with av.open(str(tmp_path / f"b.{ending}")) as container:
        assert (container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)) == kept


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_metadata_in_and_out(tmp_path: Path, ending: str) -> None:
    tags = {"title": "A day öut", "comment": "none", "creation_time": "2024-05-06T07:08:09.000000Z"}
    location = {"location": "+48.8577+002.2950/"}
    source = write_clip(
        tmp_path / "a.mp4", clip(2), "libx264", tags={**tags, **location}, audio="aac"
    )
    assert tags.items() <= read(source)[0].metadata.items()
    target = tmp_path / f"b.{ending}"
    copy(source, target)
    with av.open(str(target)) as container:
        found = {k.lower(): v for k, v in container.metadata.items()}
        assert {**tags, **location}.items() <= found.items()
        assert container.streams.audio[0].metadata["language"] == "deu"


def test_brands_of_the_input_are_not_copied_as_tags(tmp_path: Path) -> None:
    copy(write_clip(tmp_path / "a.mov", clip(1), "libx264"), tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert b"major_brand" not in data
    assert b"compatible_brands" not in data
