"""What lasts is worth more bits: changes between pictures, and what the encoder makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stcodec.codec.model_files import load_model
from stcodec.codec.patches import PatchSize
from stcodec.codec.tree import tree_steps
from stcodec.common.values import Planes
from stcodec.encoder import guide, propagation, search, tuning
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    noise = torch.rand(1, 1, height + 8, width + 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 9, 1)[0, 0].mul(3).sub(1).clamp(0, 1)


def test_what_stays_and_what_is_replaced() -> None:
    luma = texture(48, 64).repeat(16, 1, 1, 1)
    luma[:, :, :, 32:] = torch.rand(16, 1, 48, 32, generator=torch.Generator().manual_seed(1))
    for tree, before, keys in (
        (4, 0, {7}),
        (4, 1, {7}),
        (5, 2, {3, 7}),
        (6, 2, {1, 3, 5, 7}),
        (7, 0, {15}),
        (7, 3, {15}),
    ):
        steps = tree_steps(tree, before)
        found = propagation.changes(
            lambda i: luma[max(i, 0) : max(i, 0) + 1], steps, {}, PatchSize()
        )
        assert set(found) == keys
        for change in found.values():
            assert change.shape == (6, 8)
            assert float(change[:, :4].max()) == 0 and float(change[:, 4:].min()) > 0.05
            factors = propagation.price_factors(change, torch.tensor(0.01))
            assert (
                float(factors[:, :4].max()) == 0.5
                and 0.9 < float(factors[:, 4:].min()) <= float(factors.max()) <= 1
            )


def test_what_moves_lasts() -> None:
    wide = texture(64, 128)
    luma = torch.stack([wide[None, :, 3 * t : 3 * t + 80] for t in range(9)])
    steps = tree_steps(0, 2)
    field = search.search(luma, [(8, 0, None)], search.SearchSettings(0.1), choose_modes=False)[0]
    seen = propagation.changes(lambda i: luma[i + 1 : i + 2], steps, {7: field}, PatchSize())[7]
    blind = propagation.changes(lambda i: luma[i + 1 : i + 2], steps, {}, PatchSize())[7]
    assert float(seen[:, :7].mean()) < 0.02 * float(blind[:, :7].mean())


def test_still_parts_come_out_better_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    still = (texture(64, 96) * 200).byte().numpy()
    pictures: list[Planes] = []
    for t in range(24):
        y = still.copy()
        y[:, 48:] = (texture(64, 48, t + 1) * 200).byte().numpy()
        pictures.append((y, np.full((32, 48), 128, np.uint8), np.full((32, 48), 128, np.uint8)))

    def errors() -> np.ndarray:
        encoder = ChunkEncoder(load_model("stc-1"), 96, 64, 8, CodecSettings(24))
        for start in (0, 8, 16):
            (prepared,) = encoder.prepare(pictures[start : start + 8], start == 0)
            run = encoder.start(prepared)
            encoder.finish(run)
        last = run.pictures[7].y[0, 0].numpy() * 255
        error = (last - pictures[-1][0]) ** 2
        return np.array([error[:, :40].mean(), error[:, 56:].mean()])

    with_prices = errors()
    monkeypatch.setattr(guide, "price_factors", lambda change, _: torch.ones_like(change))
    ratio = with_prices / errors()
    assert ratio[0] < 0.9 and 0.9 < ratio[1] < 1.1


def test_a_segment_begins_with_a_finer_frame() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (24, 64, 96)).astype(np.uint8)
    pictures: list[Planes] = [
        (y, np.full((32, 48), 128, np.uint8), np.full((32, 48), 128, np.uint8)) for y in noise
    ]
    encoder = ChunkEncoder(load_model("dct"), 96, 64, 8, CodecSettings(24))
    coded = [encoder.encode(pictures[i : i + 8], i in (0, 16)).payload for i in (0, 8, 16)]
    # Nothing lasts, so that others take the first cascade.
    assert [payload[2] >> 4 & 7 for payload in coded] == [1, 0, 1]


def test_bits_are_dearer_at_low_qualities(monkeypatch: pytest.MonkeyPatch) -> None:
    y = (texture(64, 96) * 200).byte().numpy()
    picture = y, np.full((32, 48), 128, np.uint8), np.full((32, 48), 128, np.uint8)

    def size(quality: int) -> int:
        encoder = ChunkEncoder(load_model("dct"), 96, 64, 8, CodecSettings(quality))
        return len(encoder.encode([picture], True).payload)

    sizes = size(5), size(50)
    monkeypatch.setattr(tuning, "PRICE_FACTORS", (1.0, 1.0, 1.0))
    assert sizes[0] < size(5) and sizes[1] > size(50)
