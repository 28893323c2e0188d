"""`stcodec info`."""

from __future__ import annotations

import click

from stcodec.commands.several import for_each, paths_argument
from stcodec.commands.shared import json_option
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter, say


@click.command()
@paths_argument("FILE.stp...")
@json_option
def info(paths: tuple[str, ...], as_json: bool) -> None:
    """Show what is in each FILE.stp; reads its headers only.

    Of several files, those that fail do not stop the others; the exit code is the highest.
    """
    from stcodec.flows import inspect

    said = Reporter(as_json)
    seen = 0

    def look(path: str) -> None:
        nonlocal seen
        found = inspect.info(path)
        if seen and not as_json:
            say("")
        seen += 1
        summaries.file_info(said, found)

    for_each(paths, said, look)
