"""`python -m stcodec.training`: pack, train, export, plot."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click
import torch

from stcodec import weights
from stcodec.network import ModelConfig, Network
from stcodec.patches import luma_channels
from stcodec.training import data, fit, loop
from stcodec.weights import Model

# log2 of the steps of intra, key and the three levels of two-sided frames against the quality's own step: the finer, the more
# pictures are predicted from a frame. Chosen by BD-rate on training clips; chroma is finer everywhere.
STEP_GAINS = (-0.87, -0.85, -0.25, 0.15, 0.45)
CHROMA_GAIN = -0.75
FIT_QUALITIES = (4, 12, 20, 28, 36, 44, 52, 60)


@click.group(context_settings={"show_default": True})
def training() -> None:
    """Make a model from a folder of videos and photos."""


def untrained(config: ModelConfig) -> Model:
    """A model before any fitting, with the steps that all models share."""
    model = fit.initial_model(config)
    luma = luma_channels(config.patch).float()
    with torch.no_grad():
        model.network.step_gain.copy_(torch.tensor(STEP_GAINS)[:, None] + CHROMA_GAIN * (1 - luma)[None])
    return model


@training.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--clips", default=200, help="Number of clips to cut.")
@click.option("--frames", default=16, help="Pictures per clip; whole chunks of 8 are used.")
@click.option("--height", default=160, help="Largest height of a clip.")
@click.option("--size", default=256, help="Largest width of a clip.")
@click.option("--seed", default=1)
def pack(folder: Path, target: Path, clips: int, frames: int, height: int, size: int, seed: int) -> None:
    """Cut random clips out of FOLDER into the file TARGET."""
    found = list(data.clips(folder, clips, frames, (height, size), seed))
    if not found:
        raise click.ClickException(f"{folder}: no usable clips")
    torch.save([[[torch.from_numpy(p) for p in planes] for planes in clip] for clip in found], target)
    click.echo(f"{len(found)} clips, {target.stat().st_size / 1e6:.1f} MB")


def _read_pack(path: Path) -> list[data.Clip]:
    stored = torch.load(path, weights_only=True)
    return [[(p[0].numpy(), p[1].numpy(), p[2].numpy()) for p in clip] for clip in stored]


@training.command()
@click.argument("packed", type=click.Path(exists=True, path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--steps", default=6000)
@click.option("--minutes", default=60.0, help="Stop after so long, whatever the step.")
@click.option("--width", default=96, help="Channels of the networks.")
@click.option("--prior-blocks", default=2)
@click.option("--filter-blocks", default=3)
@click.option("--memory", default=24, help="Channels of the memory.")
@click.option("--base", default="dct", help="Model that gives scales and predictors to train on.")
@click.option("--learning-rate", default=1.5e-3)
@click.option("--threads", default=0)
def train(
    packed: Path,
    checkpoint: Path,
    steps: int,
    minutes: float,
    width: int,
    prior_blocks: int,
    filter_blocks: int,
    memory: int,
    base: str,
    learning_rate: float,
    threads: int,
) -> None:
    """Train on PACKED, going on from CHECKPOINT if it exists."""
    if threads:
        torch.set_num_threads(threads)
    start = weights.load_model(base)
    config = dataclasses.replace(
        start.config, width=width, prior_blocks=prior_blocks, filter_blocks=filter_blocks, memory=memory
    )
    network = Network(config).eval()
    with torch.no_grad():
        for name in loop.FITTED:
            getattr(network, name).copy_(getattr(start.network, name))
    model = dataclasses.replace(start, config=config, network=network)
    clips = _read_pack(packed)
    segments = [loop.prepare(start, clip, (16, 28, 40)[i % 3]) for i, clip in enumerate(clips)]
    loop.train(model, segments, steps, minutes, checkpoint, learning_rate, click.echo)


@training.command()
@click.argument("packed", type=click.Path(exists=True, path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--rounds", default=2, help="Rounds of fitting tables, scales and predictors.")
@click.option("--steps", default=3000, help="Steps of fitting the scale networks, per round.")
def export(packed: Path, checkpoint: Path, target: Path, rounds: int, steps: int) -> None:
    """Fit what is fitted around the averaged weights of CHECKPOINT, and write the model TARGET.

    A CHECKPOINT that does not exist gives the linear model without networks.
    """
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        config = weights.config_from_json(saved["config"])
        model = untrained(config)
        model.network.load_state_dict(saved["average"])
        model.network.requires_grad_(False)
    else:
        model = untrained(ModelConfig())
    clips = _read_pack(packed)
    for number in range(rounds):
        model = fit.fit_round(model, clips, FIT_QUALITIES[number % 3 :: 1], steps, effort=1, log=click.echo)
    weights.save_model(target, model.config, model.network, model.groups, model.tables, model.vector_tables)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@training.command()
@click.argument("log", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def plot(log: Path, target: Path) -> None:
    """Plot the losses that `train` printed into LOG, as the PNG TARGET."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [line.split() for line in log.read_text().splitlines() if re.match(r"\d+ [\d.]+min ", line)]
    if not rows:
        raise click.ClickException(f"{log}: holds no lines of training")
    values = {k: [float(row[row.index(k) + 1]) for row in rows] for k in ("prior", "filter")}
    at = [int(row[0]) for row in rows]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, name in zip(axes, ("prior", "filter"), strict=True):
        axis.plot(at, [100 * (1 - value) for value in values[name]])
        axis.set(xlabel="step", ylabel=f"{name}: percent below the linear codec")
        axis.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    training()
