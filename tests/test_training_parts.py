"""The batched codec of the training loop against the codec itself, gradients, and what a GPU must
not wait for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stcodec.codec import compensation, scales, warp
from stcodec.codec.entropy import SymbolWriter
from stcodec.codec.latents import LatentCoder, StepContext
from stcodec.codec.model_files import Model, load_model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, PatchSize, patchify
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.encoder.quantiser import RateDistortionQuantiser, frequency_factors
from stcodec.training import engine, estimate
from stcodec.training.data import Data, DataSettings, planes_of
from stcodec.training.engine import Batch, Engine, Settings, psnr
from stcodec.training.passes import Coded, Context, Passes
from stcodec.training.run import Run, RunSettings, Trained
from stcodec.training.soap import Soap
from stcodec.training.start import start_from


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("stc-1")


def random_clip(
    seed: int = 0, frames: int = 16, height: int = 96, width: int = 112
) -> tuple[torch.Tensor, ...]:
    """A smooth texture that moves by (1, 2) samples per frame."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, height + 40, width + 60, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    smooth = ((smooth - 0.5) * 900 + 128).clamp(0, 255)
    y = torch.cat([smooth[0, :, t : t + height, 2 * t : 2 * t + width] for t in range(frames)])
    u = torch.nn.functional.avg_pool2d(y[:, None], 2)[:, 0] * 0.5 + 64
    return tuple(p.round().to(torch.uint8) for p in (y, u, 255 - u))


@pytest.fixture
def data() -> Data:
    clips: Any = [random_clip()]
    return Data(clips, [], DataSettings(2, 64, 80, 1, 0.0, 0.0), torch.device("cpu"))


