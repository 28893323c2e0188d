"""`stcodec info`."""

from __future__ import annotations

import click

from stcodec.commands.shared import FILE, json_option
from stcodec.terminal import report


@click.command()
@click.argument("path", type=FILE, metavar="FILE.stp")
@json_option
def info(path: str, as_json: bool) -> None:
    """Show what is in FILE.stp; reads its headers only."""
    from stcodec.flows import inspect

    report.file_info(inspect.info(path), as_json)
