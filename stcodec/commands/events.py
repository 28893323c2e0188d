"""`stcodec events`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stcodec.commands.shared import (
    json_option,
    option,
    overwrite_options,
    policy,
    quiet_option,
)
from stcodec.commands.types import FILE, Time
from stcodec.errors import UsageError
from stcodec.options import DecodeOptions
from stcodec.terminal import summaries, watching
from stcodec.terminal.report import Reporter

if TYPE_CHECKING:
    from stcodec.flows.events import Event


@click.command()
@click.argument("sources", nargs=-1, required=True, type=FILE, metavar="FILE.stp...")
@click.option(
    "--gap",
    type=Time(),
    default=1.0,
    show_default=True,
    help="Seconds of quiet that end an event.",
)
@click.option(
    "--learn",
    is_flag=True,
    help="Learn what is normal in recordings of one camera, and write it into the file of -o.",
)
@click.option("-o", "--output", type=FILE, metavar="FILE.json", help="What --learn writes.")
@click.option(
    "--normal",
    "learned",
    type=FILE,
    metavar="FILE.json",
    help="Find what is not normal by what --learn has written.",
)
@click.option("--csv", "table", type=FILE, metavar="FILE", help="Write a table of all events.")
@click.option(
    "--extract",
    "folder",
    type=FILE,
    metavar="DIR",
    help="Cut the events out, without coding anything again: whole segments, as .stp files.",
)
@click.option(
    "--plot",
    "plot_path",
    type=FILE,
    metavar="FILE",
    help="Draw a time line with pictures of the strongest events: .png, .svg or .pdf.",
)
@option(DecodeOptions, "threads", "--threads", type=int)
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@overwrite_options("Overwrite existing outputs.")
@quiet_option("Print the events only.")
@json_option
def events(
    sources: tuple[str, ...],
    gap: float,
    learn: bool,
    output: str | None,
    learned: str | None,
    table: str | None,
    folder: str | None,
    plot_path: str | None,
    threads: int,
    max_pixels: int | None,
    overwrite: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the ranges of time of FILE.stp in which something happens; no picture is decoded.

    Each has a start and an end, to 8 pictures exactly, a strength, a box around what moved, and the
    picture that shows it best. What the whole picture has in common (light, a shaking camera) and
    what is always there (noise, leaves) is no event.
    """
    from stcodec.common import plotting
    from stcodec.common.files import check_input, check_output, temporary_output
    from stcodec.flows import camera
    from stcodec.flows.compiling import tell_who_waits
    from stcodec.flows.events import Activity, Event, find

    said = Reporter(as_json, quiet)
    tell_who_waits(said.note)
    if learn != (output is not None):
        raise UsageError("--learn and -o belong together")
    if output is not None:
        if learned or table or folder or plot_path:
            raise UsageError("--learn finds no events: it writes what is normal, and nothing else")
        _learn(said, sources, output, overwrite, threads, max_pixels)
        return
    if (folder or plot_path or learned) and "-" in sources:
        raise UsageError("--extract, --plot and --normal need files, not standard input")
    if plot_path is not None:
        if len(sources) > 1:
            raise UsageError("--plot draws one file")
        plotting.check(plot_path)
    for source in sources:
        check_input(source)
    for target in filter(None, (table, plot_path)):
        check_output(target, policy(overwrite, target))
    known = None if learned is None else camera.read(learned)
    listed: list[tuple[str, Event]] = []
    seen: list[Activity] = []
    for source in sources:
        count, end = 0, 0.0
        usual = None if known is None else known.usual(source)
        for one in find(source, gap, threads, max_pixels, usual):
            if isinstance(one, Event):
                count += 1
                listed.append((source, one))
                watching.found(said, source, one)
                continue
            end = one.end
            if plot_path is not None:
                seen.append(one)
        watching.watched(said, source, count, end)
        if folder is not None and count:
            own = [event for name, event in listed if name == source]
            _extract(said, source, folder, own, overwrite)
    if table is not None:
        with temporary_output(table) as temporary:
            watching.write_table(temporary, listed)
    if plot_path is not None:
        from stcodec.flows.event_plot import plot

        plot(sources[0], seen, [event for _, event in listed], Path(plot_path))


def _learn(
    said: Reporter,
    sources: Sequence[str],
    output: str,
    overwrite: str | None,
    threads: int,
    max_pixels: int | None,
) -> None:
    from stcodec.common.files import check_input, check_output, temporary_output
    from stcodec.flows import camera

    if "-" in sources:
        raise UsageError("--learn needs files, not standard input")
    for source in sources:
        check_input(source)
        check_output(output, policy(overwrite, output), source)
    known = camera.learn(sources, threads, max_pixels)
    with temporary_output(output) as temporary:
        temporary.write_bytes(camera.write_bytes(known))
    watching.learned(said, sources, output, known)


def _extract(
    said: Reporter, source: str, folder: str, found: Sequence[Event], overwrite: str | None
) -> None:
    from stcodec.common.files import Overwrite, check_output, make_folder
    from stcodec.container.extracting import Extract
    from stcodec.flows.keyframes import pattern

    make_folder(folder)
    ranges = [(event.start, event.end) for event in found]
    with Extract(source, pattern(source, folder, ".stp"), ranges) as parts:
        for target in parts.targets:
            check_output(target, policy(overwrite, target), source)
        written = parts.write(Overwrite.YES)
    for part in written:
        summaries.part(said, source, part)
