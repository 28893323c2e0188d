"""`stcodec record`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
from typing import Any

import click

from stcodec.commands.imports import large_imports
from stcodec.commands.shared import (
    check_target,
    coder_options,
    json_option,
    option,
    policy,
    progress_option,
    quiet_option,
    source_options,
    yes_option,
)
from stcodec.commands.types import FILE, Setting, Span
from stcodec.common.files import check_input, check_output, is_standard_stream
from stcodec.common.values import Progress
from stcodec.errors import UsageError
from stcodec.options import EncodeOptions, RecordOptions, help_text
from stcodec.terminal.failures import ends_on_signals
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.recording import Recording
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE)
@click.argument("target", type=FILE, metavar="OUT.stp")
@option(RecordOptions, "every", "--every", type=Span())
@option(RecordOptions, "keep", "--keep", type=Span())
@option(RecordOptions, "duration", "--duration", type=Span())
@click.option("--realtime", is_flag=True, help=help_text(RecordOptions, "realtime"))
@click.option("--events", is_flag=True, help="Print what happens, as `stcodec events` finds it.")
@click.option(
    "--on-event",
    "command",
    metavar="CMD",
    help="Start CMD, without a shell, when something begins and when it is over; STCODEC_EVENT "
    "(begin, end), STCODEC_FILE, STCODEC_TIME and others in its environment say what.",
)
@click.option(
    "--normal",
    "learned",
    type=FILE,
    metavar="FILE.json",
    help="What is normal, by `events --learn`; else it is what was seen lately.",
)
@option(RecordOptions, "timeout", "--timeout", type=Span())
@option(RecordOptions, "give_up", "--give-up", type=Span())
@option(RecordOptions, "format", "--format")
@click.option(
    "--source-option",
    "settings",
    type=Setting(),
    multiple=True,
    help="An option of FFmpeg for the source, such as rtsp_transport=udp or video_size=1280x720.",
)
@click.option("--adapt/--no-adapt", default=True, help=help_text(RecordOptions, "adapt"))
@coder_options
@source_options
@progress_option
@yes_option()
@quiet_option()
@json_option
def record(
    source: str,
    target: str,
    every: float | None,
    keep: float | None,
    duration: float | None,
    realtime: bool,
    events: bool,
    command: str | None,
    learned: str | None,
    timeout: float,
    give_up: float | None,
    format: str | None,
    settings: tuple[tuple[str, str], ...],
    adapt: bool,
    shown: str,
    overwrite: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Record SOURCE into OUT.stp, or into files by time, until it ends or Ctrl-C ends it.

    SOURCE is a camera (/dev/video0), an address (rtsp://, http://), a pipe ("-") or a file. With
    --every, OUT has fields of time, as strftime knows them: %Y %m %d %H %M %S %j.

    \b
    stcodec record rtsp://camera/ cam-%Y%m%d-%H%M.stp --every 10m --keep 7d
    """
    said = Reporter(as_json, quiet)
    check_target(target)
    if is_standard_stream(target):
        raise UsageError("record writes files; `stcodec encode - -` writes a stream")
    coding = EncodeOptions(**options)
    chosen = RecordOptions(every, keep, realtime, duration, timeout, give_up, format, adapt)
    with large_imports():
        from stcodec.flows import camera
        from stcodec.flows.calling import Caller
        from stcodec.flows.compiling import tell_who_waits
        from stcodec.flows.record import record_steps
        from stcodec.flows.recordings import Recordings
        from stcodec.flows.watch import Seen, Watch
        from stcodec.media.live import find_live
    live = find_live(source, format, dict(settings), timeout)
    if live is None:
        check_input(source)
    recordings = Recordings(target)
    recordings.check(every, keep)
    coding = dataclasses.replace(coding, overwrite=policy(overwrite, target))
    check_output(recordings.path(0.0), coding.overwrite, None if live is not None else source)
    watch = None
    if events or command is not None:
        watch = Watch(1.0, None if learned is None else camera.read(learned))
    elif learned is not None:
        raise UsageError("--normal goes with --events or --on-event")
    name = source if live is None else live.name
    told = Recording(said, name, events)
    tell_who_waits(said.note)
    stop = threading.Event()
    if shown == "auto":
        shown = "bar" if sys.stderr.isatty() else "none"
    with contextlib.ExitStack() as stack:
        caller = None if command is None else stack.enter_context(Caller(command, told.note))
        progress = stack.enter_context(ProgressReport(f"recording {name}", said, shown))
        signals = stack.enter_context(ends_on_signals(stop))
        files = 0
        for news in record_steps(live or source, recordings, coding, chosen, stop, watch):
            if isinstance(news, Progress):
                progress.update(news)
                continue
            if isinstance(news, Seen) and caller is not None:
                caller.call(news)
            told.tell(news)
            files = getattr(news, "files", files)
    if signals and not files:
        raise KeyboardInterrupt
