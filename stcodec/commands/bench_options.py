"""Options that the commands of `stcodec bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stcodec.commands.shared import policy, yes_option
from stcodec.common.files import check_output
from stcodec.options import EncodeOptions, default

MODEL, QUALITY = default(EncodeOptions, "model"), default(EncodeOptions, "quality")

overwrite_option = yes_option("Overwrite existing outputs.")
scale_option = click.option(
    "--scale",
    type=click.FloatRange(0, 8, min_open=True),
    help="Measure at this scale, not the table's.",
)


def check_outputs(overwrite: str | None, *targets: Path | None) -> None:
    """Raise what `check_output` does for any of the files (None: not asked for)."""
    for target in targets:
        if target is not None:
            check_output(target, policy(overwrite, str(target)))


def numbers(ctx: click.Context, param: click.Parameter, text: str) -> list[int]:
    """Whole numbers by commas."""
    try:
        return [int(n) for n in text.split(",") if n]
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error


def qualities(ctx: click.Context, param: click.Parameter, text: str) -> list[int]:
    """At least two different qualities by commas, in order."""
    found = sorted(set(numbers(ctx, param, text)))
    if len(found) < 2 or not all(0 <= quality <= 63 for quality in found):
        raise click.BadParameter(f"{text!r}: two qualities or more, each 0 to 63")
    return found


def words(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Words by commas."""
    return [word for word in text.split(",") if word]


def chosen(known: dict[str, str]) -> Any:
    """A callback for words by commas of which all must be known; gives what they stand for, each
    once."""

    def callback(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
        found = words(ctx, param, text)
        for word in found:
            if word not in known:
                raise click.BadParameter(f"{word!r}: choose from {', '.join(known)}")
        return list(dict.fromkeys(known[word] for word in found))

    return callback
