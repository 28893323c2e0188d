"""Regenerate docs/cli.md from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from stcodec.terminal.cli import commands

_HEAD = """# Commands

Written by `python docs/make_cli.py`; the text is what `--help` prints.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failure (model missing, disk full, ...) |
| 2 | usage |
| 3 | damaged or unreadable input |
| 4 | output exists |
| 5 | target out of reach |
| 130 | interrupted |

Of several files, `info` and `verify` look at all, and end with the highest exit code of any.

An error is one line on stderr. An error that stcodec did not foresee says so and asks for a report:
its exit code is 1, and with `-v`, or with `STCODEC_DEBUG=1` in the environment, a traceback comes
first. Ctrl-C, SIGTERM and SIGHUP end a command with exit code 130 once it has removed what is not
complete; more of them within two seconds change nothing. They are the usual end of `record`: its
exit code is 0 then ([live.md](live.md)).

## Outputs

An output has its name only when it is complete. One that exists is replaced with `-y`, refused with
`-n`, and otherwise a person at a terminal is asked. `-` is standard output, which is refused where
it is a terminal. An output that a command takes as its last argument can be given as `-o` as well.
`decode film.stp` alone makes `film.decoded.mp4`, never `film.mp4`, which may be what the film was
made of. `encode`, `concat` and `split` write `.stp` files, and refuse a name with the
ending of another kind of video or of a picture, with `-y` too: `encode in.mp4 out.mp4` is a
mistake, and would be a file that no player opens.

## Compiled loops

Some loops are compiled on first use: for half a minute to a minute before the first encode, and up
to half a minute before the first decode where nothing was encoded before. Each command that has to
wait says so. What is compiled (about 3 MB) is kept in the folder that the environment variable
`NUMBA_CACHE_DIR` names; without it, beside the installed package, or where that cannot be written,
in the user's cache (`~/.cache/numba` on Linux). It is compiled again after an update of stcodec, of
Python or of numba, on another kind of CPU, and where a file of it is damaged. Where no folder takes
it (read-only, full), each run compiles for itself, and the outputs are the same.
`NUMBA_DISABLE_JIT` is passed over. To compile ahead, in an image of a container for one:
`python -c "from stcodec.encoder.choice import warm_up; warm_up()"`.

## JSON

With `--json`, a command prints objects on stdout, one per line. Each has `event`, which says what
it is, and `version`, which is 1. A version promises that events and their fields are not renamed,
not removed and do not change their meaning; new events and new fields may come without a new
version, so skip those that you do not know. `bench payloads`, `bench rd` and `bench speed`
write one such object into the file that their `--json` names. Sizes are bytes, times seconds,
`notes` a list of lines for a person, which stderr has, too. The text is ASCII, with escapes for all
else; a byte of a file's name that is not UTF-8 becomes U+FFFD.

| event | of | fields |
|---|---|---|
| progress | encode, decode, batch | `input`, `output`; `frames` done, of `total` (null: not known); at most two a second and file, none with `--quiet` or `--progress none` |
| tried | encode to a target | `quality`; what samples say of it: `output_bytes`, `psnr`, `ms_ssim`, `vmaf`, `xpsnr` (null: not measured); none with `--quiet` |
| encoded | encode, batch | `input`, `output`, `frames`, `width`, `height`, `duration`, `input_bytes` (null: not known), `output_bytes`, `seconds`, `notes`; `untouched`: but for the coding of pictures, nothing was left out, mended or converted; `removed`: the input was, by `--remove-source` |
| decoded | decode, batch | `input`, `output`, `frames`, `width`, `height`, `input_bytes`, `seconds`, `notes`; of `decode --salvage` also `lost`: a list of `what` ("pictures", or a text), `start`, `end` (null: to the end), `frames` (null: not known, or no pictures) |
| info | info | `path`, `width`, `height`, `frames`, `duration`, `streams`, `metadata`, `chapters`, `attachments` and what else `info` prints |
| described | info, of a video that is no .stp file | `path`, `format`, `bytes` (null: not known), `duration`, `bit_rate`, `chapters`, `attachments`, `metadata`; `tracks`: a list of `kind`, `number`, `codec`, `details`, `language`, `title`, `disposition`, `fate`; what encode `keeps`, `converts`, `loses`, and `remarks`: lists of lines |
| verified | verify | `input`, `intact`, `chunks`, `frames`, `damaged` (a list of `chunk`, `message`), `lost` as above |
| failed | info, verify | of several files, one each that fails: `input`, `message`, `exit_code` that the command would have for it alone |
| sampled | sample | `input`, `quality`, `output_bytes`, `bit_rate`, `psnr`, `ms_ssim`, `sampled_frames`, `frames`, `duration` |
| codec | codecs, one per encoder | `name`, `coding` that it makes, `endings` of the files that take it, `description` |
| compared | compare | `reference`, `distorted`, `width`, `height`, `bit_depth`, `matched_by`, `frames`, `bits_per_pixel`, `notes`; `summary`: of each metric `mean`, `min`, percentiles `p1` and `p5`, `worst` picture; `scores`: of each metric, by picture, with the `numbers` and `times` of the reference's pictures |
| joined | concat | `inputs`, `output`, `frames`, `output_bytes`, `notes` |
| found | events and record --events, one per event | `input`, `start`, `end`, `strength`, `box` (x, y, width, height), `peak`, `peak_frame` |
| learned | events --learn | `inputs`, `output`, `hours` of the day (whole numbers) |
| watched | events, one per file | `input`, `events`, `duration` |
| written | record, one per file | `input`, `output`, `frames`, `duration`, `output_bytes` |
| changed | record | `input`; how pictures are coded from now on: `effort`, `quality`, `share` of the pictures ("1/2"); `lag`, by which it was behind |
| left_out | record | `input`, `frames` that found no room since this was last said |
| lost, back | record | `input`; `message`; `seconds` that it was away |
| removed, finished | record | `output` that was too old; that had broken off and is complete now, with its `frames` |
| happens | record --events | `input` (the file), `start`, `box`; what is over is `found` |
| recorded | record | the last: `input`, `files`, `frames`, `left_out`, `duration` |
| keyframe | keyframes, one per picture | `input`, `output`, `picture`, `time` |
| part | split and events --extract, one per part | `input`, `output`, `frames`, `start`, `output_bytes` |
| rate_distortion, speed | bench | `machine`; `clips`, `curves`; `speed`, `complexity` |
| payloads | bench | `machine`, `frames`, `settings`, `clips`; `curves`: by clip and codec, what was measured at each setting |
| error | each | the last line of a command that ends with another exit code than 0: `message`, `exit_code` |

Of `batch` alone, each with `input` and `output` unless it is about the whole:

| event | fields |
|---|---|
| batch | the first: `files` in all, those `waiting`, `jobs` at a time |
| started | `node` of a Ray cluster |
| skipped | `message` |
| failed | `message`, `exit_code` that the single command would have; `output` is null if there is no such input |
| batch_ended | after all files: those `done`, `skipped` and `failed`; `input_bytes`, `output_bytes` of those done; `seconds` |
| planned | of `--dry-run`, one per file: `action` (encode, decode, skip, fail), `message` |
"""  # noqa: E501


def _commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    settings = {"terminal_width": 100, "max_content_width": 100} if parent is None else {}
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _commands(found, child, context)


def page() -> str:
    """The whole page."""
    parts = [
        f"## {name}\n\n```\n{text.rstrip()}\n```\n" for name, text in _commands(commands, "stcodec")
    ]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    (Path(__file__).parent / "cli.md").write_text(page())
