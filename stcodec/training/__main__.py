"""`python -m stcodec.training`: pack, look, train, export, linear, plot, profile."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stcodec.errors import InputError, StcodecError, UsageError

# log2 of the steps of intra, key and the three levels of two-sided frames against the quality's own
# step: the finer, the more pictures are predicted from a frame. Chosen by BD-rate on training
# clips; chroma is finer everywhere.
STEP_GAINS = (-0.87, -0.85, -0.25, 0.15, 0.45)
CHROMA_GAIN = -0.75
FIT_QUALITIES = (4, 12, 20, 28, 36, 44, 52, 60)
_SHAPE = ("width", "prior_blocks", "filter_blocks", "memory", "intra_width")
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_TARGET = click.Path(path_type=Path)


@click.group(context_settings={"show_default": True})
def training() -> None:
    """Make a model from a folder of videos and photos."""


def _data_options(count: int, height: int, width: int, chunks: int) -> Callable[[Any], Any]:
    """The options that say what batches are like."""
    options = [
        click.option(
            "--batch", default=count, help="Crops per batch (0: as many as suit the device)."
        ),
        click.option(
            "--height", default=height, help="Of a crop, a multiple of 16 (0: as suits the device)."
        ),
        click.option(
            "--width-of-crop", "crop_width", default=width, help="Of a crop, a multiple of 16."
        ),
        click.option("--chunks", default=chunks, help="Chunks of 8 frames per crop."),
        click.option("--photo-share", default=0.3, help="Share of photos in motion."),
        click.option("--screen-share", default=0.12, help="Share of drawn screen content."),
        click.option("--seed", default=1),
    ]

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _data(packed: Path, device: Any, options: dict[str, Any]) -> Any:
    from stcodec.training.data import Data, DataSettings
    from stcodec.training.pack import read

    large = device.type == "cuda"
    height = options["height"] or (256 if large else 160)
    width = options["crop_width"] or 256
    if height % 16 or width % 16:
        raise UsageError(f"crops of {width}x{height}: both must be multiples of 16")
    count = options["batch"] or (64 if large else 2)
    names = ("chunks", "photo_share", "screen_share", "seed", "leaf_share")
    chosen = {name: options[name] for name in names if name in options}
    settings = DataSettings(count, height, width, **chosen)
    return Data(*read(packed), settings, device)


@training.command()
@click.argument("folder", type=_FOLDER)
@click.argument("target", type=_TARGET)
@click.option("--frames", default=32, help="Frames of a clip at most.")
@click.option("--clips", default=1, help="Clips of each video, spread over its length.")
@click.option("--side", default=288, help="Shorter side of a clip at most.")
@click.option("--photo-side", default=480, help="Shorter side of a photo at most.")
@click.option("--crf", default=15, help="Of the clips, for x264: smaller is better and larger.")
@click.option("--shard-megabytes", default=60.0, help="A shard is no larger.")
def pack(folder: Path, target: Path, **options: Any) -> None:
    """Turn the videos and photos in FOLDER into shards in the folder TARGET."""
    from stcodec.training import pack as packing

    packing.pack(folder, target, packing.PackSettings(**options), click.echo)


@training.command()
@click.argument("packed", type=_FOLDER)
@click.argument("target", type=_TARGET)
@_data_options(12, 160, 256, 2)
@click.option("--number", default=1, help="Which batch.")
def look(packed: Path, target: Path, number: int, **options: Any) -> None:
    """Write a contact sheet of a batch as the PNG TARGET: what would be trained on."""
    import torch
    from PIL import Image

    from stcodec.training.data import contact_sheet

    batch = _data(packed, torch.device("cpu"), options).batch(number)
    Image.fromarray(contact_sheet(batch)).save(target, "PNG")


def _shape_options(function: Any) -> Any:
    for option in (
        click.option("--memory", type=int, help="Channels of the memory."),
        click.option(
            "--intra-width", type=int, help="Hidden units of the prediction within intra frames."
        ),
        click.option("--filter-blocks", type=int),
        click.option("--prior-blocks", type=int),
        click.option(
            "--width",
            type=int,
            help="Channels of new networks; without it, those of the base go on.",
        ),
    ):
        function = option(function)
    return function


def _start(base: str, shape: dict[str, Any]) -> Any:
    """The base model, or one of another shape with what is fitted in it."""
    from stcodec.codec import model_files
    from stcodec.training.run import start_from

    model = model_files.load_model(base)
    changed = {k: v for k, v in shape.items() if v is not None}
    return start_from(model, dataclasses.replace(model.config, **changed))


@training.command()
@click.argument("packed", type=_FOLDER)
@click.argument("run", type=_TARGET)
@click.option("--base", default="stc-1", help="Model to start from: an id or a .safetensors file.")
@_shape_options
@click.option("--steps", default=10_000, help="Of the whole run.")
@click.option("--minutes", default=60.0, help="Of the whole run; it ends by steps or minutes.")
@click.option("--learning-rate", default=1e-3)
@click.option("--rate-scales", default=1.0, help="Learning rate of the scale networks, relative.")
@click.option("--optimiser", type=click.Choice(["soap", "adamw"]), default="soap")
@click.option("--average", default=0.999, help="Decay of the averaged weights.")
@click.option(
    "--distortion",
    type=click.Choice(["steps", "log"]),
    default="steps",
    help="See docs/training.md.",
)
@click.option(
    "--intra/--no-intra",
    default=False,
    help="Only what intra frames alone use, on single pictures.",
)
@click.option(
    "--leaf-share", default=1.0, help="Share of batches with the frames between key frames, too."
)
@click.option(
    "--through/--no-through", default=False, help="Let gradients pass through references."
)
@_data_options(0, 0, 0, 2)
@click.option(
    "--reuse",
    default=0,
    help="Times that a batch is trained on (0: twice on a GPU, 4 times on a CPU).",
)
@click.option("--pool", default=12, help="Batches to choose from where they are used again.")
@click.option("--device", default="auto")
@click.option("--threads", default=0)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="Compile the networks (default: on a GPU).",
)
@click.option("--bf16/--no-bf16", default=None, help="Networks in bfloat16 (default: on a GPU).")
@click.option(
    "--search",
    type=click.Choice(["auto", "dense", "encoder"]),
    default="auto",
    help="Motion search.",
)
@click.option("--every", default=200, help="Steps between checkpoints.")
@click.option("--log-every", default=20, help="Steps between lines of the log.")
def train(packed: Path, run: Path, **options: Any) -> None:
    """Train on the shards in PACKED, in the folder RUN; goes on where RUN stopped."""
    from stcodec.training.engine import Settings
    from stcodec.training.run import Run, RunSettings

    device = _device(options)
    large = device.type == "cuda"
    model = _start(options["base"], {k: options[k] for k in _SHAPE})
    settings = RunSettings(
        options["steps"],
        options["minutes"],
        options["learning_rate"],
        options["rate_scales"],
        average=options["average"],
        optimiser=options["optimiser"],
        reuse=options["reuse"] or (2 if large else 4),
        pool=options["pool"],
        compiled=large if options["compiled"] is None else options["compiled"],
        intra=options["intra"],
        every=options["every"],
        log_every=options["log_every"],
        seed=options["seed"],
    )
    data = _data(packed, device, {**options, "chunks": 0} if options["intra"] else options)
    click.echo(f"{len(data.clips)} clips, {len(data.scenes.photos)} photos, on {device}")
    run.mkdir(parents=True, exist_ok=True)
    (run / "options.json").write_text(json.dumps(options, indent=1))
    losses = Settings(
        options["distortion"], options["through"], _dense(options, large), _bf16(options, large)
    )
    Run(model, data, run, settings, losses, lambda text: click.echo(text)).train()


def _device(options: dict[str, Any]) -> Any:
    from stcodec.common.arithmetic import Arithmetic
    from stcodec.common.devices import choose_device

    work = Arithmetic(choose_device(options["device"]), options["threads"])
    return click.get_current_context().with_resource(work).device


def _dense(options: dict[str, Any], large: bool) -> bool:
    return large if options["search"] == "auto" else options["search"] == "dense"


def _bf16(options: dict[str, Any], large: bool) -> bool:
    return large if options["bf16"] is None else options["bf16"]


@training.command()
@click.argument("packed", type=_FOLDER)
@click.argument("run", type=_FOLDER)
@click.argument("target", type=_TARGET)
@click.option(
    "--rounds", default=1, help="Rounds of fitting tables and scales (0: keep those of the base)."
)
@click.option(
    "--predictors/--no-predictors",
    default=False,
    help="Fit the spatial predictors too: takes hundreds of crops.",
)
@click.option("--steps", default=3000, help="Steps of fitting the scale networks, per round.")
@_data_options(1, 160, 256, 2)
@click.option("--crops", default=84, help="Crops that are coded for it.")
@click.option("--threads", default=0)
def export(packed: Path, run: Path, target: Path, **options: Any) -> None:
    """Fit what is fitted around the averaged weights of RUN; write the model TARGET and its card
    beside it."""
    from stcodec.training import checkpoint
    from stcodec.training import export as exporting
    from stcodec.training.run import with_average

    chosen = _run_options(run)
    device = _device({"device": "cpu", "threads": options["threads"]})
    shape = {k: chosen.get(k) for k in _SHAPE}
    start = with_average(_start(chosen["base"], shape), checkpoint.average_of(run))
    model, report = exporting.fitted(start, _clips(packed, device, options), options, click.echo)
    exporting.write(target, model, exporting.card(target, model, run, chosen, report))
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


def _run_options(run: Path) -> dict[str, Any]:
    path = run / "options.json"
    try:
        chosen: dict[str, Any] = json.loads(path.read_text())
        return chosen if chosen["base"] else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say how the run was started ({error})") from error


def _clips(packed: Path, device: Any, options: dict[str, Any]) -> Any:
    from stcodec.training.data import planes_of

    data = _data(packed, device, options)
    # Far away from the batches of training: these are other crops.
    return (planes_of(data.batch(10_000_000 + number), 0) for number in range(options["crops"]))


@training.command()
@click.argument("packed", type=_FOLDER)
@click.argument("target", type=_TARGET)
@click.option("--rounds", default=3)
@click.option("--steps", default=3000, help="Steps of fitting the scale networks, per round.")
@_data_options(1, 160, 256, 2)
@click.option("--crops", default=84, help="Crops that are coded for it.")
@click.option("--threads", default=0)
def linear(packed: Path, target: Path, **options: Any) -> None:
    """Fit a model without networks, from nothing: the base of every other one."""
    import torch

    from stcodec.codec.network import ModelConfig
    from stcodec.codec.transform import luma_channels
    from stcodec.training import export as exporting
    from stcodec.training import fit

    device = _device({"device": "cpu", "threads": options["threads"]})
    model = fit.initial_model(ModelConfig())
    luma = luma_channels(model.config.patch).float()
    with torch.no_grad():
        model.network.step_gain.copy_(
            torch.tensor(STEP_GAINS)[:, None] + CHROMA_GAIN * (1 - luma)[None]
        )
    model, _ = exporting.fitted(model, _clips(packed, device, options), options, click.echo)
    exporting.write(target, model, None)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@training.command()
@click.argument("run", type=_FOLDER)
@click.argument("target", type=_TARGET)
def plot(run: Path, target: Path) -> None:
    """Plot loss, rate and PSNR of the run in RUN as the PNG TARGET."""
    from stcodec.training.plot import plot as draw

    draw(run, target)


@training.command()
@click.argument("packed", type=_FOLDER)
@click.option("--base", default="stc-1")
@_data_options(0, 0, 0, 2)
@click.option("--steps", default=5, help="Steps that are timed, after as many that are not.")
@click.option("--device", default="auto")
@click.option("--threads", default=0)
@click.option("--compile/--no-compile", "compiled", default=None)
@click.option("--bf16/--no-bf16", default=None)
@click.option("--search", type=click.Choice(["auto", "dense", "encoder"]), default="auto")
@click.option("--table", default=25, help="Operators to list.")
def profile(packed: Path, **options: Any) -> None:
    """Say where the time of a step goes, and what share of it is arithmetic."""
    from stcodec.training.engine import Settings
    from stcodec.training.profile import profile as measure

    device = _device(options)
    large = device.type == "cuda"
    data = _data(packed, device, options)
    losses = Settings(dense_search=_dense(options, large), bf16=_bf16(options, large))
    compiled = large if options["compiled"] is None else options["compiled"]
    model = _start(options["base"], {})
    for line in measure(model, data, losses, compiled, options["steps"], options["table"]):
        click.echo(line)


def main() -> None:
    """Run a command; errors as one line."""
    start = time.monotonic()
    try:
        training(standalone_mode=False)
    except StcodecError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"interrupted after {time.monotonic() - start:.0f} s", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
