"""`stcodec info`."""

from __future__ import annotations

import click

from stcodec.commands.shared import json_option
from stcodec.commands.types import FILE
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("path", type=FILE, metavar="FILE.stp")
@json_option
def info(path: str, as_json: bool) -> None:
    """Show what is in FILE.stp; reads its headers only."""
    from stcodec.flows import inspect

    summaries.file_info(Reporter(as_json), inspect.info(path))
