"""The other codecs: PyAV's encoders at their usual settings, whole MP4 files, real decodes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from stcodec.bench.sources import Clip, first_info, pictures
from stcodec.errors import UsageError
from stcodec.video import Picture, StreamInfo
from stcodec.video_out import MediaWriter

_NO_STREAMS: tuple[StreamInfo, ...] = ()


@dataclass(frozen=True)
class Peer:
    """An encoder, its preset and options, and the constant rate factors that it is measured at."""

    encoder: str
    preset: str
    crfs: tuple[int, ...]
    options: tuple[tuple[str, str], ...] = ()


_X26X = (18, 23, 28, 33, 38)
PEERS = {
    "x264-medium": Peer("libx264", "medium", _X26X),
    "x264-medium-psnr": Peer("libx264", "medium", _X26X, (("tune", "psnr"),)),
    "x264-veryslow": Peer("libx264", "veryslow", _X26X, (("tune", "psnr"),)),
    "x265-medium": Peer("libx265", "medium", _X26X, (("x265-params", "log-level=none"),)),
    "svtav1-p6": Peer("libsvtav1", "6", (23, 32, 41, 50, 58)),
}
ANCHOR = "x264-medium"


def find_peers(names: str) -> dict[str, Peer]:
    """Peers from a comma-separated list; UsageError for an unknown one."""
    chosen = [n for n in names.split(",") if n]
    for name in chosen:
        if name not in PEERS:
            raise UsageError(f"unknown peer {name!r}: choose from {', '.join(PEERS)}")
    return {name: PEERS[name] for name in chosen}


def encode(clip: Clip, peer: Peer, crf: int, target: Path) -> float:
    """Encode a clip into an MP4 file; returns seconds, reading the source included."""
    info = first_info(clip.path)
    start = time.perf_counter()
    writer = MediaWriter(
        target,
        replace(info, time_base=1 / clip.rate, frame_rate=clip.rate),
        _NO_STREAMS,
        {},
        "mp4",
        peer.encoder,
        crf,
        peer.preset,
        dict(peer.options),
    )
    for number, planes in enumerate(pictures(clip.path)):
        writer.write(Picture(planes, number, 1))
    writer.close()
    return time.perf_counter() - start
