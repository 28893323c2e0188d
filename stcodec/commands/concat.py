"""`stcodec concat`."""

from __future__ import annotations

import click

from stcodec.commands.shared import check_target, output_options, policy, stages
from stcodec.commands.types import FILE
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("sources", type=FILE, metavar="A.stp B.stp ...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    metavar="OUT.stp",
    required=True,
    help='The file to write ("-": stdout).',
)
@output_options
def concat(
    sources: tuple[str, ...],
    target: str,
    overwrite: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Join .stp files of the same kind, one after another, without decoding them.

    Picture size, bit depth, model, time base, colours and carried streams must be the same. Each
    file follows the one before in time. Metadata is the first file's.
    """
    check_target(target, as_json)
    said = Reporter(as_json, quiet)
    from stcodec.container import joining

    with stages(verbose):
        result = joining.concat(sources, target, policy(overwrite, target))
    for line in result.notes:
        said.note(f"{target}: {line}")
    summaries.joined(said, sources, target, result)
