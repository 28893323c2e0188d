"""How much arithmetic a model takes, counted while it runs, and how fast its networks are alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from stcodec.codec import kernels, scales
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model, load_model
from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.codec.tree import KEY
from stcodec.common.timing import collect
from stcodec.common.values import Planes
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings

_LEAST_SECONDS = 1.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class Complexity:
    """Parameters (floating-point networks, integer scale networks), and 1000 multiply-accumulates
    per pixel by stage (`timing.STAGES`, or "other")."""

    parameters: int
    scale_parameters: int
    encode: dict[str, float]
    decode: dict[str, float]


def complexity(name: str, pictures: list[Planes], quality: int) -> Complexity:
    """Count the matrix products and convolutions of coding the second of two chunks (16 8-bit
    pictures, even size).

    Elementwise work, gathers and entropy coding have no multiply-accumulates in this count; scale
    networks and prediction count as the matrix products that compiled loops leave out for the most
    part.
    """
    model = load_model(name)
    height, width = pictures[0][0].shape
    encoder = ChunkEncoder(model, width, height, 8, CodecSettings(quality))
    decoder = ChunkDecoder(model, width, height, 8)
    chunks = pictures[:CHUNK_FRAMES], pictures[CHUNK_FRAMES : 2 * CHUNK_FRAMES]
    first = encoder.encode(chunks[0], True)
    decoder.decode(first.payload, True)
    with kernels.switched_off():
        coded, encode = _count(lambda: encoder.encode(chunks[1], False))
        _, decode = _count(lambda: decoder.decode(coded.payload, False))
    pixels = CHUNK_FRAMES * width * height
    return Complexity(
        sum(p.numel() for p in model.network.parameters()),
        sum(t.numel() for _, g in model.scale_networks.named() for t in (g.w1, g.b1, g.w2, g.b2)),
        {k: v / pixels / 1000 for k, v in encode.items()},
        {k: v / pixels / 1000 for k, v in decode.items()},
    )


def _count(work: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    """What `work` returns, and its multiply-accumulates by stage: the stages' clock counts them
    instead of seconds."""
    with FlopCounterMode(display=False) as counter:
        with collect(clock=lambda: counter.get_total_flops() / 2) as stages:
            result = work()
    counts = {k: v for k, v in stages.seconds.items() if v}
    if rest := counter.get_total_flops() / 2 - sum(counts.values()):
        counts["other"] = rest
    return result, counts


@torch.no_grad()
def networks_alone(model: Model, height: int, width: int) -> float:
    """Frames per second of the networks (prior, filter, memory, scales) of 8 frames as they are
    coded, one after another.

    Encoder and decoder run the same ones; all threads of torch work on each.
    """
    network, config = model.network, model.config
    padded = config.patch.padded(height, width)
    rows, columns = padded[0] // config.patch.h, padded[1] // config.patch.w
    x = torch.rand(1, config.patch.channels, rows, columns) - 0.5
    state = network.null_state(1, rows, columns)
    quality = torch.full((1,), 32.0)
    known = torch.randint(
        0,
        8,
        (rows * columns, scales.input_size(config.patch.channels, False) - config.patch.channels),
    )
    own = torch.randint(0, 8, (rows * columns, config.patch.channels)).float()

    def frame(kind: int) -> None:
        kinds = torch.tensor([kind])
        step = network.step(quality, kinds)
        if network.works_on(kind):
            mean = network.predict(x, state, step, quality, kinds)
            _, features = network.restore(x, mean, x, step, quality, kinds)
            if kind <= KEY:
                network.remember(state, features)
        for lattice, (at, _) in enumerate(scales.lattice_positions(rows, columns, kind, x.device)):
            count, biases = len(at), scales.context_class(kind, lattice)
            start = 0
            for group, end in zip(model.scale_networks.other, config.groups, strict=True):
                group.indices(known[:count], biases, own[:count, :start] if start else None)
                start = end

    kinds = (KEY, 2, 3, 3, 4, 4, 4, 4)
    frame(KEY)
    frames, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < _LEAST_SECONDS or frames < CHUNK_FRAMES:
        for kind in kinds:
            frame(kind)
        frames += len(kinds)
    return frames / spent
