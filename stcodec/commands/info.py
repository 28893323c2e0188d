"""`stcodec info`."""

from __future__ import annotations

import click

from stcodec import report
from stcodec.commands.shared import FILE, json_option


@click.command()
@click.argument("path", type=FILE, metavar="FILE.stp")
@json_option
def info(path: str, as_json: bool) -> None:
    """Show what is in FILE.stp; reads its headers only."""
    from stcodec import inspection

    report.file_info(inspection.info(path), as_json)
