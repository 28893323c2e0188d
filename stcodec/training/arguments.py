"""What several commands of training have in common: options, whose defaults are those of the
settings, and what comes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from stcodec.codec import model_files
from stcodec.codec.model_files import Model
from stcodec.codec.network import ModelConfig
from stcodec.codec.patches import PatchSize
from stcodec.codec.transform import LINES
from stcodec.codec.trunk import BLOCKS
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.common.files import Overwrite, check_output
from stcodec.errors import InputError, UsageError
from stcodec.options import EncodeOptions, default, help_text
from stcodec.training import fit
from stcodec.training.ahead import Ahead
from stcodec.training.data import Data, DataSettings
from stcodec.training.engine import Settings
from stcodec.training.pack import check, read
from stcodec.training.start import start_from

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
TARGET = click.Path(path_type=Path)
SHAPE = ("width", "prior_blocks", "filter_blocks", "block", "memory", "intra_width")
_MOST_WORKERS = 12
Decorator = Callable[[Any], Any]


@dataclass(frozen=True)
class Usual:
    """What suits a device where the user does not say otherwise. crop: width, height; reuse: how
    often a batch is trained on; fast: search, precision and recording as a GPU likes them."""

    batch: int
    crop: tuple[int, int]
    reuse: int
    fast: bool


_CPU, _GPU = Usual(2, (256, 160), 4, False), Usual(64, (256, 256), 2, True)


def usual(device: torch.device) -> Usual:
    """What suits `device`."""
    return _GPU if device.type == "cuda" else _CPU


class Sides(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Width x height, such as 256x160."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Text to (width, height)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value))
        if match is None:
            self.fail(f"{value!r} is no size: 256x160", param, ctx)
        return int(match[1]), int(match[2])


def option(settings: type, name: str, help: str, **more: Any) -> Decorator:
    """A click option with the default of a field of a settings class."""
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, default=default(settings, name), help=help, **more)


def together(*options: Decorator) -> Decorator:
    """Options as one decorator, in the order in which help lists them."""

    def add(function: Any) -> Any:
        for one in reversed(options):
            function = one(function)
        return function

    return add


def shared(name: str, **more: Any) -> Decorator:
    """An option of `stcodec encode`: the same name, default and help."""
    chosen = {"help": help_text(EncodeOptions, name), **more}
    return click.option(f"--{name}", default=default(EncodeOptions, name), **chosen)


overwrite = click.option("-y", "-f", "--yes", "yes", is_flag=True, help="Overwrite the output.")
model = shared("model", help="Model to start from: an id, or the path of a .safetensors file.")
content = together(
    option(DataSettings, "chunks", "Chunks of 8 frames per crop."),
    option(DataSettings, "photo_share", "Share of photos in motion."),
    option(DataSettings, "screen_share", "Share of drawn screen content."),
    option(DataSettings, "seed", "Of everything random."),
)
crop = click.option("--crop", type=Sides(), help="Size of a crop (default: as suits the device).")
device = together(shared("device"), shared("threads"))
shape = together(
    click.option(
        "--width", type=int, help="Channels of new networks (default: the model's go on)."
    ),
    click.option("--prior-blocks", type=int, help="Blocks of the prior."),
    click.option("--filter-blocks", type=int, help="Blocks of the in-loop filter."),
    click.option("--block", type=click.Choice(list(BLOCKS)), help="What blocks look around by."),
    click.option("--memory", type=int, help="Channels of the memory (0: none)."),
    click.option("--intra-width", type=int, help="Hidden units that predict within intra frames."),
)
speed = together(
    click.option(
        "--compile/--no-compile",
        "compiled",
        default=False,
        help="Compile networks, which takes minutes.",
    ),
    click.option(
        "--bf16/--no-bf16", default=None, help="Networks in bfloat16 (default: on a GPU)."
    ),
    click.option(
        "--search",
        type=click.Choice(["auto", "dense", "encoder"]),
        default="auto",
        help="Motion search: of fixed shapes (default on a GPU) or the encoder's.",
    ),
)
recording = together(
    click.option(
        "--capture/--no-capture",
        "captured",
        default=None,
        help="Record steps and replay them (default: on a GPU).",
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Other processes that draw batches (default: as suits the device).",
    ),
)
division = together(
    click.option("--patch", type=Sides(), default=(8, 8), help="Size of a patch."),
    click.option("--transform", type=click.Choice(list(LINES)), default="dct", help="Of patches."),
    click.option("--overlap", is_flag=True, help="Patches overlap their neighbours."),
    option(ModelConfig, "divisions", "Ways in which a patch may be divided (1: none, to 3)."),
    option(ModelConfig, "predicted", "Channels predicted from neighbours (0: all)."),
)
fitting = together(
    click.option("--crops", default=84, help="Crops that are coded for it."),
    click.option("--steps", default=3000, help="Steps of fitting the scale networks, per round."),
)


def device_of(options: dict[str, Any]) -> torch.device:
    """The device that `--device` names; until the command ends, torch is set for it and for
    `--threads`."""
    work = Arithmetic(choose_device(options["device"]), options["threads"])
    return click.get_current_context().with_resource(work).device


def drawing_of(
    device: torch.device, options: dict[str, Any], patch: PatchSize | None = None
) -> DataSettings:
    """How the options draw batches. UsageError for crops that are no multiples of 16 and of
    `patch`."""
    found = usual(device)
    width, height = options["crop"] or found.crop
    fitting = (patch or PatchSize()).padded(height, width)
    if fitting != (height, width):
        raise UsageError(
            f"crops of {width}x{height}: must be multiples of the patch and of 16, such as "
            f"{fitting[1]}x{fitting[0]}"
        )
    names = {"chunks", "photo_share", "screen_share", "seed", "leaf_share", "plans"} & set(options)
    chosen = {name: options[name] for name in names}
    return DataSettings(options.get("batch") or found.batch, height, width, **chosen)


def data_of(
    packed: Path, device: torch.device, options: dict[str, Any], patch: PatchSize | None = None
) -> Data:
    """What the options draw from the shards in `packed`; see `drawing_of`."""
    settings = drawing_of(device, options, patch)
    return Data(*read(packed), settings, device)


def batches_of(
    packed: Path, device: torch.device, options: dict[str, Any], patch: PatchSize
) -> Data | Ahead:
    """The same, drawn by other processes where `--workers` says so."""
    workers = options["workers"]
    if workers is None:
        workers = min(_MOST_WORKERS, (os.cpu_count() or 1) // 2) if usual(device).fast else 0
    if not workers:
        return data_of(packed, device, options, patch)
    check(packed)
    ahead = Ahead(packed, drawing_of(device, options, patch), device, workers)
    return click.get_current_context().with_resource(contextlib.closing(ahead))


def losses_of(options: dict[str, Any], fast: bool) -> Settings:
    """How losses are computed; `fast`: as a GPU likes it, where the options do not say."""
    names = {"distortion", "through"} & set(options)
    chosen: dict[str, Any] = {name: options[name] for name in names}
    dense = fast if options["search"] == "auto" else options["search"] == "dense"
    return Settings(
        dense_search=dense, bf16=fast if options["bf16"] is None else options["bf16"], **chosen
    )


def division_of(options: dict[str, Any]) -> ModelConfig:
    """The shape of a model without networks by the options of `division`."""
    width, height = options["patch"]
    size = PatchSize(h=height, w=width)
    names = ("transform", "overlap", "divisions", "predicted")
    try:
        return ModelConfig(size, fit.groups_of(size), **{name: options[name] for name in names})
    except ValueError as error:
        raise UsageError(str(error)) from error


def start_of(name: str, changed: dict[str, Any]) -> Model:
    """The model called `name`, or one of another shape (a value of `SHAPE` that is not None) with
    what is fitted in it."""
    model = model_files.load_model(name)
    if model.config.divisions > 1:
        raise UsageError(f"{name}: models of patches that may be divided are not trained")
    new = {k: changed[k] for k in SHAPE if changed.get(k) is not None}
    return start_from(model, dataclasses.replace(model.config, **new))


def options_of_run(run: Path) -> dict[str, Any]:
    """With which options the run in `run` was started; InputError where it does not say."""
    path = run / "options.json"
    try:
        chosen: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {**chosen, "model": str(chosen["model"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say how the run was started ({error})") from error


def may_write(yes: bool, *targets: Path) -> None:
    """Refuse outputs that exist, unless `yes`, before any work is done."""
    for target in targets:
        check_output(target, Overwrite.YES if yes else Overwrite.NO)
