"""What bits are worth by what the eye makes of errors: they show where a picture is smooth, and
hide in texture. So textured patches pay more for a bit than smooth ones (the idea of x264's
adaptive quantisation, in the price alone, since the format has one step for a whole frame).

Structural similarity says by how much: it divides errors by the variance around them, and a
constant. Nothing here is normative.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stcodec.codec.patches import PatchSize
from stcodec.encoder import tuning


def price_factors(luma: Tensor, patch: PatchSize, strength: float) -> Tensor:
    """What a bit costs in each patch [patches] of a picture [1, 1, H, W] in [0, 1], against what it
    costs on (geometric) average. strength: 0 (the same everywhere) to 1 (all that structural
    similarity says)."""
    size = patch.h, patch.w
    mean = F.avg_pool2d(luma, size)
    variance = (F.avg_pool2d(luma * luma, size) - mean * mean).clamp_(min=0.0)
    level = (2 * variance + tuning.ACTIVITY_LEAST).log_().view(-1)
    return _centred(_centred(level).mul_(strength).clamp_(*tuning.ACTIVITY_RANGE)).exp_()


def _centred(values: Tensor) -> Tensor:
    """Without their mean."""
    return values - values.mean()
