"""`stcodec sample`."""

from __future__ import annotations

from typing import Any

import click

from stcodec.commands.shared import coding_options, json_option
from stcodec.commands.types import FILE
from stcodec.options import EncodeOptions
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@coding_options
@json_option
def sample(source: str, as_json: bool, **options: Any) -> None:
    """Predict size and quality of the video IN by encoding a few seconds of it; writes nothing."""
    chosen, said = EncodeOptions(**options), Reporter(as_json)
    from stcodec.flows import targets

    trial, seen = targets.sample(source, chosen, said.note)
    summaries.sampled(said, source, trial, seen)
