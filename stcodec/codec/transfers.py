"""Tensors from the host to a device and back, few at a time: each copy of a GPU costs more than
what it copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ALIGNED = 16  # bytes


def upload(parts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The same tensors of the CPU on a device, by one copy, for which the host does not wait."""
    if device.type == "cpu":
        return list(parts)
    starts, size = [], 0
    for part in parts:
        starts.append(size)
        size += -(-part.numel() * part.element_size() // _ALIGNED) * _ALIGNED
    # From other memory than pinned, the copy would begin with one into such.
    packed = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")

    def views(packed: Tensor) -> list[Tensor]:
        ends = (s + p.numel() * p.element_size() for s, p in zip(starts, parts, strict=True))
        return [
            packed[start:end].view(part.dtype).view(part.shape)
            for start, end, part in zip(starts, ends, parts, strict=True)
        ]

    for view, part in zip(views(packed), parts, strict=True):
        view.copy_(part)
    # What MPS copies without waiting may be freed too early.
    return views(packed.to(device, non_blocking=device.type != "mps"))


def download(tensor: Tensor) -> Tensor:
    """A tensor of a device on the CPU, after all that it waits for. The tensor itself if it is
    there."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)
