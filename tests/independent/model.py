"""A model file and the layers of its networks, as docs/format.md has them."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from safetensors import safe_open

from . import entropy
from .container import require
from .ranges import Contexts


class Model:
    """Tensors as float64 or int64, the config, and the tables."""

    def __init__(self, path: Path, sha256: bytes) -> None:
        require(hashlib.sha256(path.read_bytes()).digest() == sha256, "SHA-256 of the model")
        with safe_open(path, framework="numpy") as file:
            config = json.loads(file.metadata()["config"])
            raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.tensors = {
            name: tensor.astype(np.float64 if tensor.dtype.kind == "f" else np.int64)
            for name, tensor in raw.items()
        }
        self.h, self.w = int(config["patch"]["h"]), int(config["patch"]["w"])
        self.channels = 3 * self.h * self.w // 2
        self.ends: list[int] = config["groups"]
        self.starts = [0, *self.ends[:-1]]
        self.kind_qualities: list[int] = config["kind_qualities"]
        self.width, self.intra_width = int(config["width"]), int(config["intra_width"])
        self.networks: list[bool] = config.get("networks", [True] * 5)
        self.blocks = {"prior": config["prior_blocks"], "filter": config["filter_blocks"]}
        self.line: str = config.get("transform", "dct")
        self.overlap: bool = config.get("overlap", False)
        self.block: str = config.get("block", "convolution")
        self.predicted = int(config.get("predicted", 0)) or self.channels
        self.divisions = int(config.get("divisions", 1))
        self.memory = int(config["memory"])
        self.filters = "loop_filter.start" in self.tensors
        self.tables = entropy.tables(self["tables.sizes"], self["tables.counts"])
        wanted = 64 if self.divisions == 1 else 70
        require(len(self.tables) == wanted, "number of tables")

    def contexts(self) -> Contexts:
        """Those of motion at the start of a segment."""
        return Contexts(self["motion.probabilities"], self["motion.trust"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """A linear layer on vectors in the last dimension."""
        weight = self[f"network.{name}.weight"]
        return x @ weight.reshape(len(weight), -1).T + self[f"network.{name}.bias"]

    def knots(self, name: str, quality: float) -> np.ndarray:
        z = min(max(quality, 0), 63) / 9
        k = min(int(z), 6)
        values = self[f"network.{name}"]
        return values[k] * (1 - (z - k)) + values[k + 1] * (z - k)

    def depthwise(self, name: str, x: np.ndarray) -> np.ndarray:
        """x [rows, columns, channels]."""
        rows, columns, _ = x.shape
        wide = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        weight = self[f"network.{name}.weight"][:, 0]
        y = np.zeros_like(x) + self[f"network.{name}.bias"]
        for a in range(3):
            for b in range(3):
                y += weight[:, a, b] * wide[a : a + rows, b : b + columns]
        return y

    def trunk(self, name: str, x: np.ndarray, quality: float, kind: int) -> np.ndarray:
        """Features [rows, columns, W] of inputs [rows, columns, I]."""
        x = self.linear(f"{name}.enter", x)
        v = self.knots(f"{name}.condition.quality", quality)
        v = v + self[f"network.{name}.condition.kind"][kind]
        x = x * (1 + v[: self.width]) + v[self.width :]
        for number in range(self.blocks[name]):
            block = f"{name}.blocks.{number}"
            if self.block == "attention":
                t = self.attention(block, x)
            else:
                t = self.depthwise(f"{block}.depthwise", leaky(self.linear(f"{block}.expand", x)))
            x = x + self.linear(f"{block}.project", t)
            g = self.linear(f"{block}.gate", x)
            gated = g[..., : self.width] * np.clip(g[..., self.width :], 0, 1)
            x = x + self.linear(f"{block}.merge", gated)
        return x

    def attention(self, block: str, x: np.ndarray) -> np.ndarray:
        """What each patch sees of the 5x5 around it, [rows, columns, W]."""
        rows, columns, width = x.shape
        heads = math.gcd(width, 4)
        parts = self.linear(f"{block}.look", x).reshape(rows, columns, 3, heads, width // heads)
        place = self[f"network.{block}.place"]
        wide = np.pad(parts, ((2, 2), (2, 2), (0, 0), (0, 0), (0, 0)))
        seen = np.zeros((rows, columns, heads, width // heads))
        for r, c, head in np.ndindex(rows, columns, heads):
            around = wide[r : r + 5, c : c + 5, :, head].reshape(25, 3, -1)
            score = around[:, 1] @ parts[r, c, 0, head] / np.sqrt(width // heads) + place[head]
            share = np.exp(score - score.max())
            seen[r, c, head] = share @ around[:, 2] / share.sum()
        return seen.reshape(rows, columns, width)

    def works_on(self, kind: int) -> bool:
        """Whether prior and filter work on a kind of frame."""
        return self.width > 0 and self.networks[kind]

    def prior(
        self, a: np.ndarray, step: np.ndarray, state: np.ndarray, quality: float, kind: int
    ) -> np.ndarray:
        """Means of latents [rows, columns, C], given the transformed prediction."""
        if not self.works_on(kind):
            return a
        inputs = np.concatenate([np.arcsinh(flat(a) / step), state], axis=-1)
        return a + step * self.linear("prior_out", self.trunk("prior", inputs, quality, kind))

    def filter(
        self,
        decoded: np.ndarray,
        mean: np.ndarray,
        a: np.ndarray,
        step: np.ndarray,
        quality: float,
        kind: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the frame, and the features."""
        parts = [flat(decoded) / step, (decoded - mean) / step, (decoded - a) / step]
        inputs = np.arcsinh(np.concatenate(parts, axis=-1))
        features = self.trunk("filter", inputs, quality, kind)
        return decoded + step * self.linear("filter_out", features), features

    def null_memory(self, rows: int, columns: int) -> np.ndarray:
        if not self.width or not self.memory:
            return np.zeros((rows, columns, 0))
        null = self["network.memory.null"].reshape(-1)
        return np.broadcast_to(null, (rows, columns, len(null)))

    def remember(self, state: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The memory after an intra or key frame."""
        if not self.memory:
            return state
        g = self.linear("memory.gate", np.concatenate([features, state], axis=-1))
        size = state.shape[-1]
        gate = np.clip(0.5 + 0.25 * g[..., :size], 0, 1)
        return state + gate * (np.clip(g[..., size:], -4, 4) - state)

    def surroundings(
        self, errors: np.ndarray, lattice: int, quality: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """x [p, V] and contrast [p, 1] of neighbours' errors in units of the step [p, 4, C]."""
        e = errors.copy()
        e[:, :, :3] -= e[:, :, :3].mean(1, keepdims=True)
        e = e.reshape(len(e), 4 * self.channels)
        contrast = (e * e).sum(1, keepdims=True) / 4
        gain = np.sqrt(contrast + 1)
        inputs = np.concatenate([e / gain, np.log(gain)], axis=1)
        x = self.linear(f"surroundings.enter.{lattice % 2}", inputs)
        w = self.knots("surroundings.quality", quality)
        w = w + self["network.surroundings.lattice"][lattice]
        x = x * (1 + w[: self.intra_width]) + w[self.intra_width :]
        for first, second in ((0, 1), (2, 3)):
            t = leaky(self.linear(f"surroundings.mix.{first}", leaky(x)))
            x = x + self.linear(f"surroundings.mix.{second}", t)
        return x, contrast

    def correction(
        self, group: int, x: np.ndarray, contrast: np.ndarray, own: np.ndarray, d: np.ndarray
    ) -> np.ndarray:
        """What is added to the means of a group, in units of the step; own and d [p, S]."""
        t = np.concatenate([own[:, 3:], d], axis=1)
        size = np.sqrt(contrast + (t * t).sum(1, keepdims=True) + 1)
        inputs = np.concatenate([x, t / size, np.log(size)], axis=1)
        z = leaky(self.linear(f"surroundings.begin.{group}", inputs))
        z = z + self.linear(f"surroundings.middle.{group}", z)
        return self.linear(f"surroundings.end.{group}", leaky(z)) * size


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def flat(x: np.ndarray) -> np.ndarray:
    """DC channels of [rows, columns, C] less their mean over 3x3 patches."""
    rows, columns, _ = x.shape
    wide = np.pad(x[..., :3], ((1, 1), (1, 1), (0, 0)), mode="edge")
    total = sum(wide[a : a + rows, b : b + columns] for a in range(3) for b in range(3))
    return np.concatenate([x[..., :3] - total / 9, x[..., 3:]], axis=-1)
