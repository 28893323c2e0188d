"""Regenerate docs/cli.md from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from stcodec.cli import commands

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

## JSON

With `--json`, `encode` and `decode` print one object per line on stdout, `info`, `sample`, `compare` and `concat` one object, `split`
one per part; `event` says what it is ("encoded", "decoded", "sampled", "compared", "joined", "part"). Sizes are bytes, times seconds,
`notes` a list of lines for a person. In "compared", `summary` has the mean, minimum, percentiles (`p1`, `p5`) and worst picture of
each metric, `scores` a list of each metric by picture, with the `numbers` and `times` of the reference's pictures. Fields may be
added, never renamed.

`batch` prints events as they happen, each with `input` and `output` unless it is about the whole:

| event | fields |
|---|---|
| batch | the first: `version` (1) of these events, `files` in all, those `waiting`, `jobs` at a time |
| started | `node` of a Ray cluster |
| progress | `frames` done, of `total` (null: not known); at most two a second and file |
| encoded, decoded | as of `encode` and `decode`: the output is complete |
| skipped | `message` |
| failed | `message`, `exit_code` that the single command would have; `output` is null if there is no such input |
| batch_ended | the last: files `done`, `skipped` and `failed`; `input_bytes`, `output_bytes` of those done; `seconds` |
| planned | of `--dry-run`, one per file: `action` (encode, decode, skip, fail), `message` |
"""


def _commands(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
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
    parts = [f"## {name}\n\n```\n{text.rstrip()}\n```\n" for name, text in _commands(commands, "stcodec")]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    (Path(__file__).parent / "cli.md").write_text(page())
