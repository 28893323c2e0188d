"""Models: from an id or a path to a safetensors file, its hash, and the parts of the codec that it
holds.

Tensors in the file: `network.*` (floating point, float16 or float32),
`scales.{intra,other}.G.{w1,b1,w2,b2}` (int8 and int32, one set per frequency group), `tables.sizes`
and `tables.counts` (int32: all frozen tables one after another), `vectors.*` (int32). The file's
metadata holds the `ModelConfig` as JSON under `config`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stcodec.codec.entropy import Tables
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import PatchSize
from stcodec.codec.scales import GroupNetwork, ScaleNetworks, network_name
from stcodec.codec.vectors import VectorTables
from stcodec.errors import ModelError

_PARTS = ("w1", "b1", "w2", "b2")


@dataclass
class Model:
    """A loaded model. `id` is its file's stem, `sha256` that of the file's bytes (32 bytes)."""

    id: str
    sha256: bytes
    config: ModelConfig
    network: Network
    scale_networks: ScaleNetworks
    tables: Tables
    vector_tables: VectorTables

    def to(self, device: torch.device) -> Model:
        """The same model with its networks on `device`."""
        return dataclasses.replace(
            self, network=self.network.to(device), scale_networks=self.scale_networks.to(device)
        )


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
        if path.is_file():
            return path
        raise ModelError(f"{name}: no such model file")
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise ModelError(f"{name!r} is neither a model id nor a .safetensors file")
    for folder in model_folders():
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return path
    raise ModelError(
        f"model {name!r} is not installed (looked in {', '.join(map(str, model_folders()))})"
    )


def load_model(name: str, device: torch.device | str = "cpu", sha256: bytes | None = None) -> Model:
    """Load a model by id or path; with `sha256`, raise ModelError unless it is the very same
    file."""
    path = find_model(name)
    digest = hashlib.sha256(path.read_bytes()).digest()
    if sha256 is not None and digest != sha256:
        raise ModelError(
            f"model {name!r} here is not the one the file was made with "
            f"(sha256 {digest.hex()[:12]}, wanted {sha256.hex()[:12]})"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model = _assemble(path.stem, digest, json.loads(metadata["config"]), tensors)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path}: not a usable model file ({error})") from error
    return model.to(torch.device(device))


def _assemble(
    name: str, digest: bytes, config_json: dict[str, object], tensors: dict[str, torch.Tensor]
) -> Model:
    config = config_from_json(config_json)
    network = Network(config)
    state = {
        k.removeprefix("network."): v.float()
        for k, v in tensors.items()
        if k.startswith("network.")
    }
    network.load_state_dict(state, strict=False)
    missing = set(dict(network.named_parameters())) - set(state)
    if missing:
        raise ValueError(f"weights are missing: {', '.join(sorted(missing)[:3])}")
    network.eval().requires_grad_(False)
    scale_networks = ScaleNetworks(
        *(
            [
                GroupNetwork(
                    *(tensors[f"scales.{network_name(kind, g)}.{part}"].float() for part in _PARTS)
                )
                for g in range(len(config.groups))
            ]
            for kind in (0, 1)
        )
    )
    sizes = tensors["tables.sizes"].numpy().astype(np.int64)
    counts = np.split(tensors["tables.counts"].numpy().astype(np.int64), np.cumsum(sizes)[:-1])
    vectors = {
        k.removeprefix("vectors."): v.numpy()
        for k, v in tensors.items()
        if k.startswith("vectors.")
    }
    return Model(
        name, digest, config, network, scale_networks, Tables(counts), VectorTables.unpack(vectors)
    )


def save_model(
    path: Path,
    config: ModelConfig,
    network: Network,
    scale_networks: ScaleNetworks,
    tables: Tables,
    vector_tables: VectorTables,
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
    for key, value in vector_tables.pack().items():
        tensors[f"vectors.{key}"] = torch.from_numpy(np.ascontiguousarray(value))
    partial = path.with_suffix(".partial")
    save_file(tensors, str(partial), metadata={"config": json.dumps(config_to_json(config))})
    partial.replace(path)


def config_to_json(config: ModelConfig) -> dict[str, object]:
    """Plain values, to be stored with the weights."""
    return dataclasses.asdict(config)


def config_from_json(values: dict[str, object]) -> ModelConfig:
    """The inverse of `config_to_json`; TypeError or ValueError on anything unexpected."""
    values = dict(values)
    values["patch"] = PatchSize(**values["patch"])  # type: ignore[arg-type]
    # Models without `networks` have them for all kinds.
    for name in {"groups", "kind_qualities", "networks"} & set(values):
        values[name] = tuple(values[name])  # type: ignore[arg-type]
    return ModelConfig(**values)  # type: ignore[arg-type]
