"""Planes of samples at another size."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def resized(plane: np.ndarray, height: int, width: int, bit_depth: int = 8) -> np.ndarray:
    """A plane of samples of `bit_depth` bits as uint8 [height, width], each rounded once: bicubic,
    antialiased."""
    if plane.shape == (height, width) and bit_depth == 8:
        return plane
    tensor = torch.from_numpy(plane.astype(np.float32) / (1 << (bit_depth - 8)))[None, None]
    scaled = F.interpolate(
        tensor, (height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return scaled[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()
