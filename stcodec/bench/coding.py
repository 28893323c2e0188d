"""One clip coded chunk by chunk in memory: bytes of payloads by part, quality of the decoded
pictures, CPU time. And the same of another codec, by its packets."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stcodec.bench import peers
from stcodec.bench.overrides import Settings, changed_config
from stcodec.bench.peers import Peer
from stcodec.bench.sources import Clip, pictures
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model, load_model
from stcodec.codec.tree import tree_steps
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.values import Picture, Planes
from stcodec.encoder import choice
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings, PreparedChunk
from stcodec.errors import StcodecError, UsageError
from stcodec.flows.grouping import Cut, chunks
from stcodec.quality.metrics import Quality, QualityMeter

KINDS = ("intra", "key", "level 1", "level 2", "leaves")
"""Kinds of frames in the order of their numbers in the codec."""
_KEYS, _LEAVES = (0, 1), 4


@dataclass(frozen=True)
class Measured:
    """One clip at one setting.

    setting: quality or CRF; bytes: of the payloads, or a peer's packets. parts: bytes of vectors
    and of latents by kind of frame, by ideal length, so that their sum lacks headers and rounding.
    PSNR in dB, a mean over frames; MS-SSIM in 0..1. evenness: how far a frame's PSNR 6:1:1 lies
    from the mean of its two neighbours' in its segment, in dB, on average. key_gap: by how many dB
    intra and key frames are better than leaves. Seconds of CPU per frame. None: not known.
    """

    setting: int
    bytes: int
    frames: int
    width: int
    height: int
    psnr_611: float
    psnr_y: float
    psnr_u: float
    psnr_v: float
    ms_ssim: float
    evenness: float | None
    key_gap: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    parts: dict[str, float] = field(default_factory=dict)


@dataclass
class _Coded:
    """What coding has come to so far: kinds and segments of frames, in order."""

    bytes: int = 0
    encode: float = 0.0
    decode: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)


def code_own(
    clip: Clip, model: str, quality: int, settings: Settings, tune: str = "psnr"
) -> Measured:
    """Code a clip by a model, in one thread. `settings`: of the model; constants of the encoder
    have been set before (see `overrides`); tune: of `options.TUNES`."""
    with Arithmetic(torch.device("cpu"), threads=1):
        loaded = _warm_model(model, tuple(settings.items()))
        coded, scores = _coded(clip, loaded, CodecSettings(quality, ssim=tune == "ssim"))
    return Measured(
        **_means(quality, coded.bytes, clip, scores, coded.segments),
        key_gap=_key_gap(scores, coded.kinds),
        encode_seconds=coded.encode / len(scores),
        decode_seconds=coded.decode / len(scores),
        parts=coded.parts,
    )


def _coded(clip: Clip, model: Model, settings: CodecSettings) -> tuple[_Coded, list[Quality]]:
    """What coding a clip comes to, and the quality of every frame."""
    coded, scores = _Coded(), []
    encoder = ChunkEncoder(model, clip.width, clip.height, 8, settings)
    decoder = ChunkDecoder(model, clip.width, clip.height, 8)
    sources = (Picture(planes, i, 1) for i, planes in enumerate(pictures(clip.path)))
    for cut in (c for c in chunks(sources) if isinstance(c, Cut)):
        planes = [p.planes for p in cut.pictures]
        start = time.process_time()
        prepared = cut.prepare(encoder)
        coded.encode += time.process_time() - start
        decoded = [
            picture for chunk in prepared for picture in _code(encoder, decoder, chunk, coded)
        ]
        scores += _scores(zip(planes, decoded, strict=True))
    return coded, scores


def code_peer(clip: Clip, peer: Peer, crf: int) -> Measured:
    """Code a clip by another codec, in one thread."""
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-", dir=clip.path.parent) as folder:
        coded = Path(folder) / "peer.mp4"
        peers.encode(clip, peer, crf, coded, threads=1)
        scores = _scores(zip(pictures(clip.path), pictures(coded), strict=True))
        size = peers.packet_bytes(coded)
    return Measured(**_means(crf, size, clip, scores, [0] * len(scores)))


def _code(
    encoder: ChunkEncoder, decoder: ChunkDecoder, prepared: PreparedChunk, coded: _Coded
) -> list[Planes]:
    """Encode and decode one chunk; adds to `coded` what it came to."""
    start = time.process_time()
    chunk = encoder.encode_prepared(prepared)
    middle = time.process_time()
    decoded = decoder.decode(chunk.payload, prepared.first)
    coded.decode += time.process_time() - middle
    coded.encode += middle - start
    coded.bytes += len(chunk.payload)
    bits = {"vectors": chunk.stats.vector_bits}
    bits |= {KINDS[kind]: value for kind, value in chunk.stats.latent_bits.items()}
    for part, value in bits.items():
        coded.parts[part] = coded.parts.get(part, 0.0) + value / 8
    coded.kinds += frame_kinds(prepared.tree, prepared.before)[: prepared.count]
    segment = (coded.segments[-1] if coded.segments else -1) + prepared.first
    coded.segments += [segment] * prepared.count
    return decoded


def frame_kinds(tree: int, before: int) -> list[int]:
    """The kinds of the frames of a chunk, as numbers of `KINDS`; before: chunks of its segment that
    come before it."""
    kinds = {frame: step.kind for step in tree_steps(tree, before) for frame in step.frames}
    return [kinds[frame] for frame in range(len(kinds))]


def evenness(psnr: Sequence[float], segments: Sequence[int]) -> float | None:
    """Mean distance of a frame's PSNR from the mean of its neighbours', where both are of its
    segment (by number); None where no frame has two."""
    inner = [i for i in range(1, len(psnr) - 1) if segments[i - 1] == segments[i + 1]]
    found = [abs(psnr[i] - (psnr[i - 1] + psnr[i + 1]) / 2) for i in inner]
    return statistics.fmean(found) if found else None


def _key_gap(scores: Sequence[Quality], kinds: Sequence[int]) -> float | None:
    keys = [s.psnr_611 for s, kind in zip(scores, kinds, strict=True) if kind in _KEYS]
    leaves = [s.psnr_611 for s, kind in zip(scores, kinds, strict=True) if kind == _LEAVES]
    return statistics.fmean(keys) - statistics.fmean(leaves) if keys and leaves else None


def _scores(pairs: Iterable[tuple[Planes, Planes]]) -> list[Quality]:
    """The quality of every frame by itself."""
    found = []
    for source, decoded in pairs:
        meter = QualityMeter(8, ("psnr", "ms-ssim"))
        meter.add(source, decoded)
        found.append(meter.result())
    return found


def _means(
    setting: int, size: int, clip: Clip, scores: Sequence[Quality], segments: Sequence[int]
) -> dict[str, Any]:
    """What `Measured` has of any codec."""
    if not scores:
        raise StcodecError(f"{clip.name}: there are no pictures")
    names = ("psnr_611", "psnr_y", "psnr_u", "psnr_v", "ms_ssim")
    return {
        "setting": setting,
        "bytes": size,
        "frames": len(scores),
        "width": clip.width,
        "height": clip.height,
        **{name: statistics.fmean(getattr(s, name) for s in scores) for name in names},
        "evenness": evenness([s.psnr_611 for s in scores], segments),
    }


@functools.lru_cache(maxsize=2)
def _warm_model(name: str, settings: tuple[tuple[str, object], ...]) -> Model:
    """A model with its settings, after a first use of encoder and decoder, which is start-up."""
    model = load_model(name)
    changes = changed_config(model.config, dict(settings))
    if changes:
        try:
            config = dataclasses.replace(model.config, **changes)  # type: ignore[arg-type]
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
        model = dataclasses.replace(model, config=config)
        model.network.config = config
    choice.warm_up()
    noise = np.random.default_rng(0)
    planes = tuple(noise.integers(0, 256, s, np.uint8) for s in ((64, 64), (32, 32), (32, 32)))
    encoder = ChunkEncoder(model, 64, 64, 8, CodecSettings())
    decoder = ChunkDecoder(model, 64, 64, 8)
    for first in (True, False):
        chunk = encoder.encode([planes] * 8, first)  # type: ignore[list-item]
        decoder.decode(chunk.payload, first)
    return model
