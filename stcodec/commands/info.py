"""`stcodec info`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from stcodec.commands.several import for_each, paths_argument
from stcodec.commands.shared import json_option
from stcodec.terminal import summaries
from stcodec.terminal.descriptions import described
from stcodec.terminal.report import Reporter, say


@click.command()
@paths_argument("FILE...")
@json_option
def info(paths: tuple[str, ...], as_json: bool) -> None:
    """Show what is in each FILE, which is a .stp file or any other video; reads little of it.

    Of a video that is not coded yet, it says what encode would keep, convert and lose.

    Of several files, those that fail do not stop the others; the exit code is the highest.
    """
    from stcodec.flows import inspect

    said = Reporter(as_json)
    seen = 0

    def look(path: str) -> None:
        nonlocal seen
        if inspect.is_stp(path):
            found: Any = inspect.info(path)
            show: Callable[[Reporter, Any], None] = summaries.file_info
        else:
            from stcodec.media.description import describe_media

            found, show = describe_media(path), described
        if seen and not as_json:
            say("")
        seen += 1
        show(said, found)

    for_each(paths, said, look)
