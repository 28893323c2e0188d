"""`stcodec split`."""

from __future__ import annotations

import click

from stcodec.commands.shared import check_target, output_options, policy, stages
from stcodec.commands.types import FILE, Time
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="IN.stp")
@click.option(
    "-o",
    "--output",
    "pattern",
    type=FILE,
    metavar="PATTERN",
    required=True,
    help="Names, such as part-%03d.stp.",
)
@click.option(
    "--every", type=Time(), required=True, help="Least length of a part (seconds, or [h:]m:s)."
)
@output_options
def split(
    source: str,
    pattern: str,
    every: float,
    overwrite: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Cut IN.stp into parts without decoding it; concat puts them together again.

    It is cut only where a segment starts, which is at scene cuts and at least every 128 pictures: a
    part is as long as --every says or longer, up to the next start of a segment.
    """
    from stcodec.common.files import Overwrite, check_output
    from stcodec.container import joining

    check_target(pattern)
    said = Reporter(as_json, quiet)
    with stages(verbose), joining.Split(source, pattern, every) as parts:
        policies = [policy(overwrite, target) for target in parts.targets]
        for target, chosen in zip(parts.targets, policies, strict=True):
            check_output(target, chosen, source)
        written = parts.write(Overwrite.YES if Overwrite.YES in policies else Overwrite.NO)
    for part in written:
        summaries.part(said, source, part)
