"""`stcodec sample`."""

from __future__ import annotations

from typing import Any

import click

from stcodec.commands.shared import FILE, Rate, audio_options, json_option, option, part_options
from stcodec.options import EncodeOptions
from stcodec.terminal import report


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@option(EncodeOptions, "quality", "-q", "--quality", type=int)
@option(EncodeOptions, "model", "--model")
@option(EncodeOptions, "device", "--device")
@option(EncodeOptions, "threads", "--threads", type=int)
@option(EncodeOptions, "motion", "--motion")
@option(EncodeOptions, "effort", "--effort", type=int)
@part_options(EncodeOptions)
@option(EncodeOptions, "framerate", "--framerate", "--fps", type=Rate())
@audio_options(EncodeOptions)
@json_option
def sample(source: str, as_json: bool, **options: Any) -> None:
    """Predict size and quality of the video IN by encoding a few seconds of it; writes nothing."""
    chosen = EncodeOptions(**options)
    from stcodec.flows import targets

    trial, seen = targets.sample(source, chosen)
    report.sampled(source, trial, seen, as_json)
