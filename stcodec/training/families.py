"""Families of models: what each is made of, as options of the commands that make it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """linear: options of `linear`; networks: of `train`, none if the family has no networks."""

    says: str
    linear: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, Any] = field(default_factory=dict)


# Few predicted channels are fitted from few crops, and models stay small.
_PREDICTED = {"predicted": 24}
_NETWORKS = {
    "width": 64,
    "prior_blocks": 1,
    "filter_blocks": 2,
    "memory": 16,
    "leaf_share": 0.1,
    "learning_rate": 1.5e-3,
}

FAMILIES: dict[str, Family] = {
    "8x8": Family("DCT of patches of 8x8x8, linear: what the others change", _PREDICTED),
    "16x16": Family("patches of 16x16x8", {"patch": (16, 16), **_PREDICTED}),
    "32x32": Family("patches of 32x32x8", {"patch": (32, 32), **_PREDICTED}),
    "dwt": Family("wavelets instead of cosines", {"transform": "dwt", **_PREDICTED}),
    "overlapping": Family("patches that overlap", {"overlap": True, **_PREDICTED}),
    "adaptive": Family(
        "16x16x8, each whole, in four or in sixteen",
        {"patch": (16, 16), "divisions": 3, **_PREDICTED},
    ),
    "cnn": Family("networks of convolution blocks, with memory", _PREDICTED, _NETWORKS),
    "cnn-no-memory": Family("the same without memory", _PREDICTED, {**_NETWORKS, "memory": 0}),
    "transformer": Family(
        "networks of Transformer blocks, with memory",
        _PREDICTED,
        {**_NETWORKS, "block": "attention"},
    ),
}
"""By name; what a family says is against the first one."""
