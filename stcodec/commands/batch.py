"""`stcodec batch`."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stcodec.commands.decode import decode as decode_command
from stcodec.commands.encode import encode as encode_command
from stcodec.commands.shared import FILE, Share, given_options, json_option, options_of
from stcodec.errors import StcodecError, UsageError
from stcodec.options import TARGETS, DecodeOptions, EncodeOptions
from stcodec.terminal import report

if TYPE_CHECKING:
    from stcodec.batch.pool import Pool
    from stcodec.batch.run import Batch, Settings

# People are told every minute how far a file is; programs hear all.
_SECONDS_BETWEEN_LINES = 60
_ENDINGS = ("mp4", "mkv", "mov", "y4m")


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
@click.option(
    "-y",
    "-f",
    "--yes",
    "overwrite",
    is_flag=True,
    help="Replace outputs of other inputs or options.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@json_option
def batch(
    inputs: tuple[str, ...],
    output: str,
    recursive: bool,
    decoding: bool,
    ending: str,
    jobs: int,
    part: tuple[int, int],
    ray: str | None,
    resume: bool,
    dry_run: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode many videos, or decode many .stp files, into the folder OUTDIR.

    What is done and intact is skipped, so the same command goes on where one was killed; a file
    that fails does not stop the others. The options of encode, and with --decode those of decode,
    hold for each file. Exit code 1 if any file failed.
    """
    from stcodec.batch.run import Batch, Settings

    settings = Settings(
        inputs, output, recursive, decoding, f".{ending}" if decoding else ".stp", given_options(options),
        overwrite, jobs, part,
    )  # fmt: skip
    if given_options({"ending": ending}) and not decoding:
        raise UsageError("--to needs --decode")
    if resume:
        settings = _resumed(settings)
    if not settings.inputs:
        raise UsageError("no input is named")
    _check_options(settings)
    planned = Batch(settings)
    if dry_run:
        _show_plan(planned, as_json)
    else:
        _run(planned, ray, quiet, as_json)


def _resumed(settings: Settings) -> Settings:
    """The settings of the last batch of the folder, under what is given."""
    from stcodec.batch.state import State

    known = State(settings.output).settings
    if known is None:
        if settings.inputs:
            return settings
        raise UsageError(f"{settings.output}: there is no batch to resume")
    if not settings.inputs:
        settings = dataclasses.replace(
            settings, **{n: known[n] for n in ("recursive", "decode", "ending")}
        )
        settings = dataclasses.replace(settings, inputs=tuple(known["inputs"]))
    if settings.decode == known["decode"]:
        settings = dataclasses.replace(settings, options={**known["options"], **settings.options})
    return settings


def _check_options(settings: Settings) -> None:
    kind = DecodeOptions if settings.decode else EncodeOptions
    foreign = set(settings.options) - {f.name for f in dataclasses.fields(kind)}
    if foreign:
        name = min(foreign).replace("_", "-")
        raise UsageError(
            f"--{name} goes {'with encoding' if settings.decode else 'with --decode'} only"
        )
    targets = [name for name in TARGETS if name in settings.options]
    if "quality" in settings.options and targets:
        raise UsageError(f"--{targets[0].replace('_', '-')} and --quality exclude each other")


def _show_plan(planned: Batch, as_json: bool) -> None:
    from stcodec.batch import messages

    for entry in planned.entries:
        value = messages.planned_fields(entry, planned)
        if as_json:
            report.print_json("planned", **value)
        else:
            why = f" ({entry.reason})" if entry.reason else ""
            report.tell(f"{value['action']:<6} {entry.task.source} -> {value['output']}{why}")


def _pool(planned: Batch, ray: str | None) -> Callable[[int], Pool]:
    """What makes the pool for a number of jobs at a time."""
    if ray is None:
        from stcodec.batch.pool import LocalPool

        return LocalPool
    from stcodec.batch.ray_pool import RayPool

    options = planned.settings.options
    device, threads = options.get("device", ""), options.get("threads", 0)
    return lambda _: RayPool(ray, device, planned.settings.jobs, threads)


def _run(planned: Batch, ray: str | None, quiet: bool, as_json: bool) -> None:
    from stcodec.batch import messages

    begun, finished, of = time.monotonic(), 0, len(planned.entries)
    spoken = begun
    if as_json:
        report.print_json("batch", **messages.begun_fields(planned))
    try:
        with contextlib.closing(planned.run(_pool(planned, ray))) as events:
            for event in events:
                finished += event.kind not in ("started", "progress")
                if as_json:
                    report.print_json(event.kind, **messages.fields(event, planned))
                if event.kind == "progress" and time.monotonic() - spoken < _SECONDS_BETWEEN_LINES:
                    continue
                spoken = time.monotonic()
                text = messages.line(event, finished, of)
                if text is not None and (event.kind == "failed" or not (quiet or as_json)):
                    report.tell(text)
                for line in event.values.get("notes", ()):
                    report.note(f"{event.entry.task.source}: {line}", quiet or as_json)
    except KeyboardInterrupt:
        left = sum(e.state == "waiting" for e in planned.entries)
        what = "1 file is" if left == 1 else f"{left} files are"
        report.note(f"{what} left: stcodec batch --resume -o {planned.settings.output}", quiet)
        raise
    if as_json:
        report.print_json("batch_ended", **messages.ended_fields(planned, time.monotonic() - begun))
    elif not quiet:
        report.tell("\n".join(messages.table(planned.entries)))
    failed = sum(e.state == "failed" for e in planned.entries)
    if failed:
        raise StcodecError(f"{failed} of {of} files failed")
