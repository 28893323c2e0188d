"""From what a user calls a device to a torch device."""

from __future__ import annotations

import torch

from stcodec.errors import UsageError
from stcodec.options import AUTO_DEVICE


def choose_device(name: str) -> torch.device:
    """The device called `name` ("auto": the first GPU, else the CPU). UsageError for a device that
    does not exist here."""
    if name == AUTO_DEVICE:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"{name!r} is no device (auto, cpu, cuda, cuda:N or mps)") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise UsageError(f"device {name!r} is not available on this machine")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no GPU number {device.index}")
    return device
