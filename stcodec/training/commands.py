"""The commands of training: pack, look, train, export, linear, family, plot, profile."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch

from stcodec.codec import model_files
from stcodec.common import plotting
from stcodec.common.files import temporary_output
from stcodec.common.values import Planes
from stcodec.training import arguments, checkpoint, export, filters, fit, pack, plot, profile
from stcodec.training.arguments import FOLDER, TARGET, option
from stcodec.training.data import DataSettings, contact_sheet, planes_of
from stcodec.training.engine import DISTORTIONS, Settings
from stcodec.training.families import FAMILIES
from stcodec.training.pack import PackSettings
from stcodec.training.run import OPTIMISERS, Run, RunSettings, only_intra, with_average

# Far away from the batches of training: these are other crops.
_FIRST_FITTED = 10_000_000
# Sequences of trees in a run that records steps: each takes memory and time of its own.
_PLANS = 2


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Make a model from a folder of videos and photos."""


@commands.command("pack")
@click.argument("folder", type=FOLDER)
@click.argument("target", type=TARGET)
@option(PackSettings, "frames", "Frames of a clip at most.")
@option(PackSettings, "clips", "Clips of each video, spread over its length.")
@option(PackSettings, "side", "Shorter side of a clip at most.")
@option(PackSettings, "photo_side", "Shorter side of a photo at most.")
@option(PackSettings, "photo_quality", "Of the photos, for WebP: 0 to 100 (best).")
@option(PackSettings, "crf", "Of the clips, for x264: smaller is better and larger.")
@option(PackSettings, "shard_megabytes", "A shard is no larger.")
@arguments.overwrite
def pack_folder(folder: Path, target: Path, yes: bool, **options: Any) -> None:
    """Turn the videos and photos in FOLDER into shards in the folder TARGET."""
    arguments.may_write(yes, *sorted(target.glob(pack.SHARDS))[:1])
    pack.pack(folder, target, PackSettings(**options), click.echo)


@commands.command()
@click.argument("packed", type=FOLDER)
@click.argument("target", type=TARGET)
@click.option("--batch", default=12, help="Crops to show.")
@arguments.crop
@arguments.content
@click.option("--number", default=1, help="Which batch.")
@arguments.overwrite
def look(packed: Path, target: Path, number: int, yes: bool, **options: Any) -> None:
    """Write a contact sheet of a batch as the PNG TARGET: what would be trained on."""
    from PIL import Image

    arguments.may_write(yes, target)
    batch = arguments.data_of(packed, torch.device("cpu"), options).batch(number)
    with temporary_output(target) as temporary:
        Image.fromarray(contact_sheet(batch)).save(temporary, "PNG")


@commands.command()
@click.argument("packed", type=FOLDER)
@click.argument("run", type=TARGET)
@arguments.model
@arguments.shape
@option(RunSettings, "steps", "Of the whole run.")
@option(RunSettings, "minutes", "Of the whole run; it ends by steps or minutes.")
@option(RunSettings, "learning_rate", "At its peak.")
@option(RunSettings, "rate_scales", "Learning rate of the scale networks, relative.")
@option(RunSettings, "optimiser", "See docs/training.md.", type=click.Choice(OPTIMISERS))
@option(RunSettings, "average", "Decay of the averaged weights.")
@option(Settings, "distortion", "See docs/training.md.", type=click.Choice(DISTORTIONS))
@option(Settings, "through", "Let gradients pass through references.", is_flag=True)
@option(
    RunSettings,
    "intra",
    "Only what intra frames alone use, on single pictures.",
    is_flag=True,
)
@option(DataSettings, "leaf_share", "Share of batches with the frames between key frames, too.")
@click.option("--batch", default=0, help="Crops per batch (0: as many as suit the device).")
@arguments.crop
@arguments.content
@click.option("--reuse", default=0, help="Times that a batch is trained on (0: as suits).")
@option(RunSettings, "pool", "Batches to choose from where they are used again.")
@arguments.device
@arguments.speed
@arguments.recording
@option(RunSettings, "every", "Steps between checkpoints.")
@option(RunSettings, "log_every", "Steps between lines of the log.")
def train(packed: Path, run: Path, **options: Any) -> None:
    """Train on the shards in PACKED, in the folder RUN; goes on where RUN stopped."""
    device = arguments.device_of(options)
    usual = arguments.usual(device)
    model = arguments.start_of(options["model"], options)
    own = {f.name: options[f.name] for f in dataclasses.fields(RunSettings) if f.name in options}
    own["reuse"] = own["reuse"] or usual.reuse
    if own["captured"] is None:
        own["captured"] = usual.fast
    if own["captured"]:
        options["plans"] = _PLANS
    drawn = {**options, "chunks": 0} if options["intra"] else options
    data = arguments.batches_of(packed, device, drawn, model.config.patch)
    click.echo(f"{data.content()}, on {device}")
    run.mkdir(parents=True, exist_ok=True)
    (run / "options.json").write_text(json.dumps(options, indent=1), encoding="utf-8")
    losses = arguments.losses_of(options, usual.fast)
    Run(model, data, run, RunSettings(**own), losses, click.echo).train()


