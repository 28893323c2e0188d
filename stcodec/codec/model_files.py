"""Models: from an id or a path to a safetensors file, its hash, and the parts of the codec that it
holds.

Tensors in the file: `network.*` (floating point, float16 or float32),
`scales.{intra,other}.G.{w1,b1,w2,b2}` (int8 and int32, one set per frequency group), `tables.sizes`
and `tables.counts` (int32: all frozen tables one after another), `vectors.*` (int32). The file's
metadata holds the `ModelConfig` as JSON under `config`.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from stcodec.codec import divisions
from stcodec.codec.blocks import Pointwise
from stcodec.codec.entropy import Tables
from stcodec.codec.loop_filter import GROUPS, KNOTS, PLANES
from stcodec.codec.loop_filter_classes import CLASSES as FILTERS
from stcodec.codec.loop_filter_classes import TAPS
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import CHUNK_FRAMES, PatchSize
from stcodec.codec.scales import (
    BANDS,
    CLASSES,
    INTRA_LATTICES,
    PREDICTORS,
    SCALARS,
    SCALE_COUNT,
    GroupNetwork,
    ScaleNetworks,
    network_name,
)
from stcodec.codec.vectors import MotionStart
from stcodec.errors import ModelError

_PARTS = ("w1", "b1", "w2", "b2")
_MOST_BYTES = 256 << 20
"""Of a model's file."""
_MOST_UNITS = 1 << 16
"""Channels or blocks that a model's config may name."""
_LONGEST_TABLE = 1 << 14
_PATCH_SIDES = (4, 8, 16, 32)


@dataclass
class Model:
    """A loaded model. `id` is its file's stem, `sha256` that of the file's bytes (32 bytes)."""

    id: str
    sha256: bytes
    config: ModelConfig
    network: Network
    scale_networks: ScaleNetworks
    tables: Tables
    motion_start: MotionStart
    filter_start: np.ndarray | None = None

    def network_on(self, device: torch.device) -> Network:
        """The floating-point networks on a device: a copy where that is not the CPU, on which the
        integers are worked with in any case."""
        if device.type == "cpu":
            return self.network
        return copy.deepcopy(self.network).to(device)


def model_folders() -> list[Path]:
    """Where models are looked for: $STCODEC_MODELS, the installed package, the source tree."""
    here = Path(__file__).resolve().parent.parent
    folders = [here / "models", here.parent / "models"]
    if extra := os.environ.get("STCODEC_MODELS"):
        folders.insert(0, Path(extra))
    return folders


