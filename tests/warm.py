"""What the server of `tests/forked.py` has before it forks: modules of the command, and the
compiled loops, which each run would read from disk again."""

from __future__ import annotations

import importlib
import os

# A pool of threads would not be there after a fork.
os.environ["OMP_NUM_THREADS"] = "1"

for _name in (
    "stcodec.terminal.cli",
    "stcodec.flows.targets",
    "stcodec.flows.decode",
    "stcodec.flows.library",
    "stcodec.flows.record",
    "stcodec.commands.encode",
    "stcodec.commands.record",
):
    importlib.import_module(_name)

from stcodec.encoder import choice  # noqa: E402

choice.warm_up()