def test_batched_prediction_is_that_of_the_codec() -> None:
    torch.manual_seed(1)
    n, h, w = 2, 48, 64
    pictures = [
        Frames(torch.rand(n, 1, h, w), *(torch.rand(n, 1, h // 2, w // 2) for _ in "uv"))
        for _ in range(2)
    ]
    vectors = torch.randint(-160, 160, (n, 2, 2, h // 8, w // 8), dtype=torch.int16)
    modes = torch.randint(0, 3, (n, h // 16, w // 16), dtype=torch.uint8)
    sides = [[p.take([i]) for i in range(n)] for p in pictures]
    wanted = compensation.predict(sides[0], sides[1], Fields(vectors, modes))
    for through in (False, True):
        for plane in pictures[0]:
            plane.requires_grad_(through)
        found = warp.predict(pictures[0], pictures[1], vectors, modes)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a.detach(), b, atol=1e-5, rtol=0)
    (found.y * wanted.y).sum().backward()
    assert float(pictures[0].y.grad.abs().sum()) > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [0, 1, 4])
def test_batched_passes_are_those_of_the_codec(model: Model, kind: int) -> None:
    torch.manual_seed(kind)
    n, rows, columns, channels = 2, 5, 6, 96
    size = torch.exp(-torch.linspace(0, 5, channels)) * 20
    latents = (
        torch.randn(n, channels, rows, columns)
        * size[None, :, None, None]
        * torch.rand(n, 1, rows, columns)
    )
    mean, step = latents * 0.4, torch.full((n, channels, 1, 1), 0.7)
    references = torch.poisson(latents.abs().permute(0, 2, 3, 1))
    modes = None if kind == 0 else torch.randint(0, 3, (n, rows, columns))
    spread = None if kind == 0 else torch.randint(0, 40, (n, rows, columns, 2)).float()
    quality = torch.tensor([10.0, 50.0])
    weight = torch.rand(n, rows * columns) * 0.3 + 0.05
    found = Passes(model.network, model.scale_networks, model.tables)(
        Context(kind, quality, references, modes, spread),
        latents,
        mean,
        step,
        weight,
        scales.lattice_positions(rows, columns, kind, torch.device("cpu")),
    )
    coder = LatentCoder(model.network, model.scale_networks, model.tables)
    for i in range(n):
        one = slice(i, i + 1)
        context = StepContext(
            kind,
            int(quality[i]),
            references[one].to(torch.int16),
            None if modes is None else modes[one],
            None if spread is None else spread[one],
        )
        costs, factors = torch.from_numpy(model.tables.costs()), frequency_factors(model.config)
        quantiser = RateDistortionQuantiser(costs, weight[i], factors)
        coded = latents[one] - mean[one]
        wanted = coder.write(SymbolWriter(), context, coded, step[one], quantiser)
        decoded, refined = (mean[one] + part for part in wanted.means.grids())
        torch.testing.assert_close(found.magnitudes[one], wanted.magnitudes.float())
        torch.testing.assert_close(found.decoded[one], decoded, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.mean[one], refined, atol=1e-4, rtol=0)
    assert int((found.magnitudes > 0).sum()) > 50


@pytest.mark.parametrize("networks", [(True,) * 5, (False, True, False, True, False)])
def test_the_loss_measures_what_the_encoder_writes(
    model: Model, data: Data, networks: tuple[bool, ...]
) -> None:
    config = dataclasses.replace(model.config, networks=networks)
    network = copy.deepcopy(model.network)
    network.config = config
    model = dataclasses.replace(model, config=config, network=network)
    assert_measured(model, data)


@pytest.mark.parametrize("name", ["dwt", "overlapping"])
def test_the_loss_of_other_families(name: str, data: Data) -> None:
    """With Transformer blocks that say something, and no memory."""
    torch.manual_seed(2)
    start = load_model(name)
    shape: dict[str, Any] = {"width": 8, "prior_blocks": 1, "filter_blocks": 1, "memory": 0}
    model = start_from(start, dataclasses.replace(start.config, block="attention", **shape))
    for key, weight in model.network.named_parameters():
        if key.endswith(("project.weight", "merge.weight", "_out.weight")):
            torch.nn.init.normal_(weight, std=0.02)
    model.network.requires_grad_(False)
    assert_measured(model, data)


def assert_measured(model: Model, data: Data) -> None:
    """Bits of a batch are those of the encoder, and little is lost."""
    batch = data.batch(0)
    batch = Batch(batch.y, batch.u, batch.v, torch.full((2,), 30.0), (0,), {})
    loop = Engine(
        model.network, Passes(model.network, model.scale_networks, model.tables), Settings()
    )
    with torch.no_grad():
        outcome = loop.loss(loop.find_motion(batch))
    for i in range(2):
        encoder = ChunkEncoder(model, 80, 64, 8, CodecSettings(30))
        chunk = encoder.encode(planes_of(batch, i)[:8], True)
        latent_bits = sum(chunk.stats.latent_bits.values())
        assert float(outcome.bits[i]) * batch.y[i].numel() == pytest.approx(latent_bits, rel=0.05)
    assert bool((psnr(outcome.squared) > 34).all())


def test_key_frames_alone_cost_what_they_cost_among_others(model: Model) -> None:
    clips: Any = [random_clip()]
    settings = DataSettings(2, 64, 80, 2, 0.0, 0.0, leaf_share=0.0)
    batch = Data(clips, [], settings, torch.device("cpu")).batch(0)
    assert batch.keys_only
    batch = dataclasses.replace(batch, trees=(0, 0))
    loop = Engine(
        model.network, Passes(model.network, model.scale_networks, model.tables), Settings()
    )
    seen: list[dict[int, torch.Tensor]] = []

    def note(_: object, inputs: Any, coded: Coded) -> None:
        seen[-1][inputs[0].kind] = coded.bits

    loop.passes.register_forward_hook(note)
    for some in (batch, dataclasses.replace(batch, keys_only=False)):
        seen.append({})
        with torch.no_grad():
            loop.loss(loop.find_motion(some))
    assert sorted(seen[0]) == [0, 1] and sorted(seen[1]) == [0, 1, 2, 3, 4]
    for kind in (0, 1):
        # Without the motion of other frames, what changes in the intra frame is estimated
        # otherwise.
        torch.testing.assert_close(seen[0][kind], seen[1][kind], rtol=0.02, atol=0)


def test_patches_with_gradients_are_those_without() -> None:
    frames = Frames(torch.rand(2, 1, 16, 24), torch.rand(2, 1, 8, 12), torch.rand(2, 1, 8, 12))
    wanted = patchify(frames, PatchSize())
    found = engine._patches(Frames(*(p.requires_grad_() for p in frames)), PatchSize())
    torch.testing.assert_close(found.detach(), wanted.detach(), atol=0, rtol=0)
    found[:, :64].sum().backward()
    assert frames.y.grad is not None and bool((frames.y.grad == 1).all())


@pytest.mark.parametrize("dense", [False, True])
def test_a_step_down_the_gradient_lowers_the_loss(model: Model, data: Data, dense: bool) -> None:
    trained = Trained(start_from(model, model.config))
    parameters = trained.parameters_of("network") + trained.parameters_of("passes")
    for parameter in parameters:
        parameter.requires_grad_(True)
    loop = Engine(
        trained.network, trained.passes, Settings("log", through=dense, dense_search=dense)
    )
    batch = loop.find_motion(data.batch(1))
    optimiser = torch.optim.Adam(parameters, lr=3e-4)
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        outcome = loop.loss(batch)
        outcome.loss.backward()
        if not losses:
            # One chunk alone never reads the memory that it leaves.
            without = {
                name for name, p in trained.named_parameters() if p.requires_grad and p.grad is None
            }
            assert without == {"network.memory.gate.weight", "network.memory.gate.bias"}
            assert all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)
        optimiser.step()
        losses.append(float(outcome.loss.detach()))
    assert losses[-1] < losses[0] - 0.002


def test_dense_search_finds_the_motion() -> None:
    y = random_clip(frames=9)[0].float()[:, None] / 255
    found = estimate.search(y[[4, 8]], y[[0, 4]], 5, torch.full((2,), 0.05))
    inner = found.vectors[:, :, 2:-2, 2:-2]
    right = (inner == torch.tensor([16, 32]).view(1, 2, 1, 1)).all(1) | (
        inner == torch.tensor([-16, -32]).view(1, 2, 1, 1)
    ).all(1)
    assert float(right.float().mean()) > 0.9
    assert float(((found.prediction - y[[4, 8]]) ** 2)[..., 16:-24, 16:-24].mean()) < 1e-4


class Watch(TorchDispatchMode):
    """Notes every operation after which a GPU's host would have to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(
            word in name
            for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "unique", "masked_select")
        ):
            self.waits.add(name)
        return func(*args, **(kwargs or {}))


def test_nothing_in_a_step_waits_for_the_device(model: Model, data: Data) -> None:
    loop = Engine(
        model.network,
        Passes(model.network, model.scale_networks, model.tables),
        Settings(dense_search=True),
    )
    batch = data.batch(0)
    with Watch() as watch, torch.no_grad():
        loop.loss(loop.find_motion(batch))
    assert watch.waits == set()


def test_recorded_steps_learn_the_same(model: Model, tmp_path: Path) -> None:
    settings = DataSettings(2, 64, 80, 2, 0.0, 0.0, seed=7, leaf_share=0.5, plans=1)
    clips: Any = [random_clip()]
    data = Data(clips, [], settings, torch.device("cpu"))
    runs = []
    for captured in (False, True):
        chosen = RunSettings(steps=5, minutes=1e9, warm_up=1, reuse=2, captured=captured)
        losses = Settings(dense_search=True)
        start = start_from(model, model.config)
        runs.append(Run(start, data, tmp_path / str(captured), chosen, losses, print))
        found = [runs[-1].advance() for _ in range(5)]
        assert len({batch.keys_only for batch, *_ in found}) == 2
    for (name, one), other in zip(
        runs[0].trained.named_parameters(), runs[1].trained.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4, msg=name)


def run_of(
    model: Model, data: Data, folder: Path, steps: int, say: Callable[[str], None], **options: Any
) -> Run:
    """A run of six steps that stops early, as if killed after a checkpoint."""
    settings = RunSettings(steps=6, minutes=1e9, every=1000, log_every=2, warm_up=1, **options)
    one = Run(start_from(model, model.config), data, folder, settings, Settings(), say)
    while one.step < steps:
        one.advance()
    one.save()
    return one


@pytest.fixture(scope="module")
def tiny() -> Model:
    base = load_model("dct")
    shape = dataclasses.replace(base.config, width=8, prior_blocks=1, filter_blocks=1, memory=4)
    return start_from(base, shape)


@pytest.mark.parametrize("optimiser", ["adamw", "soap"])
def test_a_resumed_run_is_the_run_itself(
    tiny: Model, data: Data, tmp_path: Path, optimiser: str
) -> None:
    said: list[str] = []
    whole = run_of(tiny, data, tmp_path / "a", 3, said.append, optimiser=optimiser)
    run_of(tiny, data, tmp_path / "b", 1, said.append, optimiser=optimiser)
    parts = run_of(tiny, data, tmp_path / "b", 3, said.append, optimiser=optimiser)
    assert any("goes on from step 1" in line for line in said)
    for a, b in (
        (whole.trained.state_dict(), parts.trained.state_dict()),
        (whole.average, parts.average),
    ):
        for name, value in a.items():
            torch.testing.assert_close(value, b[name], atol=1e-6, rtol=1e-4)


def test_a_wider_network_of_surroundings_says_the_same() -> None:
    base = load_model("stc-1")
    width = base.config.intra_width
    wide = start_from(base, dataclasses.replace(base.config, intra_width=width + 32))
    generator = torch.Generator().manual_seed(5)
    near = torch.randn(1, 7, 4 * 96, generator=generator) * 9
    values = torch.randn(1, 7, 24, generator=generator)
    said = []
    for model in (base, wide):
        network = model.network.surroundings
        features, contrast = network.look(near, 3, torch.tensor([20.0]), (1, 7))
        said.append(network.correct(2, features, contrast, values * 2, values))
    torch.testing.assert_close(*said, atol=1e-4, rtol=1e-4)
    assert said[0].abs().max() > 0.1


def test_soap_goes_down_where_axes_are_mixed() -> None:
    torch.manual_seed(0)
    mix = torch.linalg.qr(torch.randn(12, 12))[0] * torch.logspace(0, -2, 12)
    wanted = torch.randn(12, 12)
    weight = torch.nn.Parameter(torch.zeros(12, 12))
    optimiser = Soap([{"params": [weight]}], lr=0.05)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = (((weight - wanted) @ mix) ** 2).sum()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]
    assert np.isfinite(losses).all()
