"""What a device other than the CPU is given, and when it is waited for, on one that is pretended
(`tests/pretend.py`)."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch

from stcodec.codec import patches
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model, load_model
from stcodec.common.values import Planes
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.training.data import Data, DataSettings
from stcodec.training.engine import Engine, Settings
from stcodec.training.run import Trained
from tests.conftest import moving_picture
from tests.drawn import pages
from tests.pretend import DEVICE, Pretended

WIDTH, HEIGHT = 96, 64
FIRST = (True, False)  # of the chunks: which start a segment
LEVELS = 4


@pytest.fixture(scope="module")
def source() -> list[list[Planes]]:
    """The pictures of the chunks."""
    made = [tuple(moving_picture(i, WIDTH, HEIGHT)) for i in range(8 * len(FIRST))]
    return [made[i : i + 8] for i in range(0, len(made), 8)]  # type: ignore[misc]


@functools.cache
def model(name: str) -> Model:
    """A model that is read once."""
    return load_model(name)


def encoded(name: str, source: list[list[Planes]]) -> list[bytes]:
    """The chunks of `source` by a CPU."""
    encoder = ChunkEncoder(model(name), WIDTH, HEIGHT, 8, CodecSettings(40))
    return [encoder.encode(c, f).payload for c, f in zip(source, FIRST, strict=True)]


def decoded(name: str, payloads: list[bytes], device: torch.device | str = "cpu") -> np.ndarray:
    """Luma of all pictures."""
    decoder = ChunkDecoder(model(name), WIDTH, HEIGHT, 8, device)
    made = [decoder.decode(p, f) for p, f in zip(payloads, FIRST, strict=True)]
    return np.stack([planes[0] for chunk in made for planes in chunk]).astype(np.int32)


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    """Between samples."""
    return int(np.abs(a - b).max())


@pytest.mark.parametrize("name", ["stc-1", "dct", "overlapping"])
def test_decoding_waits_once_a_chunk(name: str, source: list[list[Planes]]) -> None:
    payloads = encoded(name, source)
    wanted = decoded(name, payloads)
    with Pretended() as seen:
        decoder = ChunkDecoder(model(name), WIDTH, HEIGHT, 8, DEVICE)
        for number, (payload, first) in enumerate(zip(payloads, FIRST, strict=True)):
            symbols = decoder.read(payload, first)
            seen.waits.clear()
            seen.uploads = 0
            made = decoder.frames(symbols)
            assert seen.waits == []
            # What is the same for all chunks is there once the first one is made.
            assert seen.uploads == LEVELS or number == 0
            planes = patches.planes_from_frames(made, HEIGHT, WIDTH, 8)
            assert seen.waits == ["download"] * 3  # its three planes
            own = wanted[8 * number : 8 * number + 8]
            assert largest_difference(np.stack([p[0] for p in planes]), own) <= 1


def test_what_was_drawn() -> None:
    """Decoding waits for nothing; what each side has encoded the other decodes alike."""
    made = [(y, u, v) for y, u, v in pages(16, lambda i: 2 * (i // 3), HEIGHT, WIDTH)]
    source: list[list[Planes]] = [made[:8], made[8:]]
    payloads = encoded("stc-1", source)
    wanted = decoded("stc-1", payloads)
    with Pretended() as seen:
        decoder = ChunkDecoder(model("stc-1"), WIDTH, HEIGHT, 8, DEVICE)
        for number, (payload, first) in enumerate(zip(payloads, FIRST, strict=True)):
            symbols = decoder.read(payload, first)
            assert any(
                f.exact.samples is not None or f.exact.kept is not None for f in symbols.frames
            )
            seen.waits.clear()
            frames = decoder.frames(symbols)
            assert seen.waits == []
            planes = patches.planes_from_frames(frames, HEIGHT, WIDTH, 8)
            own = wanted[8 * number : 8 * number + 8]
            assert largest_difference(np.stack([p[0] for p in planes]), own) <= 1
        encoder = ChunkEncoder(model("stc-1"), WIDTH, HEIGHT, 8, CodecSettings(40), DEVICE)
        there = [encoder.encode(c, f).payload for c, f in zip(source, FIRST, strict=True)]
    assert largest_difference(decoded("stc-1", there), wanted) <= 1


def test_encoding_waits_three_times_a_level(source: list[list[Planes]]) -> None:
    with Pretended() as seen:
        encoder = ChunkEncoder(
            model("stc-1"), WIDTH, HEIGHT, 8, CodecSettings(40), DEVICE, every_picture=False
        )
        payloads = []
        for chunk, first in zip(source, FIRST, strict=True):
            (prepared,) = encoder.prepare(chunk, first)
            seen.waits.clear()
            payloads.append(encoder.encode_prepared(prepared).payload)
            # Latents, and of what others are predicted from pictures and then luma.
            assert seen.waits == ["download"] * (3 * LEVELS - 2)
    wanted = decoded("stc-1", encoded("stc-1", source))
    assert largest_difference(decoded("stc-1", payloads), wanted) <= 1


def test_large_pictures_are_taken_one_by_one(
    source: list[list[Planes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = encoded("dct", source)
    wanted = decoded("dct", payloads)
    monkeypatch.setattr(patches, "_PIXELS_AT_ONCE", 1)
    with Pretended():
        assert largest_difference(decoded("dct", payloads, DEVICE), wanted) <= 1


def test_what_is_pretended() -> None:
    with Pretended() as seen:
        there = torch.zeros(3, device=DEVICE) + 1
        assert (there.sum().item(), len(there[there > 0]), there.cpu().tolist()) == (3, 3, [1] * 3)
        assert seen.waits == ["aten._local_scalar_dense", "aten.index", "download"]
        there[0] = torch.arange(3).to(DEVICE, non_blocking=True)[1]
        assert seen.waits[3:] == [] and seen.uploads == 1
        torch.arange(3).to(DEVICE)
        assert seen.waits[3:] == ["upload that waits"]
        with pytest.raises(AssertionError, match="mixes"):
            there + torch.zeros(3)
    with pytest.raises(AssertionError, match="nobody looks"):
        there + 1


def test_training_mixes_nothing() -> None:
    """Motion and loss of a batch, without gradients."""
    generator = torch.Generator().manual_seed(1)
    sizes = (64, 80), (32, 40), (32, 40)
    clip = tuple(torch.randint(0, 255, (16, *s), generator=generator).byte() for s in sizes)
    settings = DataSettings(1, 64, 80, 1, 0.0, 0.0)
    data = Data([clip], [], settings, torch.device("cpu"))  # type: ignore[list-item]
    batch = data.batch(0)
    with Pretended() as seen, torch.no_grad():
        trained = Trained(model("stc-1")).to(DEVICE)
        engine = Engine(trained.network, trained.passes, Settings(dense_search=True))
        there = {k: getattr(batch, k).to(DEVICE) for k in ("y", "u", "v", "quality")}
        seen.waits.clear()
        batch = engine.find_motion(dataclasses.replace(batch, **there))
        assert seen.waits == []
        assert torch.isfinite(engine.loss(batch).loss.cpu())
