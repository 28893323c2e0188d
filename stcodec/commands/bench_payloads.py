"""`stcodec bench payloads`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stcodec.commands.bench_options import (
    MODEL,
    check_outputs,
    overwrite_option,
    qualities,
    scale_option,
    words,
)
from stcodec.common.files import check_input
from stcodec.options import TUNES, EncodeOptions, default
from stcodec.terminal import report

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=_FILE)
@click.option(
    "--models", default=MODEL, show_default=True, callback=words, help="Models, by commas."
)
@click.option(
    "--qualities", default="16,26,36,46", show_default=True, callback=qualities, help="By commas."
)
@click.option(
    "--frames",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="At most so many frames of each clip; 0 takes all.",
)
@click.option(
    "--table",
    "table_path",
    type=_FILE,
    help="Table with the columns path, kind, scale (tabs), beside the CLIPS.tsv of each folder.",
)
@scale_option
@click.option(
    "--peers",
    default="",
    help="Other codecs to compare with, by commas, such as x265-medium, svtav1-p6.",
)
@click.option("--against", type=_FILE, help="Compare with a run that --json has saved.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a constant of the encoder (a name of encoder/tuning.py) or a setting of the "
    "model (config.kind_qualities=3,-2,0,2,3).",
)
@click.option(
    "--tune",
    type=click.Choice(TUNES),
    default=default(EncodeOptions, "tune"),
    show_default=True,
    help="As of encode.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes at a time."
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps results; the default is one of this user's.",
)
@click.option("--json", "json_path", type=_FILE, help="Write everything as JSON.")
@click.option("--verbose", is_flag=True, help="Show bytes by part and quality, too.")
@overwrite_option
def payloads(
    clips: tuple[Path, ...],
    table_path: Path | None,
    peers: str,
    against: Path | None,
    settings: tuple[str, ...],
    cache: Path | None,
    json_path: Path | None,
    verbose: bool,
    overwrite: str | None,
    **more: Any,
) -> None:
    """Bytes of payloads alone, by part, of CLIPS: files, or folders of videos.

    BD-rates compare with the packets of other codecs, and with an earlier run, clip by clip; the
    last table puts several models side by side.
    Screens (clips of that kind in the table) stay out of the mean. What was measured before with
    the same code, model and settings comes from the cache.
    """
    for clip in clips:
        if not clip.is_dir():
            check_input(clip)
    check_outputs(overwrite, json_path)

    from stcodec.bench.cache import default_folder
    from stcodec.bench.overrides import parse_settings
    from stcodec.bench.payload_tables import run
    from stcodec.bench.payloads import Plan
    from stcodec.bench.peers import find_peers
    from stcodec.bench.sources import read_table

    plan = Plan(
        clips=clips,
        table=read_table(table_path),
        peers=find_peers(peers),
        settings=parse_settings(settings),
        cache=cache or default_folder(),
        **more,
    )
    run(plan, against, json_path, verbose, say=report.say, log=report.tell)
