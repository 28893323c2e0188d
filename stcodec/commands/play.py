"""`stcodec play`."""

from __future__ import annotations

from typing import Any

import click

from stcodec.commands.shared import FILE, option, part_options
from stcodec.options import DecodeOptions
from stcodec.terminal import report


@click.command()
@click.argument("source", type=FILE, metavar="FILE.stp")
@part_options(DecodeOptions)
@option(DecodeOptions, "device", "--device")
@option(DecodeOptions, "threads", "--threads", type=int)
@click.option("--serve", is_flag=True, help="Play in a browser, even where there is a player.")
@click.option("--no-open", is_flag=True, help="Print the address of the page, and open no browser.")
@click.option("--quiet", is_flag=True, help="Print errors and the address only.")
def play(source: str, serve: bool, no_open: bool, quiet: bool, **options: Any) -> None:
    """Show FILE.stp in ffplay or mpv, whichever is on PATH: pictures at the nominal frame rate, no
    sound.

    Without them, or with --serve, in a browser, with sound: a page that this machine alone can
    reach plays the stream while it is being decoded, until Ctrl-C.
    """
    chosen = DecodeOptions(**options)
    from stcodec.flows import play

    player = None if serve or no_open else play.find_player()
    if player is not None:
        for line in play.play(source, chosen, player):
            report.note(f"{source}: {line}", quiet)
        return
    from stcodec.flows.serve import PlayServer

    if not serve:
        report.note("there is no ffplay or mpv on PATH: a browser plays it", quiet or no_open)
    with PlayServer(source, chosen, lambda line: report.note(line, quiet)) as server:
        report.serving(source, server.url)
        if not no_open:
            play.open_browser(server.url)
        server.run()
