"""`stcodec completion`."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL: eval "$(stcodec completion bash)"."""
    from click.shell_completion import get_completion_class

    from stcodec.terminal.cli import commands

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(commands, {}, "stcodec", "_STCODEC_COMPLETE").source())
