"""VMAF by FFmpeg's libvmaf, of files and of pictures as they come."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stcodec.common.values import Picture, Planes, VideoInfo
from stcodec.errors import StcodecError
from stcodec.media.y4m import Y4MWriter
from stcodec.quality import vmaf as vmaf_module
from stcodec.quality.vmaf import VmafMeter, available, vmaf
from tests.media import moving_planes

INFO = VideoInfo(
    160, 96, 8, Fraction(1, 25), Fraction(25), Fraction(1), 0, 0, 2, 2, 2, 0, None, None
)
needs_vmaf = pytest.mark.skipif(
    available() is None, reason="no ffmpeg with libvmaf (pip install 'stcodec[bench]')"
)


def blurred(planes: Planes) -> Planes:
    coarse = planes[0].reshape(12, 8, 20, 8).mean((1, 3)).astype(planes[0].dtype)
    return coarse.repeat(8, 0).repeat(8, 1), planes[1], planes[2]


def clips(bits: int = 8, count: int = 30) -> tuple[list[Planes], list[Planes]]:
    reference = [moving_planes(160, 96, i, bits) for i in range(count)]
    return reference, [p if i % 3 else blurred(p) for i, p in enumerate(reference)]


def write(path: Path, pictures: list[Planes], info: VideoInfo = INFO) -> Path:
    with open(path, "wb") as stream:
        writer = Y4MWriter(stream, info)
        for planes in pictures:
            writer.write(Picture(planes, 0, 1))
    return path


@needs_vmaf
@pytest.mark.parametrize("bits", [8, 10])
def test_scores_of_files_and_of_pictures_are_the_same(tmp_path: Path, bits: int) -> None:
    reference, distorted = clips(bits)
    info = replace(INFO, bit_depth=bits)
    # Another frame rate: pictures are paired by number.
    other = replace(info, frame_rate=Fraction(30))
    a, b = (
        write(tmp_path / "a b,[1]:'.y4m", reference, info),
        write(tmp_path / "-b.y4m", distorted, other),
    )
    of_files = vmaf(a, b)
    with VmafMeter(info, threads=1) as meter:
        for pair in zip(reference, distorted, strict=True):
            meter.add(*pair)
        of_pictures = meter.result()
    assert of_files == of_pictures
    assert len(of_files) == 30
    blur, same = of_files[3::3], [s for i, s in enumerate(of_files) if i % 3]
    assert max(blur) < min(same[1:])
    assert all(0 <= s <= 100 for s in of_files)


@needs_vmaf
def test_the_shorter_file_says_how_many_and_sizes_must_agree(tmp_path: Path) -> None:
    reference, distorted = clips(count=6)
    a = write(tmp_path / "a.y4m", reference)
    assert len(vmaf(a, write(tmp_path / "short.y4m", distorted[:4]))) == 4
    small = [tuple(np.ascontiguousarray(p[:16, :16]) for p in planes) for planes in distorted]
    write(tmp_path / "small.y4m", small, replace(INFO, width=16, height=16))  # type: ignore[arg-type]
    with pytest.raises(StcodecError, match=r"^VMAF: ffmpeg failed \(.*\)$"):
        vmaf(a, tmp_path / "small.y4m")
    with pytest.raises(StcodecError, match="VMAF: ffmpeg failed"):
        vmaf(a, tmp_path / "missing.y4m")


@needs_vmaf
def test_a_meter_that_is_left_early_leaves_nothing() -> None:
    reference, distorted = clips(count=12)
    with VmafMeter(INFO) as meter:
        for pair in zip(reference, distorted, strict=True):
            meter.add(*pair)
    assert not Path(meter._folder.name).exists()
    assert meter._process.poll() is not None


def test_no_ffmpeg_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vmaf_module, "available", lambda: None)
    with pytest.raises(StcodecError, match="pip install"):
        vmaf(tmp_path / "a", tmp_path / "b")
