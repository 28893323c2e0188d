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
    """Check that FILE.stp is intact; exit code 3, the numbers of the bad
    chunks and the times of what is lost if it is not."""
    from stcodec.errors import DamagedFileError
    from stcodec.flows import inspect
    from stcodec.flows.salvage import Lost

    chunks = frames = 0
    damaged: list[inspect.ChunkReport] = []
    lost: list[Lost] = []
    problem: DamagedFileError | None = None
    try:
        for chunk in inspect.verify(path, deep, max_pixels, lost):
            chunks, frames = chunks + 1, frames + chunk.frames
            if chunk.problem:
                damaged.append(chunk)
                summaries.chunk_problem(path, chunk)
        if damaged:
            problem = DamagedFileError(f"{path}: {len(damaged)} of {chunks} chunks are damaged")
    except DamagedFileError as error:
        problem = error
    summaries.lost(path, lost)
    intact = problem is None
    summaries.verified(Reporter(as_json, quiet), path, chunks, frames, damaged, lost, intact)
    if problem is not None:
        raise problem
