"""The other codecs: PyAV's encoders at their usual settings, whole MP4 files, real decodes.

A peer is called `<encoder>-<preset>[-<tune>]`: x264-medium, x264-veryslow-psnr, x265-slow,
svtav1-p6. Nothing but preset, tune and constant rate factor differs from the encoder's defaults,
except where libavcodec's own defaults would harm it: PyAV asks for threads within a picture, upon
which x264 cuts pictures into slices, which its own default does not.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from stcodec.bench.sources import Clip, first_info, pictures
from stcodec.common.values import Picture, StreamInfo
from stcodec.errors import UsageError
from stcodec.media.writer import MediaWriter

ANCHOR = "x264-medium"
"""What every BD-rate is measured against: x264 as it is by default."""
_NO_STREAMS: tuple[StreamInfo, ...] = ()
_SPEEDS = "ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow|placebo"
_NAME = re.compile(rf"x26[45]-({_SPEEDS})(-psnr|-ssim|-grain)?|svtav1-p([0-9]|1[0-3])")
_VERSION = re.compile(rb"x264 - core \d+(?: r\d+)?|x265 \(build \d+\) - [\w.+-]+")
_BANNER = re.compile(rb"x26[45] (?:- core |\(build )[ -~]*")

EXAMPLES = "x264-medium, x264-veryslow, x264-veryslow-psnr, x265-medium, svtav1-p6"


@dataclass(frozen=True)
class Peer:
    """An encoder of libavcodec, its preset and options, and the constant rate factors that it is
    measured at."""

    encoder: str
    preset: str
    crfs: tuple[int, ...]
    options: tuple[tuple[str, str], ...] = ()

    def settings(self) -> str:
        """All of it in words."""
        shown = [f"{k}={v}" for k, v in self.options if v not in ("log-level=none", "frame")]
        return ", ".join(
            [self.encoder, f"preset {self.preset}", *shown, f"CRF {' '.join(map(str, self.crfs))}"]
        )


def find_peer(name: str) -> Peer:
    """The peer of a name; UsageError where there is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"unknown peer {name!r}: an encoder and a preset, such as {EXAMPLES}")
    encoder, preset, *tune = name.split("-")
    if encoder == "svtav1":
        return Peer("libsvtav1", preset[1:], (23, 32, 41, 50, 58))
    options = [("thread_type", "frame"), *(("tune", t) for t in tune)]
    if encoder == "x265":
        options.append(("x265-params", "log-level=none"))
    return Peer(f"lib{encoder}", preset, (18, 23, 28, 33, 38), tuple(options))


def find_peers(names: str) -> dict[str, Peer]:
    """Peers from a comma-separated list; UsageError for an unknown one."""
    return {name: find_peer(name) for name in names.split(",") if name}


def encode(clip: Clip, peer: Peer, crf: int, target: Path, threads: int = 0) -> float:
    """Encode a clip into an MP4 file with so many threads (0: the encoder's choice); returns
    seconds, reading included."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only
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
        {**dict(peer.options), **({"threads": str(threads)} if threads else {})},
    )
    for number, planes in enumerate(pictures(clip.path)):
        writer.write(Picture(planes, number, 1))
    writer.close()
    return time.perf_counter() - start


def coded_bytes(path: Path) -> int:
    """Bytes of the video alone: packets and parameter sets, without the container and the text of
    the encoder about itself."""
    import av

    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    return _without_banner(extradata) + packet_bytes(path)


def packet_bytes(path: Path) -> int:
    """Bytes of the packets of the video alone, without the text of the encoder about itself."""
    import av

    with av.open(str(path)) as container:
        return sum(_without_banner(bytes(packet)) for packet in container.demux(video=0))


def _without_banner(part: bytes) -> int:
    return len(part) - sum(len(text) for text in _BANNER.findall(part))


def version(path: Path) -> str:
    """What the encoder says of itself in a file that it wrote ("" where it says nothing)."""
    found = _VERSION.search(path.read_bytes())
    return found.group().decode() if found else ""