def find_model(name: str) -> Path:
    """The file of a model given by id ("stc-1") or path ("my.safetensors"); ModelError if there is
    none."""
    if name.endswith(".safetensors"):
        path = Path(name)
        if _is_file(path):
            return path
        raise ModelError(f"{name}: no such model file")
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise ModelError(f"{name!r} is neither a model id nor a .safetensors file")
    for folder in model_folders():
        path = folder / f"{name}.safetensors"
        if _is_file(path):
            return path
    there = sorted({p.stem for f in model_folders() for p in f.glob("*.safetensors")})
    raise ModelError(
        f"model {name!r} is not installed (looked in {', '.join(map(str, model_folders()))}, "
        f"where there is {', '.join(there) or 'none'}); the path of a .safetensors file will do too"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def load_model(name: str, sha256: bytes | None = None) -> Model:
    """Load a model by id or path; with `sha256`, raise ModelError unless it is the very same
    file. ModelError too for a file that is no model, or of more than 256 MiB."""
    path = find_model(name)
    data, digest = _read(path)
    if sha256 is not None and digest != sha256:
        raise ModelError(
            f"model {name!r} here is not the one the file was made with "
            f"(sha256 {digest.hex()[:12]}, wanted {sha256.hex()[:12]})"
        )
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        config = config_from_json(json.loads(header["__metadata__"]["config"]))
        model = _assemble(path.stem, digest, config, safetensors.torch.load(data))
    except (
        SafetensorError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise ModelError(f"{path}: not a usable model file ({error})") from error
    return model


def _read(path: Path) -> tuple[bytes, bytes]:
    """The bytes of a file and their SHA-256."""
    pieces, digest, size = [], hashlib.sha256(), 0
    try:
        with open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                size += len(piece)
                if size > _MOST_BYTES:
                    raise ModelError(f"{path}: a model has at most {_MOST_BYTES >> 20} MiB")
                digest.update(piece)
                pieces.append(piece)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    return b"".join(pieces), digest.digest()


def _assemble(
    name: str, digest: bytes, config: ModelConfig, tensors: dict[str, torch.Tensor]
) -> Model:
    """ValueError or KeyError where tensors are not those of the config."""
    networks = {g: _scale_network(config, *g, tensors) for g in _group_names(config)}
    more = divisions.TABLES if config.divisions > 1 else 0
    frozen = _tables(tensors, "tables", SCALE_COUNT - 1 + more)
    intra, other = ([n for (kind, _), n in networks.items() if kind == k] for k in (0, 1))
    return Model(
        name,
        digest,
        config,
        _network(config, tensors),
        ScaleNetworks(intra, other),
        Tables(np.split(frozen["counts"].astype(np.int64), np.cumsum(frozen["sizes"])[:-1])),
        _motion(tensors),
        _filters(tensors),
    )


def _filters(tensors: dict[str, torch.Tensor]) -> np.ndarray | None:
    """The loop filters of a model, None where it has none."""
    start = tensors.get("loop_filter.start")
    if start is None:
        return None
    shape = PLANES, GROUPS, len(KNOTS), FILTERS, TAPS
    if start.shape != shape or start.dtype != torch.int16:
        raise ValueError(f"loop_filter.start is {start.dtype} {list(start.shape)}")
    return start.numpy()


def _motion(tensors: dict[str, torch.Tensor]) -> MotionStart:
    parts = {k: v for k, v in tensors.items() if k.startswith("motion.")}
    if any(part.dtype != torch.int32 for part in parts.values()):
        raise ValueError("motion.* hold integers of 32 bits")
    return MotionStart.unpack({k.removeprefix("motion."): v.numpy() for k, v in parts.items()})


def _network(config: ModelConfig, tensors: dict[str, torch.Tensor]) -> Network:
    state = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    # Before anything of that size is made.
    if _fewest_weights(config) > sum(v.numel() for v in state.values()):
        raise ValueError("it holds fewer weights than its config says")
    network = Network(config)
    shapes = {k: p.shape for k, p in network.named_parameters()}
    if missing := set(shapes) - set(state):
        raise ValueError(f"weights are missing: {', '.join(sorted(missing)[:3])}")
    for key, value in state.items():
        if value.shape != shapes.get(key):
            raise ValueError(f"network.{key} has the shape {list(value.shape)}")
        if value.dtype not in (torch.float16, torch.float32) or not value.isfinite().all():
            raise ValueError(f"network.{key} holds values that are none")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    for layer in network.modules():
        if isinstance(layer, Pointwise):
            layer.lay_out()
    return network.eval().requires_grad_(False)


def _fewest_weights(config: ModelConfig) -> int:
    """The largest matrices of a network, without the rest."""
    channels, width, inner = config.patch.channels, config.width, config.intra_width
    weights = PREDICTORS * 4 * config.predicted_channels**2
    weights += 2 * inner * 4 * channels + 4 * inner**2
    if width:
        weights += (config.prior_blocks + config.filter_blocks) * 5 * width**2
        weights += 2 * config.memory * (width + config.memory) + 6 * channels * width
    return weights


def _group_names(config: ModelConfig) -> list[tuple[int, int]]:
    """Kind (0 intra, 1 other) and frequency group of all scale networks."""
    return [(kind, g) for kind in (0, 1) for g in range(len(config.groups))]


def _scale_network(
    config: ModelConfig, kind: int, group: int, tensors: dict[str, torch.Tensor]
) -> GroupNetwork:
    name, channels = f"scales.{network_name(kind, group)}", config.patch.channels
    parts = [tensors[f"{name}.{part}"] for part in _PARTS]
    hidden = parts[1].shape[-1]
    outputs = config.groups[group] - (config.groups[group - 1] if group else 0)
    classes = CLASSES if kind else INTRA_LATTICES
    inputs = (2 * channels + BANDS if kind else 4 * channels) + channels + BANDS + SCALARS
    wanted = [(inputs, hidden), (classes, hidden), (hidden, outputs), (classes, outputs)]
    types = [torch.int8, torch.int32, torch.int8, torch.int32]
    for part, tensor, shape, dtype in zip(_PARTS, parts, wanted, types, strict=True):
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(f"{name}.{part} is {tensor.dtype} {list(tensor.shape)}")
    return GroupNetwork(*(part.float() for part in parts))


def _tables(tensors: dict[str, torch.Tensor], name: str, count: int) -> dict[str, np.ndarray]:
    """The `sizes` and `counts` of so many frozen tables."""
    sizes, counts = (tensors[f"{name}.{part}"] for part in ("sizes", "counts"))
    if sizes.shape != (count,) or counts.dim() != 1:
        raise ValueError(f"{count} tables are needed in {name}.sizes and .counts")
    if sizes.dtype != torch.int32 or counts.dtype != torch.int32:
        raise ValueError(f"{name}.sizes and .counts hold integers of 32 bits")
    if sizes.min() < 1 or sizes.max() > _LONGEST_TABLE or sizes.sum() != counts.numel():
        raise ValueError(f"{name}.sizes do not fit the tables")
    return {"sizes": sizes.numpy(), "counts": counts.numpy()}


def save_model(
    path: Path,
    config: ModelConfig,
    network: Network,
    scale_networks: ScaleNetworks,
    tables: Tables,
    motion_start: MotionStart,
    filter_start: np.ndarray | None = None,
    half: bool = True,
) -> None:
    """Write a model file (float16 weights by default) and rename it into place."""
    dtype = torch.float16 if half else torch.float32
    exact = {"step_gain", "centroids", "intra_mean"}
    tensors = {
        f"network.{k}": v.detach().cpu().to(torch.float32 if k in exact else dtype).contiguous()
        for k, v in network.named_parameters()
    }
    for name, group in scale_networks.named():
        for part in _PARTS:
            kind = torch.int8 if part.startswith("w") else torch.int32
            tensors[f"scales.{name}.{part}"] = getattr(group, part).cpu().to(kind).contiguous()
    tensors["tables.sizes"] = torch.tensor([len(row) for row in tables.counts], dtype=torch.int32)
    tensors["tables.counts"] = torch.from_numpy(np.concatenate(tables.counts).astype(np.int32))
    for key, value in motion_start.pack().items():
        tensors[f"motion.{key}"] = torch.from_numpy(np.ascontiguousarray(value))
    if filter_start is not None:
        tensors["loop_filter.start"] = torch.from_numpy(np.ascontiguousarray(filter_start))
    partial = path.with_suffix(".partial")
    safetensors.torch.save_file(
        tensors, str(partial), metadata={"config": json.dumps(config_to_json(config))}
    )
    partial.replace(path)


def config_to_json(config: ModelConfig) -> dict[str, object]:
    """Plain values, to be stored with the weights."""
    return dataclasses.asdict(config)


def config_from_json(values: dict[str, Any]) -> ModelConfig:
    """The inverse of `config_to_json`; TypeError, ValueError or LookupError on anything
    unexpected."""
    values = dict(values)
    patch = PatchSize(**values["patch"])
    sides = [_whole(patch.h, "patch"), _whole(patch.w, "patch")]
    if patch.t != CHUNK_FRAMES or any(side not in _PATCH_SIDES for side in sides):
        raise ValueError("patch is of no size that there is")
    values["patch"] = patch
    # Models without `networks` have them for all kinds.
    for name in {"groups", "kind_qualities", "networks"} & set(values):
        values[name] = tuple(values[name])
    for name, kind in {"networks": bool, "overlap": bool, "transform": str, "block": str}.items():
        found = values.get(name, ())
        if any(type(v) is not kind for v in (found if isinstance(found, tuple) else (found,))):
            raise ValueError(f"{name} {found!r} is nothing that a model can have")
    for name, value in values.items():
        if name not in ("patch", "networks", "overlap", "transform", "block"):
            for number in value if isinstance(value, tuple) else (value,):
                _whole(number, name)
    return ModelConfig(**values)


def _whole(value: object, name: str) -> int:
    low = (
        -_MOST_UNITS
        if name == "kind_qualities"
        else 1
        if name in ("groups", "patch", "divisions")
        else 0
    )
    if type(value) is not int or not low <= value <= _MOST_UNITS:
        raise ValueError(f"{name} {value!r} is no number that a model can have")
    return value
