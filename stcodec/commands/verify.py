"""`stcodec verify`."""

from __future__ import annotations

import click

from stcodec.commands.several import for_each, paths_argument
from stcodec.commands.shared import json_option, option, quiet_option
from stcodec.options import DecodeOptions
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@paths_argument("FILE.stp...")
@click.option("--deep", is_flag=True, help="Decode the pictures too.")
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@json_option
@quiet_option()
def verify(
    paths: tuple[str, ...], deep: bool, max_pixels: int | None, quiet: bool, as_json: bool
) -> None:
    """Check that each FILE.stp is intact; exit code 3, the numbers of the bad
    chunks and the times of what is lost if one is not.

    Of several files, those that fail do not stop the others; the exit code is the highest.
    """
    from stcodec.flows.compiling import tell_who_waits

    said = Reporter(as_json, quiet)
    tell_who_waits(said.note)
    for_each(paths, said, lambda path: _verify(said, path, deep, max_pixels))


def _verify(said: Reporter, path: str, deep: bool, max_pixels: int | None) -> None:
    """Check one file, and say what came of it. DamagedFileError."""
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
    summaries.verified(said, path, chunks, frames, damaged, lost, problem is None)
    if problem is not None:
        raise problem
