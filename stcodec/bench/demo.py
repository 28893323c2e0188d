"""What `make demo` runs: encode and decode a real clip, and say how big, how good and how fast."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import stcodec
from stcodec.bench.sources import first_info, pictures
from stcodec.encoder import choice
from stcodec.quality.metrics import QualityMeter
from stcodec.terminal import report


def main(source: Path) -> None:
    """Encode and decode `source` at three qualities and print a table."""
    info = first_info(source)
    report.say(f"{source}: {info.width}x{info.height}, {report.human_size(source.stat().st_size)}")
    report.say(
        f"{'quality':>7} {'size':>10} {'ratio':>8} {'PSNR 6:1:1':>11} {'encode':>12} {'decode':>12}"
    )
    if not choice.compiled():
        report.say("compiling the motion search for this machine, once")
        choice.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        coded, back = Path(folder) / "demo.stp", Path(folder) / "demo.y4m"
        for quality in (16, 32, 48):
            encoded = stcodec.encode(source, coded, quality=quality, overwrite=True)
            decoded = stcodec.decode(coded, back, overwrite=True)
            meter = QualityMeter(info.bit_depth)
            for a, b in zip(pictures(source), pictures(back), strict=True):
                meter.add(a, b)
            report.say(
                f"{quality:>7} {report.human_size(encoded.output_bytes):>10} "
                f"{encoded.ratio or 0:>7.2f}x {meter.result().psnr_611:>8.2f} dB "
                f"{encoded.frames / encoded.seconds:>6.1f} frm/s "
                f"{decoded.frames / decoded.seconds:>6.1f} frm/s"
            )
    report.say(
        "ratio: against the size of the input file; "
        "speeds include start-up and reading or writing the video"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
