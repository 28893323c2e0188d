"""Training with patches of other sizes than 8x8."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stcodec.codec import scales
from stcodec.codec.model_files import Model
from stcodec.codec.network import ModelConfig
from stcodec.codec.patches import PatchSize
from stcodec.codec.tree import INTRA
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.training import fit
from stcodec.training.batch import Batch
from stcodec.training.data import planes_of
from stcodec.training.engine import Engine, Settings
from stcodec.training.passes import Passes
from stcodec.training.run import Trained
from tests.test_training_parts import random_clip

PATCHES = [PatchSize(8, 16, 16), PatchSize(8, 32, 32)]


def model_of(patch: PatchSize) -> Model:
    """A small model that was never fitted; its networks do something, and its tables are wide
    enough for every symbol."""
    torch.manual_seed(0)
    model = fit.linear_model(ModelConfig(patch, fit.groups_of(patch), 8, 1, 1, 4, 8, 16, 16))
    for _, group in model.scale_networks.named():
        group.b2.fill_(45 * 2**scales.SHIFT_2)
    for part in (model.network.prior_out, model.network.surroundings.end):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.01)
    return model


@pytest.fixture
def batch() -> Batch:
    """One crop of 96x64 that moves."""
    planes: Any = [p[None].float() / 255 for p in random_clip(frames=8, height=64, width=96)]
    return Batch(*planes, torch.tensor([20.0]), (0,), {})


@pytest.mark.parametrize("patch", PATCHES)
def test_an_intra_frame_costs_what_the_encoder_writes(patch: PatchSize, batch: Batch) -> None:
    model = model_of(patch)
    loop = Engine(
        model.network, Passes(model.network, model.scale_networks, model.tables), Settings()
    )
    picture = Batch(*(p[:, :1] for p in (batch.y, batch.u, batch.v)), batch.quality, (), {})
    with torch.no_grad():
        outcome = loop.loss(picture)
    encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(20))
    chunk = encoder.encode(planes_of(picture, 0), True)
    bits = float(outcome.bits[0]) * picture.y.numel()
    assert bits == pytest.approx(chunk.stats.latent_bits[INTRA], rel=1e-3)


@pytest.mark.parametrize("patch", PATCHES)
def test_patches_take_the_mode_of_their_motion_block(
    patch: PatchSize, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(patch)
    loop = Engine(
        model.network, Passes(model.network, model.scale_networks, model.tables), Settings()
    )
    found = loop.find_motion(batch)
    modes = torch.arange(4 * 6).view(1, 4, 6) % 3
    fields = {key: (vectors, modes) for key, (vectors, _) in found.fields.items()}
    seen = []

    def note(_: object, inputs: Any) -> None:
        seen.append(inputs[0].modes)

    loop.passes.register_forward_pre_hook(note)
    with torch.no_grad():
        loop.loss(Batch(batch.y, batch.u, batch.v, batch.quality, batch.trees, fields))
    rows, columns = 64 // patch.h, 96 // patch.w
    # A patch takes the mode of the 16x16 block that holds its first sample.
    wanted = [
        [int(modes[0, r * patch.h // 16, c * patch.w // 16]) for c in range(columns)]
        for r in range(rows)
    ]
    predicted = [m for m in seen if m is not None]
    assert predicted and all(m[0].tolist() == wanted for m in predicted)


@pytest.mark.parametrize("patch", PATCHES)
def test_a_step_down_the_gradient_lowers_the_loss(patch: PatchSize, batch: Batch) -> None:
    trained = Trained(model_of(patch))
    parameters = trained.parameters_of("network") + trained.parameters_of("passes")
    for parameter in parameters:
        parameter.requires_grad_(True)
    loop = Engine(trained.network, trained.passes, Settings(dense_search=True))
    found = loop.find_motion(batch)
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        loss = loop.loss(found).loss
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.002
