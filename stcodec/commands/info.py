"""`stcodec info`."""

from __future__ import annotations

import click

from stcodec import report


@click.command()
@click.argument("path", metavar="FILE.stp")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: str, as_json: bool) -> None:
    """Show what is in FILE.stp; reads its headers only."""
    from stcodec import inspection

    found = inspection.info(path)
    if as_json:
        report.print_json(found.as_dict())
    else:
        report.file_info(found)
