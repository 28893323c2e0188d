"""`stcodec verify`."""

from __future__ import annotations

import click

from stcodec import report


@click.command()
@click.argument("path", metavar="FILE.stp")
@click.option("--deep", is_flag=True, help="Decode the pictures too.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def verify(path: str, deep: bool, quiet: bool) -> None:
    """Check that FILE.stp is intact; exit code 3 and the numbers of the bad chunks if it is not."""
    from stcodec import inspection
    from stcodec.errors import DamagedFileError

    chunks = frames = bad = 0
    for chunk in inspection.verify(path, deep):
        chunks, frames = chunks + 1, frames + chunk.frames
        if chunk.problem:
            bad += 1
            report.chunk_problem(path, chunk)
    if bad:
        raise DamagedFileError(f"{path}: {bad} of {chunks} chunks are damaged")
    report.verified(path, chunks, frames, quiet)
