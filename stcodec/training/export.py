"""From averaged weights to a model file: what is fitted is fitted around them, and a card says
where the model comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from stcodec.codec import model_files
from stcodec.codec.model_files import Model
from stcodec.common.values import Planes
from stcodec.errors import InputError
from stcodec.training import checkpoint, fit
from stcodec.training.engine import band_name

FIT_QUALITIES = (4, 12, 20, 28, 36, 44, 52, 60)


def fitted(
    model: Model,
    clips: Iterable[Sequence[Planes]],
    rounds: int,
    steps: int,
    predictors: bool,
    say: Callable[[str], None],
) -> tuple[Model, list[str]]:
    """So many rounds of `fit.fit_round` over the clips; also the lines that it said."""
    report: list[str] = []

    def log(text: str) -> None:
        report.append(text)
        say(text)

    coded = list(clips) if rounds else []
    for number in range(rounds):
        qualities = FIT_QUALITIES[number % 3 :]
        model = fit.fit_round(
            model, coded, qualities, steps, effort=1, log=log, predictors=predictors
        )
    return model, report


def write(target: Path, model: Model, card: str | None) -> None:
    """Write the model file, and its card beside it."""
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: a model file ends with .safetensors")
    parts = model.scale_networks, model.tables, model.motion_start, model.filter_start
    model_files.save_model(target, model.config, model.network, *parts)
    if card is not None:
        data = target.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        card = card.replace("SHA256", digest).replace("SIZE", str(len(data)))
        target.with_suffix(".md").write_text(card, encoding="utf-8")


def linear_card(target: Path, model: Model, options: dict[str, Any], report: Sequence[str]) -> str:
    """A page about a model that was fitted from nothing; SHA256 and SIZE stand for the
    hash of its file and its bytes."""
    lines = [*_head(target, model), "* Fitted from nothing, with these options:", *_listed(options)]
    return "\n".join([*lines, *_fitted(report)])


def card(
    target: Path, model: Model, run: Path, options: dict[str, Any], report: Sequence[str]
) -> str:
    """A page about a model that was trained; SHA256 and SIZE stand for the
    hash of its file and its bytes."""
    rows = [row for row in checkpoint.read_log(run) if "loss" in row]
    lines = _head(target, model)
    lines += [f"* Started from `{options['model']}`, with these options:", *_listed(options)]
    if rows:
        last = rows[-1]
        lines.append(
            f"* {last['step']} steps in {last['minutes']:.1f} minutes; "
            f"the loss went from {rows[0]['loss']:.4f} to {last['loss']:.4f}"
        )
        lines += [
            "",
            "| quality | bits per pixel | PSNR 6:1:1 (last steps, training crops) |",
            "|---|---|---|",
        ]
        for band, (bits, psnr) in enumerate(zip(last["bits_per_pixel"], last["psnr"], strict=True)):
            if bits is not None:
                lines.append(f"| {band_name(band)} | {bits:.4f} | {psnr:.2f} dB |")
    return "\n".join([*lines, *_fitted(report)])


def _head(target: Path, model: Model) -> list[str]:
    """The title, what the model is made of, and its hash."""
    config = model.config
    patches = "overlapping patches" if config.overlap else "patches"
    if config.divisions > 1:
        patches = f"{patches} in {config.divisions} divisions,"
    size = f"{config.patch.w}x{config.patch.h}x{config.patch.t}"
    networks = "No networks."
    if config.width:
        networks = (
            f"Width {config.width}, {config.prior_blocks} + {config.filter_blocks} blocks "
            f"({config.block}), {config.memory} memory channels."
        )
    return [
        f"# {target.stem}",
        "",
        f"{config.transform.upper()} of {patches} {size}. {networks}",
        "",
        "* sha256 `SHA256`, SIZE bytes",
    ]


def _listed(options: dict[str, Any]) -> list[str]:
    return [f"  `{k}` {v}" for k, v in options.items() if k != "model" and v is not None]


def _fitted(report: Sequence[str]) -> list[str]:
    return ["", "Fitted:", "", *(f"    {text}" for text in report), ""]
