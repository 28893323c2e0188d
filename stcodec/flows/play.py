"""A `.stp` file on the screen: its pictures, piped into a player as YUV4MPEG2."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import webbrowser
from typing import BinaryIO, cast

from stcodec.common.interrupts import check_interrupt
from stcodec.common.values import PathLike
from stcodec.errors import StcodecError
from stcodec.flows.reading import open_stp
from stcodec.media.y4m import Y4MWriter
from stcodec.options import DecodeOptions

_SECONDS_TO_CLOSE = 5
# Arguments that have a player read YUV4MPEG2 from standard input, say only what goes wrong, and end
# with the video.
_PLAYERS = {
    "ffplay": ("-hide_banner", "-loglevel", "error", "-autoexit", "-f", "yuv4mpegpipe", "-i", "-"),
    "mpv": ("--really-quiet", "--no-input-terminal", "-"),
}


def find_player() -> list[str] | None:
    """The command line of the first player on PATH, None where there is none."""
    for name, arguments in _PLAYERS.items():
        path = shutil.which(name)
        if path is not None:
            return [path, *arguments]
    return None


def play(source: PathLike, options: DecodeOptions, command: list[str]) -> tuple[str, ...]:
    """Show `source`, from `options.start` to `options.end`, in the player that `command` starts,
    until it ends or the player is closed; returns notes for a user.

    Raises StcodecError where the player fails, InputError and its kinds for the file.
    """
    with (
        open_stp(source, options.start, options.end, options.max_pixels) as opened,
        contextlib.closing(opened.decoded(options.device, options.threads)) as items,
    ):
        # The first picture before the window opens: what cannot be decoded shows none.
        first = next(items, None)
        # A player that was found on PATH; nothing of the file is among its arguments.
        player = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
        pipe = cast(BinaryIO, player.stdin)
        try:
            # A player that is closed before the end closes its pipe.
            with contextlib.suppress(BrokenPipeError):
                writer = Y4MWriter(pipe, opened.info, opened.reader.streams)
                if first is not None:
                    writer.write(first)
                for item in items:
                    writer.write(item)
                writer.close()
                pipe.close()
            check_interrupt()
            code = player.wait()
        finally:
            _close(player)
            # Not before: a player that does not read would keep what is left waiting.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if code:
            raise StcodecError(f"{os.path.basename(command[0])} failed with exit code {code}")
    return tuple(writer.notes)


def open_browser(url: str) -> None:
    """Show `url` in a browser with windows, if there is one: one of text would take the terminal,
    and plays nothing."""
    if (
        sys.platform in ("win32", "darwin")
        or os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
    ):
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(url)


def _close(player: subprocess.Popen[bytes]) -> None:
    """End a player that still runs."""
    if player.poll() is None:
        player.terminate()
        try:
            player.wait(_SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            player.kill()
            player.wait()
