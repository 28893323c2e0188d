"""What was probably meant by a command or an option that there is not: words of other tools, and
slips of the keyboard."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Collection

import click

_COMMANDS = {
    "encode": ("compress", "convert", "transcode", "enc"),
    "decode": ("decompress", "extract", "export", "dec"),
    "info": ("probe", "scan", "list", "ls", "identify", "inspect"),
    "verify": ("test", "check"),
    "concat": ("join", "merge", "cat"),
    "split": ("cut", "segment"),
    "compare": ("diff", "psnr", "vmaf", "ssim"),
    "play": ("view", "show", "watch"),
    "record": ("capture",),
    "codecs": ("encoders",),
    "--help": ("help",),
    "--version": ("version",),
}
# By what it does: options of ours, the first that a command has, and what others call it.
_OPTIONS = (
    (("--quality", "--crf"), ("crf", "qp", "q", "qscale", "quality", "cq", "rf")),
    (("--effort",), ("preset", "speed", "cpu-used", "level", "slow", "fast", "best")),
    (("--target-bitrate",), ("b", "bitrate", "vb", "b:v", "maxrate")),
    (("--target-size",), ("size", "fs")),
    (("--start",), ("ss", "from", "start-at", "seek")),
    (("--end",), ("to", "until", "stop-at")),
    (("--duration",), ("t", "length")),
    (("--fps", "--rate"), ("r", "rate", "framerate", "fps")),
    (("--scale",), ("s", "resize", "resolution", "width", "height", "vf", "filter")),
    (("--no-audio",), ("an", "mute")),
    (("--audio",), ("acodec", "aencoder", "c:a", "codec:a", "ab", "b:a", "audio-codec")),
    (("--codec",), ("vcodec", "c:v", "codec:v", "encoder", "c")),
    (("--tracks",), ("map", "track", "streams")),
    (("--subtitles",), ("sn", "subs", "subtitle")),
    (("--yes",), ("force", "overwrite")),
    (("--output",), ("out", "outfile", "dest", "output-dir")),
    (("--remove-source",), ("rm", "remove", "delete")),
    (("--device",), ("gpu", "cuda", "hwaccel", "cpu")),
    (("--deinterlace",), ("deint", "yadif", "bwdif")),
    (("--quiet",), ("silent", "loglevel", "hide_banner")),
    (("--verbose",), ("debug", "stats")),
)
# What of -vf there is.
_FILTERS = ("--scale", "--crop", "--fps", "--deinterlace")
_CLOSE = 0.6  # of `difflib`, how alike two words are


class Group(click.Group):
    """A group of commands that says which one may be meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(unknown_command(name, known, ctx.command_path), ctx)
        return super().resolve_command(ctx, args)


def unknown_command(name: str, known: Collection[str], path: str) -> str:
    """One line on a command that there is not; known: those that there are; path: what comes before
    it."""
    if "encode" in known and (os.path.exists(name) or os.path.splitext(name)[1]):
        command = "decode" if name.lower().endswith(".stp") else "encode"
        return f"{name!r} is the name of a file; the command comes before it: {path} {command} IN"
    meant = [ours for ours, words in _COMMANDS.items() if name.lower() in words]
    meant = [m for m in meant if m.startswith("-") or m in known]
    return f"No such command {name!r}{_ask(meant or _alike(name, known))}"


def unknown_option(error: click.NoSuchOption) -> str:
    """One line on an option that there is not."""
    name, command = error.option_name, error.ctx and error.ctx.command
    params = [p for p in (command.params if command else ()) if not getattr(p, "hidden", False)]
    known = [o for p in params for o in p.opts]
    if len(name) == 2:  # click takes -crf for -c, -r and -f
        whole = (w.split("=")[0] for w in sys.argv[1:] if w.startswith(name))
        name = next((w for w in whole if w[2:3].isalpha() or w[2:3] == ":"), name)
    word = name.lstrip("-")
    if word == "i":
        return "No such option -i: inputs are named without it, as in stcodec encode IN OUT.stp"
    ours = next((ours for ours, words in _OPTIONS if word in words), ())
    meant = [o for o in (f"--{word}", *ours) if o in known][:1]
    return f"No such option {name}{_ask(meant or _alike(f'--{word}', known))}"


def filters_meant(context: click.Context) -> str | None:
    """One line on ffmpeg's -vf, which click takes for -v and -f, and its filter for a file."""
    if "-vf" not in sys.argv[1:]:
        return None
    known = [o for p in context.command.params for o in p.opts]
    return f"No such option -vf{_ask([o for o in _FILTERS if o in known])}"


def _alike(word: str, known: Collection[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), 2, _CLOSE)


def _ask(meant: list[str]) -> str:
    return f": is {' or '.join(meant)} meant?" if meant else ""
