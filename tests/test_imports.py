"""What a command leaves out when it imports torch can still be imported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, sys
from stcodec.commands.imports import large_imports
with large_imports():
    import torch
    assert not gc.isenabled()
assert gc.isenabled()
assert "torch._refs" not in sys.modules or not torch.__version__.startswith("2.13.")
assert torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)).item() == 9
import torch._meta_registrations as module
assert module.__file__
assert (torch.empty(2, 3, device="meta") @ torch.empty(3, 4, device="meta")).shape == (2, 4)
"""


def test_what_is_left_out_can_be_imported_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
