"""`stcodec keyframes`."""

from __future__ import annotations

import click

from stcodec.commands.shared import (
    json_option,
    one_target,
    option,
    output_option,
    overwrite_options,
    policy,
    quiet_option,
)
from stcodec.commands.types import FILE
from stcodec.errors import UsageError
from stcodec.options import DecodeOptions
from stcodec.terminal import watching
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="FILE.stp")
@click.argument("folder", type=FILE, metavar="[DIR]", required=False)
@output_option("DIR")
@click.option(
    "--per",
    type=click.Choice(["event", "segment"]),
    default="event",
    show_default=True,
    help="A picture of each event, at its peak, or the first one of each segment.",
)
@click.option(
    "--format",
    "ending",
    type=click.Choice(["png", "jpg", "tif", "bmp"]),
    default="png",
    show_default=True,
)
@option(DecodeOptions, "threads", "--threads", type=int)
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@overwrite_options("Overwrite existing pictures.")
@quiet_option()
@json_option
def keyframes(
    source: str,
    folder: str | None,
    named: str | None,
    per: str,
    ending: str,
    threads: int,
    max_pixels: int | None,
    overwrite: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write pictures of FILE.stp into DIR: of each event (see events) or of each segment."""
    from stcodec.common.files import Overwrite, check_input, check_output, make_folder
    from stcodec.flows import keyframes
    from stcodec.flows.compiling import tell_who_waits
    from stcodec.flows.library import Video

    folder = one_target(folder, named)
    if folder is None:
        raise UsageError("a folder for the pictures must be named")
    if source == "-":
        raise UsageError("pictures of a pipe cannot be chosen: a file is needed")
    check_input(source)
    said = Reporter(as_json, quiet)
    tell_who_waits(said.note)
    target = keyframes.pattern(source, folder, f".{ending}")
    with Video(source, threads=threads, max_pixels=max_pixels) as video:
        if per == "event":
            numbers = keyframes.of_events(source, threads, max_pixels)
        else:
            numbers = [segment.start for segment in video.segments]
        if not numbers:
            said.note(f"{source}: nothing happens in it, so there is no picture")
            return
        make_folder(folder)
        check_output(target, policy(overwrite, target))
        for made in keyframes.write(video, numbers, target, Overwrite.YES):
            watching.keyframe(said, source, made)
