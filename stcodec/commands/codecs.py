"""`stcodec codecs`."""

from __future__ import annotations

import click

from stcodec.commands.shared import json_option
from stcodec.terminal.report import Reporter, say


@click.command()
@json_option
def codecs(as_json: bool) -> None:
    """List the video encoders that decode --codec can use on this machine, found by trying each."""
    from stcodec.media.listing import working

    said = Reporter(as_json)
    for encoder, endings in working():
        said.event(
            "codec", name=encoder.name, coding=encoder.coding, endings=endings,
            description=encoder.description,
        )  # fmt: skip
        if not as_json:
            say(f"{encoder.name:<14} {encoder.coding:<12} {' '.join(endings)}")
