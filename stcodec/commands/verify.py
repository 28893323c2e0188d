"""`stcodec verify`."""

from __future__ import annotations

import click

from stcodec.commands.shared import json_option, option, quiet_option
from stcodec.commands.types import FILE
from stcodec.options import DecodeOptions
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("path", type=FILE, metavar="FILE.stp")
@click.option("--deep", is_flag=True, help="Decode the pictures too.")
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@json_option
@quiet_option()
def verify(path: str, deep: bool, max_pixels: int | None, quiet: bool, as_json: bool) -> None:
    """Check that FILE.stp is intact; exit code 3 and the numbers of the bad chunks if it is not."""
    from stcodec.errors import DamagedFileError
    from stcodec.flows import inspect

    chunks = frames = 0
    damaged = []
    for chunk in inspect.verify(path, deep, max_pixels):
        chunks, frames = chunks + 1, frames + chunk.frames
        if chunk.problem:
            damaged.append(chunk)
            summaries.chunk_problem(path, chunk)
    summaries.verified(Reporter(as_json, quiet), path, chunks, frames, damaged)
    if damaged:
        raise DamagedFileError(f"{path}: {len(damaged)} of {chunks} chunks are damaged")