@commands.command("export")
@click.argument("packed", type=FOLDER)
@click.argument("run", type=FOLDER)
@click.argument("target", type=TARGET)
@click.option(
    "--intra",
    type=FOLDER,
    help="A run (`train --intra`) from which what intra frames alone use is taken.",
)
@click.option(
    "--rounds", default=1, help="Rounds of fitting tables and scales (0: keep those of the model)."
)
@click.option(
    "--predictors/--no-predictors",
    default=False,
    help="Fit the spatial predictors too: takes hundreds of crops.",
)
@arguments.fitting
@arguments.crop
@arguments.content
@arguments.shared("threads")
@arguments.overwrite
def export_run(packed: Path, run: Path, target: Path, yes: bool, **options: Any) -> None:
    """Fit what is fitted around the averaged weights of RUN; write the model TARGET and its card
    beside it."""
    arguments.may_write(yes, target, target.with_suffix(".md"))
    chosen = arguments.options_of_run(run)
    start, average = arguments.start_of(chosen["model"], chosen), checkpoint.average_of(run)
    if options["intra"] is not None:
        width = arguments.options_of_run(options["intra"])["intra_width"]
        start = arguments.start_of(chosen["model"], {**chosen, "intra_width": width})
        average.update(only_intra(checkpoint.average_of(options["intra"])))
    averaged = with_average(start, average)
    model, report = export.fitted(
        averaged,
        _clips(packed, options),
        options["rounds"],
        options["steps"],
        options["predictors"],
        click.echo,
    )
    export.write(target, model, export.card(target, model, run, chosen, report))
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


def _clips(packed: Path, options: dict[str, Any]) -> Iterator[list[Planes]]:
    device = arguments.device_of({"device": "cpu", "threads": options["threads"]})
    data = arguments.data_of(packed, device, {**options, "batch": 1})
    return (planes_of(data.batch(_FIRST_FITTED + number), 0) for number in range(options["crops"]))


