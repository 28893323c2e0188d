"""`stcodec encode`."""

from __future__ import annotations

import os
from typing import Any

import click

from stcodec.commands.imports import large_imports
from stcodec.commands.shared import (
    check_target,
    coding_options,
    crf_option,
    default_target,
    given_options,
    one_target,
    option,
    output_option,
    output_options,
    policy,
    progress_option,
    stages,
)
from stcodec.commands.types import FILE, Amount
from stcodec.common.files import check_input, check_output
from stcodec.common.values import Progress
from stcodec.options import EncodeOptions, check_goals, flag, help_text
from stcodec.terminal import summaries
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@click.argument("target", type=FILE, metavar="[OUT.stp]", required=False)
@output_option("OUT.stp")
@coding_options
@option(EncodeOptions, "target_size", "--target-size", type=Amount())
@option(EncodeOptions, "target_bitrate", "--target-bitrate", type=Amount())
@option(EncodeOptions, "min_psnr", "--min-psnr", type=float)
@option(EncodeOptions, "min_ssim", "--min-ssim", type=float)
@option(EncodeOptions, "min_vmaf", "--min-vmaf", type=float)
@option(EncodeOptions, "min_xpsnr", "--min-xpsnr", type=float)
@crf_option
@click.option("--no-larger", is_flag=True, help=help_text(EncodeOptions, "no_larger"))
@click.option("--keep-time", is_flag=True, help=help_text(EncodeOptions, "keep_time"))
@click.option("--remove-source", is_flag=True, help=help_text(EncodeOptions, "remove_source"))
@click.option("--verify", is_flag=True, help=help_text(EncodeOptions, "verify"))
@click.option("--resume", is_flag=True, help=help_text(EncodeOptions, "resume"))
@progress_option
@output_options
def encode(
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
    """Encode the video IN ("-" reads standard input) into OUT.stp ("-" writes standard output)."""
    # The options class cannot tell a quality that was asked for from the default.
    check_goals(given_options(options), flag)
    target = default_target(source, one_target(target, named), ".stp")
    check_target(target, as_json)
    said = Reporter(as_json, quiet)
    chosen = EncodeOptions(overwrite=policy(overwrite, target), **options)
    # Here, too: what is wrong with a name shows before torch is there.
    check_input(source)
    check_output(target, chosen.overwrite, source)
    with large_imports():
        from stcodec.flows.encode import EncodeResult
        from stcodec.flows.targets import search_steps
    notes: list[str] = []
    result = None
    label, names = f"encoding {os.path.basename(source)}", {"input": source, "output": target}
    with stages(verbose), ProgressReport(label, said, shown, names) as progress:
        for step in search_steps(source, target, chosen, notes, said.note):
            if isinstance(step, Progress):
                progress.update(step)
            elif isinstance(step, EncodeResult):
                result = step
            else:
                summaries.tried(said, step)
    assert result is not None
    for line in result.notes:
        said.note(f"{source}: {line}")
    summaries.encoded(said, source, target, result)
    if result.removed:
        said.result(f"{source}: removed")
