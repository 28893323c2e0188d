"""What `gpu_check.sh` runs, part by part: each prints JSON lines, and `table` makes text of them.

python tools/gpu_check.py machine|golden|across|speed|table ...
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
GOLDEN = ROOT / "tests" / "golden"
LEAST_PSNR = 60.0  # dB, of pictures by another device
WIDTH, HEIGHT = 320, 192


def say(part: str, **values: Any) -> None:
    """A JSON line."""
    print(json.dumps({"part": part, **values}), flush=True)


def machine(device: str) -> None:
    """Versions, and the loops compiled."""
    import numba
    import torch

    from stcodec.encoder import choice

    start = time.perf_counter()
    choice.warm_up()
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    say(
        "machine",
        device=name,
        cores=len(os.sched_getaffinity(0)),
        torch=torch.__version__,
        numpy=np.__version__,
        numba=numba.__version__,
        compiled=round(time.perf_counter() - start, 1),
    )


def psnr(a: np.ndarray, b: np.ndarray, bit_depth: int) -> float:
    """Of two arrays of samples, in dB; 999 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float(10 * np.log10(((1 << bit_depth) - 1) ** 2 / error)) if error else 999.0


def samples(pictures: list[Any]) -> np.ndarray:
    """All planes of some pictures in one row."""
    return np.concatenate([plane.ravel() for planes in pictures for plane in planes])


def golden(device: str) -> None:
    """The golden files by the device and by the CPU: symbols are checked by each chunk's checksum,
    pictures are compared."""
    from stcodec.codec.decoder import ChunkDecoder
    from stcodec.codec.model_files import load_model
    from stcodec.common.arithmetic import Arithmetic
    from stcodec.common.devices import choose_device
    from stcodec.container.records import VideoChunk
    from stcodec.container.stp import Reader

    for path in sorted(GOLDEN.glob("*.stp")):
        with open(path, "rb") as file, Arithmetic(choose_device(device)):
            reader = Reader(file)
            header = reader.header
            model = load_model(header.model_id, header.model_sha256)
            shape = header.width, header.height, header.bit_depth
            here, there = (ChunkDecoder(model, *shape, name) for name in ("cpu", device))
            worst, pictures = 999.0, 0
            for item in reader:
                if isinstance(item, VideoChunk):
                    own, other = (d.decode(item.payload, item.first) for d in (here, there))
                    pictures += len(own)
                    worst = min(worst, psnr(samples(own), samples(other), header.bit_depth))
        say("golden", file=path.name, pictures=pictures, psnr=worst, ok=worst >= LEAST_PSNR)


def across(device: str) -> None:
    """Moving pictures encoded on the device and decoded on the CPU, against the device's own."""
    from stcodec.codec.decoder import ChunkDecoder
    from stcodec.codec.model_files import load_model
    from stcodec.common.arithmetic import Arithmetic
    from stcodec.common.devices import choose_device
    from stcodec.encoder.encoder import ChunkEncoder, CodecSettings

    source = [moving(i) for i in range(24)]
    for name in ("stc-1", "dct"):
        model, settings = load_model(name), CodecSettings(40)
        with Arithmetic(choose_device(device)):
            encoder = ChunkEncoder(model, WIDTH, HEIGHT, 8, settings, device, workers=4)
            here, there = (ChunkDecoder(model, WIDTH, HEIGHT, 8, d) for d in ("cpu", device))
            sizes, worst, kept = [], 999.0, 999.0
            for start in range(0, len(source), 8):
                pictures, first = source[start : start + 8], start in (0, 16)
                payload = encoder.encode(pictures, first).payload
                own, other = (d.decode(payload, first) for d in (here, there))
                sizes.append(len(payload))
                worst = min(worst, psnr(samples(own), samples(other), 8))
                kept = min(kept, psnr(samples(own), samples(pictures), 8))
        fine = worst >= LEAST_PSNR and kept >= 35
        say("across", model=name, bytes=sizes, psnr=worst, source_psnr=kept, ok=fine)


def moving(t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes of a texture that pans by 1.5 samples a frame, and of a patch that does not."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    luma = 0.5 + 0.25 * np.sin((x + 1.5 * t) / 5) * np.cos(y / 7) + 0.2 * np.sin((x + y) / 23)
    luma[40:90, 60:120] = (x[40:90, 60:120] * 7 + y[40:90, 60:120] * 3) % 50 / 60
    u, v = (0.5 + 0.2 * np.sin((x[::2, ::2] + 1.5 * t + k * y[::2, ::2]) / 19) for k in (1, -1))
    y8, u8, v8 = (np.round(255 * plane).astype(np.uint8) for plane in (luma, u, v))
    return y8, u8, v8


def speed(device: str, clip: Path, sizes: list[str], frames: int) -> None:
    """`stcodec bench speed`, a size at a time."""
    from stcodec.bench import speed as measuring
    from stcodec.options import EncodeOptions

    for size in sizes:
        options = EncodeOptions(device=device)
        for found in measuring.measure(clip, [size], frames, options, {}, _log):
            for what, run in (("encode", found.encode), ("decode", found.decode)):
                stages = {k: round(v / found.frames, 4) for k, v in run.stages.items()}
                say(
                    "speed",
                    size=size,
                    what=what,
                    frames=found.frames,
                    bytes=found.bytes,
                    rate=round(found.frames / run.seconds, 2),
                    waits=None if run.waits is None else round(run.waits / found.frames, 2),
                    device_megabytes=run.device_megabytes,
                    stages=stages,
                )


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(path: Path) -> int:
    """The lines as text; 1 if any of them is not as it should be."""
    failed = 0
    for line in path.read_text().splitlines():
        values = json.loads(line)
        part, ok = values.pop("part"), values.pop("ok", None)
        failed |= ok is False
        stages = values.pop("stages", {})
        words = [
            part,
            *(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()),
        ]
        print({None: "    ", True: "ok  ", False: "BAD "}[ok] + "  ".join(words))
        if stages:
            print("      seconds a frame: " + ", ".join(f"{k} {v}" for k, v in stages.items()))
    return failed


def main() -> int:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("machine", "golden", "across", "speed", "table"))
    parser.add_argument("path", nargs="?", type=Path, help="clip, or file of JSON lines")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", default="360p,1080p,2160p")
    parser.add_argument("--frames", type=int, default=17)
    chosen = parser.parse_args()
    if chosen.part == "table":
        return table(chosen.path)
    if chosen.part == "speed":
        speed(chosen.device, chosen.path, chosen.sizes.split(","), chosen.frames)
    else:
        {"machine": machine, "golden": golden, "across": across}[chosen.part](chosen.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
