"""`stcodec batch`."""

from __future__ import annotations

from typing import Any

import click

from stcodec.batch.plan import NAMES
from stcodec.batch.settings import Settings
from stcodec.commands.decode import decode as decode_command
from stcodec.commands.encode import encode as encode_command
from stcodec.commands.shared import (
    given_options,
    json_option,
    options_of,
    quiet_option,
    yes_option,
)
from stcodec.commands.types import FILE, Share
from stcodec.errors import UsageError
from stcodec.options import EncodeOptions
from stcodec.terminal.report import Reporter

_ENDINGS = ("mp4", "mkv", "mov", "webm", "y4m")


@click.command()
@click.argument("inputs", type=FILE, metavar="DIR|FILES...", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="OUTDIR",
    required=True,
    help="The folder of the outputs; made if it is missing.",
)
@click.option(
    "-r", "--recursive", is_flag=True, help="Folders in folders too; OUTDIR mirrors them."
)
@click.option(
    "--decode", "decoding", is_flag=True, help="Decode .stp files instead of encoding videos."
)
@click.option(
    "--to",
    "ending",
    type=click.Choice(_ENDINGS),
    default="mp4",
    show_default=True,
    help="What --decode makes.",
)
@click.option(
    "--names",
    type=click.Choice(NAMES),
    default="stem",
    show_default=True,
    help="Outputs by the stem of a name (film.stp) or the full one (film.mp4.stp), which keeps "
    "IMG_1.MOV and IMG_1.MP4 apart.",
)
@click.option(
    "--jobs",
    type=click.IntRange(0),
    default=0,
    help="Files at a time, which share the threads; 0: one for every 4 cores.",
)
@click.option(
    "--part",
    type=Share(),
    default=(1, 1),
    metavar="K/N",
    help="Every N-th file from the K-th on: for N machines with one OUTDIR.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help='Work on a Ray cluster: its address, or "auto" on one of its nodes.',
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last batch of OUTDIR: its inputs and options, where none are given.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@options_of(encode_command, decode_command)
@yes_option("Replace outputs of other inputs or options.")
@quiet_option()
@json_option
def batch(
    inputs: tuple[str, ...],
    output: str,
    recursive: bool,
    decoding: bool,
    ending: str,
    names: str,
    jobs: int,
    part: tuple[int, int],
    ray: str | None,
    resume: bool,
    dry_run: bool,
    overwrite: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode many videos, or decode many .stp files, into the folder OUTDIR.

    What is done and intact is skipped, so the same command goes on where one was killed; a file
    that fails does not stop the others. The options of encode, and with --decode those of decode,
    hold for each file. Exit code 1 if any file failed.
    """
    from stcodec.batch import settings, show
    from stcodec.batch.run import Batch, choose_pool

    if given_options({"ending": ending}) and not decoding:
        raise UsageError("--to needs --decode")
    if given_options({"names": names}) and decoding:
        raise UsageError("--names is for encoding")
    chosen = settings.Settings(
        inputs,
        output,
        recursive=recursive,
        decode=decoding,
        ending=f".{ending}" if decoding else ".stp",
        options=given_options(options),
        overwrite=overwrite is not None,
        jobs=jobs,
        part=part,
        names=names,
    )
    if resume:
        chosen = settings.resumed(chosen)
    settings.check(chosen)
    planned, said = Batch(chosen), Reporter(as_json, quiet)
    if dry_run:
        show.show_plan(planned, said)
    else:
        if planned.waiting and ray is None:
            _compile(chosen, said)
        show.run(planned, choose_pool(chosen, ray), said)


def _compile(chosen: Settings, said: Reporter) -> None:
    """What each worker would wait for, and say nothing of."""
    from stcodec.flows.compiling import compile_decoder, compile_once

    if chosen.decode:
        compile_decoder(said.note)
    else:
        compile_once(EncodeOptions(**chosen.options), said.note)
