"""Files as cameras, editors and broken disks leave them. PyAV, Pillow or FFmpeg make each one, the
command reads it as a user would have it do, and PyAV reads the result."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tests.conftest import run
from tests.media import moving_planes

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ORIENTATION, TURN_CLOCKWISE = 0x0112, 6


def through(source: Path, ending: str = "mp4", *options: str) -> tuple[Path, list[str]]:
    """`source`, encoded and decoded by the command; the result, and what encode said."""
    coded, target = source.with_suffix(".stp"), source.with_name(f"out.{ending}")
    done = run("encode", source, coded, "-y", "--model", "dct", *options)
    assert done.returncode == 0, done.stderr
    again = run("decode", coded, target, "-y")
    assert again.returncode == 0, again.stderr
    return target, [line for line in done.stderr.splitlines() if "note:" in line]


# --- side data


def camera_picture(path: Path) -> Path:
    """A picture with EXIF, as a camera that was held upright writes it."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_CLOCKWISE
    picture = Image.fromarray(moving_planes(64, 48, 0)[0]).convert("RGB")
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("ending", ["jpg", "tif", "avi", "mkv", "mov"])
def test_pictures_with_exif(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"in.{ending}"
    if ending in ("jpg", "tif"):
        camera_picture(source)
    else:
        picture = camera_picture(tmp_path / "picture.jpg").read_bytes()
        with av.open(str(source), "w") as out:
            video: Any = out.add_stream("mjpeg", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
            for i in range(4):
                packet: Any = av.Packet(picture)
                packet.pts = packet.dts = i
                packet.time_base, packet.stream = Fraction(1, 25), video
                packet.is_keyframe = True
                out.mux(packet)
    target, _ = through(source)
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == (1 if ending in ("jpg", "tif") else 4)
    assert (frames[0].width, frames[0].height) == (64, 48)
    if ending != "tif":  # FFmpeg's TIFF decoder tells nobody of the orientation
        assert round(-frames[0].rotation) % 360 == 90
    luma = frames[0].to_ndarray(format="gray").astype(float)
    assert np.abs(luma - moving_planes(64, 48, 0)[0]).mean() < 4