@commands.command()
@click.argument("packed", type=FOLDER)
@click.argument("target", type=TARGET)
@arguments.division
@click.option("--rounds", default=3, help="Rounds of fitting.")
@arguments.fitting
@arguments.crop
@arguments.content
@arguments.shared("threads")
@arguments.overwrite
def linear(packed: Path, target: Path, yes: bool, **options: Any) -> None:
    """Fit a model without networks, from nothing: what every other one starts from."""
    arguments.may_write(yes, target, target.with_suffix(".md"))
    model = fit.linear_model(arguments.division_of(options))
    clips, rounds, steps = _clips(packed, options), options["rounds"], options["steps"]
    model, report = export.fitted(model, clips, rounds, steps, True, click.echo)
    export.write(target, model, export.linear_card(target, model, options, report))
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@commands.command("filters")
@click.argument("packed", type=FOLDER)
@click.argument("target", type=TARGET)
@arguments.shared("model", help="Model that gets them: an id, or the path of a .safetensors file.")
@click.option("--rounds", default=2, help="Rounds of fitting.")
@click.option("--crops", default=400, help="Crops that are coded for it.")
@arguments.crop
@arguments.content
@arguments.shared("threads")
@arguments.overwrite
def fit_filters(packed: Path, target: Path, yes: bool, **options: Any) -> None:
    """Fit the loop filters of a model anew, and leave the rest of it as it is."""
    arguments.may_write(yes, target)
    model, clips = model_files.load_model(options["model"]), list(_clips(packed, options))
    rounds, qualities = options["rounds"], export.FIT_QUALITIES
    export.write(
        target, filters.fit_filters(model, clips, qualities, rounds, click.echo), card=None
    )
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@commands.command()
@click.argument("name", type=click.Choice(list(FAMILIES)))
@click.argument("packed", type=FOLDER)
@click.argument("target", type=TARGET)
@click.option("--start", type=TARGET, help="Networks start from this model, not from a new fit.")
@option(RunSettings, "minutes", "Of training, where there are networks.")
@click.option("--train-steps", default=10_000, help="Of training; it ends by steps or minutes.")
@click.option("--rounds", default=3, help="Rounds of fitting.")
@arguments.fitting
@arguments.crop
@arguments.shared("threads")
@arguments.overwrite
@click.pass_context
def family(
    context: click.Context, /, name: str, packed: Path, target: Path, yes: bool, **options: Any
) -> None:
    """Make a model of the family NAME from nothing: `linear`, then `train` and `export` if it has
    networks. What it trains lies beside TARGET."""
    wanted, place = FAMILIES[name], target.with_suffix("")
    arguments.may_write(yes, target, target.with_suffix(".md"))
    common = {"packed": packed, **{k: options[k] for k in ("crop", "threads")}}
    fitting = {**common, **{k: options[k] for k in ("crops", "steps")}, "yes": True}
    linear_target, run = place.with_suffix(".linear.safetensors"), place.with_suffix(".run")
    start = options["start"] or (linear_target if wanted.networks else target)
    # Where a run has begun, its start has been fitted.
    if options["start"] is None and not (wanted.networks and run.exists() and start.exists()):
        rounds = options["rounds"]
        context.invoke(linear, target=start, rounds=rounds, **wanted.linear, **fitting)
    if not wanted.networks:
        return
    length = {"minutes": options["minutes"], "steps": options["train_steps"]}
    context.invoke(train, run=run, model=str(start), **wanted.networks, **length, **common)
    context.invoke(export_run, run=run, target=target, rounds=0, **fitting)


@commands.command("plot")
@click.argument("run", type=FOLDER)
@click.argument("target", type=TARGET)
@arguments.overwrite
def plot_run(run: Path, target: Path, yes: bool) -> None:
    """Plot loss, rate and PSNR of the run in RUN as TARGET (.png, .svg or .pdf)."""
    plotting.check(target)
    arguments.may_write(yes, target)
    plot.plot(run, target)


@commands.command("profile")
@click.argument("packed", type=FOLDER)
@arguments.model
@click.option("--batch", default=0, help="Crops per batch (0: as many as suit the device).")
@arguments.crop
@arguments.content
@click.option("--steps", default=5, help="Steps that are timed, after as many that are not.")
@arguments.device
@arguments.speed
@click.option("--table", default=25, help="Operators to list.")
def profile_steps(packed: Path, **options: Any) -> None:
    """Say where the time of a step goes, and what share of it is arithmetic."""
    device = arguments.device_of(options)
    fast = arguments.usual(device).fast
    model = arguments.start_of(options["model"], {})
    data = arguments.data_of(packed, device, options, model.config.patch)
    losses, compiled = arguments.losses_of(options, fast), options["compiled"]
    lines = profile.profile(model, data, losses, compiled, options["steps"], options["table"])
    for line in lines:
        click.echo(line)
