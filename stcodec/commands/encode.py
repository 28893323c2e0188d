"""`stcodec encode`."""

from __future__ import annotations

import os
from typing import Any

import click
from click.core import ParameterSource

from stcodec.commands.shared import (
    FILE,
    Amount,
    Rate,
    audio_options,
    check_stdout,
    default_target,
    option,
    output_options,
    part_options,
    policy,
    progress_option,
    stages,
)
from stcodec.errors import UsageError
from stcodec.options import TARGETS, EncodeOptions, help_text
from stcodec.terminal import report
from stcodec.terminal.progress import ProgressReport


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@click.argument("target", type=FILE, metavar="[OUT.stp]", required=False)
@option(EncodeOptions, "quality", "-q", "--quality", type=int)
@option(EncodeOptions, "model", "--model")
@option(EncodeOptions, "device", "--device")
@option(EncodeOptions, "threads", "--threads", type=int)
@option(EncodeOptions, "motion", "--motion")
@option(EncodeOptions, "effort", "--effort", type=int)
@part_options(EncodeOptions)
@option(EncodeOptions, "framerate", "--framerate", "--fps", type=Rate())
@option(EncodeOptions, "target_size", "--target-size", type=Amount())
@option(EncodeOptions, "target_bitrate", "--target-bitrate", type=Amount())
@option(EncodeOptions, "min_psnr", "--min-psnr", type=float)
@option(EncodeOptions, "min_ssim", "--min-ssim", type=float)
@option(EncodeOptions, "min_vmaf", "--min-vmaf", type=float)
@click.option("--no-larger", is_flag=True, help=help_text(EncodeOptions, "no_larger"))
@audio_options(EncodeOptions)
@progress_option
@output_options
def encode(
    source: str,
    target: str | None,
    overwrite: str | None,
    shown: str,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode the video IN ("-" reads standard input) into OUT.stp ("-" writes standard output)."""
    # The options class cannot tell a quality that was asked for from the default.
    asked = (
        click.get_current_context().get_parameter_source("quality") is not ParameterSource.DEFAULT
    )
    given = [name for name in TARGETS if options[name] is not None]
    if asked and given:
        raise UsageError(f"--{given[0].replace('_', '-')} and --quality exclude each other")
    target = default_target(source, target, ".stp")
    check_stdout(target, as_json)
    from stcodec.encoder import choice
    from stcodec.flows.encode import EncodeResult, Progress
    from stcodec.flows.targets import search_steps

    chosen = EncodeOptions(overwrite=policy(overwrite, target), **options)
    if chosen.motion != "none" and not choice.compiled():
        report.note(
            "compiling the motion search for this machine: half a minute or less, once", quiet
        )
        choice.compile_apart()
    notes: list[str] = []
    result = None
    label, names = f"encoding {os.path.basename(source)}", {"input": source, "output": target}
    with stages(verbose), ProgressReport(label, quiet, shown, names) as progress:
        for step in search_steps(source, target, chosen, notes):
            if isinstance(step, Progress):
                progress.update(step)
            elif isinstance(step, EncodeResult):
                result = step
            else:
                report.tried(step, quiet)
    assert result is not None
    for line in result.notes:
        report.note(f"{source}: {line}", quiet)
    report.encoded(source, target, result, quiet, as_json)
