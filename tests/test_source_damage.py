"""Damage within the packets of a source, up to its last one: as many pictures as there are, the
same ones on any machine, and no source is removed that may be damaged. PyAV makes the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from stcodec.common.values import Picture
from stcodec.errors import InputError
from stcodec.media.reader import VideoReader
from tests.conftest import run
from tests.media import clip, write_clip

FAST = ("--model", "dct", "--effort", 0, "--progress", "none")
COUNT = 24


def with_changed(source: Path, number: int, change: Callable[[bytes], bytes]) -> Path:
    """A copy in which one packet of the video is another one."""
    target = source.with_name(f"damaged{source.suffix}")
    with av.open(str(source)) as whole, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(whole.streams.video[0])
        packets = [p for p in whole.demux(video=0) if p.size]
        for i, packet in enumerate(packets):
            data = change(bytes(packet)) if i == number % len(packets) else bytes(packet)
            again: Any = av.Packet(data)
            again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
            again.time_base, again.is_keyframe = packet.time_base, packet.is_keyframe
            again.stream = stream
            out.mux(again)
    return target


def noise(data: bytes) -> bytes:
    return b"\x55" * len(data)


def flipped(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def made(folder: Path, codec: str, ending: str = "mkv") -> Path:
    frames = clip(COUNT)
    if codec == "mjpeg":
        frames = [f.reformat(format="yuvj420p") for f in frames]
    return write_clip(folder / f"in.{ending}", frames, codec)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "ffv1", "mjpeg", "libvpx-vp9"])
@pytest.mark.parametrize("number", [10, -2, -1])
def test_one_bad_packet_costs_one_picture(tmp_path: Path, codec: str, number: int) -> None:
    """Wherever it is, even where decoders with many threads would have others in hand."""
    source = with_changed(made(tmp_path, codec), number, noise)
    with VideoReader(source) as reader:
        count = sum(isinstance(item, Picture) for item in reader)
    said = [note for note in reader.notes if "1 video packet cannot be decoded" in note]
    if codec == "libvpx-vp9" and number != -2:
        # It takes noise for a picture that is not shown, or for another size.
        assert count <= COUNT - 1
        return
    assert (count, len(said)) == (COUNT - 1, 1)
    with pytest.raises(InputError, match="cannot be decoded"):
        with VideoReader(source, strict=True) as reader:
            list(reader)


@pytest.mark.parametrize("codec", ["libx265", "ffv1", "libvpx-vp9"])
def test_no_source_that_may_be_damaged_is_removed(tmp_path: Path, codec: str) -> None:
    """Its decoder says nothing to those that do not ask."""
    whole = made(tmp_path, codec)
    source, coded = with_changed(whole, -1, flipped), tmp_path / "a.stp"
    with VideoReader(source) as reader:
        assert sum(isinstance(item, Picture) for item in reader) >= COUNT - 1 and not reader.notes
    done = run("encode", source, coded, "--remove-source", "--json", *FAST)
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout.splitlines()[-1])
    assert (event["removed"], event["untouched"]) == (False, False)
    assert "the source may be damaged: " in done.stderr and "the source is kept" in done.stderr
    assert source.exists()
    if codec == "libx265":  # decoders of others find no fault, even with a wrong checksum
        assert run("encode", source, coded, "-y", "--strict", *FAST).returncode == 3
    done = run("encode", whole, coded, "-y", "--remove-source", *FAST)
    assert done.returncode == 0 and not whole.exists(), done.stderr


def test_nor_by_a_batch(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with_changed(made(folder, "ffv1"), -1, flipped)
    done = run("batch", folder, "-o", out, "--remove-source", "--jobs", 1, *FAST[:4])
    assert done.returncode == 0, done.stderr
    assert "the source may be damaged" in done.stderr
    assert [p.name for p in folder.iterdir()] == ["damaged.mkv"]
