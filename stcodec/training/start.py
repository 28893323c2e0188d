"""What a run starts from: a model, or one of another shape with what can be kept of it."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from stcodec.codec.model_files import Model
from stcodec.codec.network import ModelConfig, Network, Surroundings


def start_from(base: Model, config: ModelConfig) -> Model:
    """A model of another shape with what is fitted in `base`; the same one where the shape is the
    same. A wider network of surroundings says what that of `base` says, until it is trained."""
    if config == base.config:
        return dataclasses.replace(base, network=copy.deepcopy(base.network))
    network = Network(config).eval()
    # What has the same shape stays, so that one part can be new and the others go on.
    kept = base.network.state_dict()
    own = network.state_dict()
    network.load_state_dict(
        {k: kept[k] if k in kept and kept[k].shape == v.shape else v for k, v in own.items()}
    )
    if 0 < base.config.intra_width < config.intra_width:
        widen(base.network.surroundings, network.surroundings)
    return dataclasses.replace(base, config=config, network=network)


@torch.no_grad()
def widen(old: Surroundings, new: Surroundings) -> None:
    """Make `new` say what the narrower `old` says: its units are among those of `new`, where they
    do not listen to the others yet (Net2Net: Chen et al., arXiv 1511.05641)."""
    narrow, wide = (_layers(network, "enter")[0].out_features for network in (old, new))
    for before, after in ((old.quality, new.quality), (old.lattice, new.lattice)):
        # Scales, then shifts.
        after[:, :narrow] = before[:, :narrow]
        after[:, wide : wide + narrow] = before[:, narrow:]
    for name in ("enter", "mix", "middle", "end", "begin"):
        for one, other in zip(_layers(old, name), _layers(new, name), strict=True):
            _place(one, other, narrow if name == "begin" else one.in_features)


def _layers(network: Surroundings, name: str) -> list[nn.Linear]:
    return [layer for layer in getattr(network, name) if isinstance(layer, nn.Linear)]


def _place(old: nn.Linear, new: nn.Linear, features: int) -> None:
    """The units of `old` become the first of `new`. Its first `features` inputs are the first
    there, too, its others the last."""
    units, others = old.out_features, old.in_features - features
    new.bias[:units] = old.bias
    weight: Tensor = new.weight[:units]
    weight.zero_()
    weight[:, :features] = old.weight[:, :features]
    if others:
        weight[:, -others:] = old.weight[:, features:]
