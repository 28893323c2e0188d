"""Speed: frames per second of encode and decode, and where the time goes."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import stcodec
from stcodec.bench import peers as peer_codecs
from stcodec.bench.peers import Peer
from stcodec.bench.sources import pictures, prepare
from stcodec.network import Network
from stcodec.timing import collect
from stcodec.weights import load_model

SIZES = {"360p": 360, "720p": 720, "1080p": 1080}


@dataclass(frozen=True)
class Speed:
    """Frames per second, start-up excluded, and seconds per stage where they are known."""

    codec: str
    size: str
    encode: float
    decode: float
    encode_stages: dict[str, float] = field(default_factory=dict)
    decode_stages: dict[str, float] = field(default_factory=dict)


def measure(
    source: Path,
    sizes: Sequence[str],
    frames: int,
    model: str,
    quality: int,
    threads: int,
    peers: dict[str, Peer],
    log: Callable[[str], None],
) -> list[Speed]:
    """Encode and decode `source` at every size with every codec, all in one run."""
    results = []
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as name:
        for size in sizes:
            height = stcodec_height(source)
            clip = prepare(source, Path(name), {}, SIZES[size] / height, frames)
            results.append(_stp(clip.path, size, clip.frames, model, quality, threads, Path(name)))
            log(line(results[-1]))
            for label, peer in peers.items():
                target = Path(name) / "peer.mp4"
                seconds = peer_codecs.encode(clip, peer, peer.crfs[1], target)
                start = time.perf_counter()
                count = sum(1 for _ in pictures(target))
                results.append(Speed(label, size, count / seconds, count / (time.perf_counter() - start)))
                log(line(results[-1]))
    return results


def stcodec_height(source: Path) -> int:
    """Luma rows of a video file."""
    from stcodec.bench.sources import first_info

    return first_info(source).height


def _stp(path: Path, size: str, frames: int, model: str, quality: int, threads: int, folder: Path) -> Speed:
    coded, back = folder / "s.stp", folder / "s.y4m"
    load_model(model)  # torch and the weights are start-up
    with collect() as encoding:
        start = time.perf_counter()
        stcodec.encode(path, coded, quality=quality, model=model, threads=threads, overwrite=True)
        encode_seconds = time.perf_counter() - start
    with collect() as decoding:
        start = time.perf_counter()
        stcodec.decode(coded, back, threads=threads, overwrite=True)
        decode_seconds = time.perf_counter() - start
    return Speed(
        f"stp:{model}",
        size,
        frames / encode_seconds,
        frames / decode_seconds,
        dict(encoding.seconds),
        dict(decoding.seconds),
    )


def line(speed: Speed) -> str:
    """One line for people."""
    text = (
        f"{speed.size:<6} {speed.codec:<18} encode {speed.encode:7.2f} frames/s   decode {speed.decode:7.2f} frames/s"
    )
    for label, stages in (("encode", speed.encode_stages), ("decode", speed.decode_stages)):
        if stages:
            total = sum(stages.values())
            shares = ", ".join(f"{k} {100 * v / total:.0f} %" for k, v in sorted(stages.items(), key=lambda i: -i[1]))
            text += f"\n       {label}: {shares}"
    return text


def complexity(model: str) -> tuple[int, float, float]:
    """Parameters, and kMAC per pixel of what an encoder and a decoder run of the floating-point networks."""
    network: Network = load_model(model).network
    config = network.config
    parameters = sum(p.numel() for p in network.parameters())
    if not config.width:
        return parameters, 0.0, 0.0
    patch = config.patch
    rows = columns = 8
    kind = torch.zeros(1, dtype=torch.long)
    quality = torch.full((1,), 32.0)
    x = torch.rand(1, patch.channels, rows, columns)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        step = network.step(quality, kind)
        mean = network.predict(x, network.memory.start(1, rows, columns), step, quality, kind)
        network.restore(x, mean, x, step, quality, kind)
    per_pixel = counter.get_total_flops() / 2 / (rows * columns * patch.h * patch.w) / 1000
    return parameters, per_pixel, per_pixel


def peak_memory() -> float:
    """Peak resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
