"""`stcodec play`."""

from __future__ import annotations

from typing import Any

import click

from stcodec.commands.imports import large_imports
from stcodec.commands.shared import (
    device_options,
    option,
    part_options,
    quiet_option,
)
from stcodec.commands.types import FILE
from stcodec.common.files import check_input
from stcodec.options import DecodeOptions
from stcodec.terminal import summaries
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("source", type=FILE, metavar="FILE.stp")
@part_options(DecodeOptions)
@device_options(DecodeOptions)
@option(DecodeOptions, "max_pixels", "--max-pixels", type=int)
@click.option("--serve", is_flag=True, help="Play in a browser, even where there is a player.")
@click.option("--no-open", is_flag=True, help="Print the address of the page, and open no browser.")
@quiet_option("Print errors and the address only.")
def play(source: str, serve: bool, no_open: bool, quiet: bool, **options: Any) -> None:
    """Show FILE.stp in ffplay or mpv, whichever is on PATH: pictures at the nominal frame rate, no
    sound.

    Without them, or with --serve, in a browser, with sound: a page that this machine alone can
    reach plays the stream while it is being decoded, until Ctrl-C.
    """
    chosen, said = DecodeOptions(**options), Reporter(quiet=quiet)
    check_input(source)
    with large_imports():
        from stcodec.flows import play
        from stcodec.flows.compiling import tell_who_waits

    tell_who_waits(said.note)
    player = None if serve or no_open else play.find_player()
    if player is not None:
        for line in play.play(source, chosen, player):
            said.note(f"{source}: {line}")
        return
    from stcodec.flows.serve import PlayServer

    if not (serve or no_open):
        said.note("there is no ffplay or mpv on PATH: a browser plays it")
    with PlayServer(source, chosen, said.note) as server:
        summaries.serving(source, server.url)
        if not no_open:
            play.open_browser(server.url)
        server.run()
