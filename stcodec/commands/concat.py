"""`stcodec concat`."""

from __future__ import annotations

import click

from stcodec.commands.shared import FILE, check_stdout, output_options, policy, stages
from stcodec.terminal import report


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
    check_stdout(target, as_json)
    from stcodec.container import joining

    with stages(verbose):
        result = joining.concat(sources, target, policy(overwrite, target))
    for line in result.notes:
        report.note(f"{target}: {line}", quiet)
    report.joined(sources, target, result, quiet, as_json)
