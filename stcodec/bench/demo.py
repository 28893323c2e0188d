"""What `make demo` runs: a real clip by stcodec and by x264, at about the same PSNR."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import stcodec
from stcodec.bench import peers
from stcodec.bench.sources import Clip, first_info, pictures, prepare
from stcodec.encoder import choice
from stcodec.flows.inspect import info
from stcodec.quality.metrics import QualityMeter
from stcodec.terminal import report

# The comparison is by PSNR, so that x264 is tuned for it, too.
_PEER = "x264-medium-psnr"
# Constant rate factors, and about the quality that gives the same PSNR.
_CRFS = {18: 36, 23: 26, 28: 16}
_DECIBELS_A_STEP = 0.28
# Half the size leaves next to nothing of how a clip was compressed before.
_SCALE = 0.5


@dataclass(frozen=True)
class _Row:
    """What one encode came to; speeds in frames per second."""

    name: str
    file: int
    coded: int
    psnr: float
    encode: float
    decode: float

    def __str__(self) -> str:
        size, coded = report.human_size(self.file), report.human_size(self.coded)
        return (
            f"{self.name:<18} {size:>10} {coded:>10} {self.psnr:>8.2f} dB "
            f"{self.encode:>8.1f} frm/s {self.decode:>8.1f} frm/s"
        )


def main(source: Path) -> None:
    """Make a clip of camera quality of `source`, code it by both, and print a table."""
    if not choice.compiled():
        report.say("compiling the loops for this machine: half a minute to a minute, once")
        choice.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        clip = prepare(source, Path(folder), {}, _SCALE, 0)
        report.say(
            f"{source} at half its size, as a camera would give it: "
            f"{clip.width}x{clip.height}, {clip.frames} frames, uncompressed"
        )
        report.say(
            f"{'':<18} {'file':>10} {'pictures':>10} {'PSNR 6:1:1':>11} {'encode':>14} "
            f"{'decode':>14}"
        )
        differences = []
        for crf, guess in _CRFS.items():
            theirs = _x264(clip, crf)
            ours = _at_psnr(clip, theirs.psnr, guess)
            report.say(str(theirs))
            report.say(str(ours))
            differences.append(100 * (ours.coded / theirs.coded - 1))
    report.say(
        "pictures of stcodec against those of x264: "
        + ", ".join(f"{difference:+.0f} %" for difference in differences)
    )
    report.say(
        "pictures: what is coded of them; file: with the container. x264 is preset medium with "
        "tune=psnr.\nSpeeds include start-up and reading or writing the video."
    )


def _x264(clip: Clip, crf: int) -> _Row:
    coded = clip.path.with_suffix(".mp4")
    seconds = peers.encode(clip, peers.find_peer(_PEER), crf, coded)
    start = time.perf_counter()
    psnr = _psnr(clip, coded)
    decode = clip.frames / (time.perf_counter() - start)
    size = coded.stat().st_size
    name = f"x264 CRF {crf}"
    return _Row(name, size, peers.coded_bytes(coded), psnr, clip.frames / seconds, decode)


def _at_psnr(clip: Clip, psnr: float, guess: int) -> _Row:
    """The one of three encodes that comes closest to a PSNR."""
    rows, quality, slope = {guess: _stcodec(clip, guess)}, guess, _DECIBELS_A_STEP
    for _ in range(2):
        better = min(63, max(0, quality + round((psnr - rows[quality].psnr) / slope)))
        if better in rows:
            break
        rows[better] = _stcodec(clip, better)
        slope = max(0.1, (rows[better].psnr - rows[quality].psnr) / (better - quality))
        quality = better
    return min(rows.values(), key=lambda row: abs(row.psnr - psnr))


def _stcodec(clip: Clip, quality: int) -> _Row:
    coded, back = clip.path.with_suffix(".stp"), clip.path.with_name("back.y4m")
    encoded = stcodec.encode(clip.path, coded, quality=quality, overwrite=True)
    decoded = stcodec.decode(coded, back, overwrite=True)
    name = f"stcodec quality {quality}"
    speeds = encoded.frames / encoded.seconds, decoded.frames / decoded.seconds
    video = info(coded).video_bytes
    return _Row(name, encoded.output_bytes, video, _psnr(clip, back), *speeds)


def _psnr(clip: Clip, path: Path) -> float:
    """PSNR 6:1:1 of a video against the clip, in dB."""
    meter = QualityMeter(first_info(clip.path).bit_depth)
    for original, decoded in zip(pictures(clip.path), pictures(path), strict=True):
        meter.add(original, decoded)
    return meter.result().psnr_611


if __name__ == "__main__":
    main(Path(sys.argv[1]))
