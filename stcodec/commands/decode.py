"""`stcodec decode`."""

from __future__ import annotations

import os
from typing import Any

import click

from stcodec.batch.plan import DECODED
from stcodec.commands.imports import large_imports
from stcodec.commands.shared import (
    audio_options,
    check_stdout,
    default_target,
    device_options,
    one_target,
    option,
    output_option,
    output_options,
    part_options,
    policy,
    progress_option,
    stages,
)
from stcodec.commands.types import FILE
from stcodec.common.files import check_input, check_output
from stcodec.common.values import Progress
from stcodec.errors import DamagedFileError
from stcodec.options import RATES, TIMES, DecodeOptions, help_text
from stcodec.terminal import summaries
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="IN.stp")
@click.argument("target", type=FILE, metavar="[OUT]", required=False)
@output_option("OUT")
@option(DecodeOptions, "codec", "--codec")
@option(DecodeOptions, "crf", "--crf", type=float)
@audio_options(DecodeOptions)
@part_options(DecodeOptions)
@device_options(DecodeOptions)
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@option(DecodeOptions, "rate", "--rate", type=click.Choice(list(RATES)))
@option(DecodeOptions, "crop", "--crop")
@option(DecodeOptions, "interpolate", "--interpolate", type=click.Choice(list(TIMES)))
@option(DecodeOptions, "keep_partial", "--keep-partial", is_flag=True)
@option(DecodeOptions, "salvage", "--salvage", is_flag=True)
@click.option("--keep-time", is_flag=True, help=help_text(DecodeOptions, "keep_time"))
@progress_option
@output_options
def decode(
    source: str,
    target: str | None,
    named: str | None,
    overwrite: str | None,
    shown: str,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Decode IN.stp into OUT: .mp4, .mkv, .mov, .webm, .y4m, or "-" for YUV4MPEG2 on standard
    output; or pictures such as frames/%04d.png, numbered from 1 (.png and .tif with 16 bits where
    the video has more than 8, .jpg, .bmp), whose folder is made.

    Without a name for it, film.stp becomes film.decoded.mp4: film.mp4 may be what it was made of.
    """
    target = default_target(source, one_target(target, named), f"{DECODED}.mp4")
    check_stdout(target, as_json)
    said = Reporter(as_json, quiet)
    chosen = DecodeOptions(overwrite=policy(overwrite, target), **options)
    # Here, too: what is wrong with a name shows before torch is there.
    check_input(source)
    check_output(target, chosen.overwrite, source)
    with large_imports():
        from stcodec.flows.compiling import tell_who_waits
        from stcodec.flows.decode import decode_steps

    tell_who_waits(said.note)
    result = None
    label, names = f"decoding {os.path.basename(source)}", {"input": source, "output": target}
    with stages(verbose), ProgressReport(label, said, shown, names) as progress:
        for step in decode_steps(source, target, chosen):
            if isinstance(step, Progress):
                progress.update(step)
            else:
                result = step
    assert result is not None
    for line in result.notes:
        said.note(f"{target}: {line}")
    summaries.decoded(said, source, target, result)
    if result.lost:
        summaries.lost(source, result.lost)
        raise DamagedFileError(f"{source}: is damaged: what is left of it is in {target}")
