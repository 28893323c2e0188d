"""Products of rows and matrices: in compiled loops on a CPU, for which matrices are laid out, as
tensors elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stcodec.codec import kernels

if TYPE_CHECKING:
    from stcodec.codec import network_kernels

Matrix = tuple[Tensor, Tensor | None]
"""A matrix [outputs, inputs] and a bias [outputs], None: of zeros."""


class Products:
    """Products with some matrices, each of a name. Those that change are laid out anew."""

    def __init__(self) -> None:
        self._laid_out: dict[Hashable, tuple[tuple[int, ...], network_kernels.Layer]] = {}

    def __call__(self, name: Hashable, rows: Tensor, matrix: Matrix) -> Tensor:
        """Rows [..., inputs] times a matrix, plus its bias, [..., outputs]."""
        loops = kernels.loops() if rows.device.type == "cpu" else None
        if loops is None or torch.is_grad_enabled() or rows.dtype != torch.float32:
            return F.linear(rows, *matrix)
        layer = self._layer(loops.networks, name, matrix)
        flat = rows.reshape(-1, rows.shape[-1]).contiguous().numpy()
        out = np.empty((len(flat), layer.outputs), np.float32)
        loops.networks.product(layer, flat, out)
        found = torch.from_numpy(out)[:, : len(matrix[0])]
        return found.unflatten(0, rows.shape[:-1])

    def of(self, layer: nn.Module, rows: Tensor) -> Tensor:
        """What a linear layer makes of rows."""
        assert isinstance(layer, nn.Linear)
        return self(id(layer), rows, (layer.weight, layer.bias))

    def _layer(self, loops: ModuleType, name: Hashable, matrix: Matrix) -> network_kernels.Layer:
        now = tuple(n for t in matrix if t is not None for n in (t.data_ptr(), t._version))
        found = self._laid_out.get(name)
        if found is None or found[0] != now:
            found = now, lay_out(loops, [matrix], matrix[0].shape[1])
            self._laid_out[name] = found
        return found[1]


def lay_out(
    loops: ModuleType, matrices: Sequence[Matrix], inputs: int, parts: int = 1
) -> network_kernels.Layer:
    """Matrices of the same shape as `network_kernels` wants them: of `inputs` inputs, and of
    outputs in `parts` parts, each filled up with zeros."""
    outputs, lanes = len(matrices[0][0]) // parts, loops.LANES
    high = -(-outputs // lanes) * lanes
    weights = np.zeros((len(matrices), parts, high, inputs), np.float32)
    biases = np.zeros((len(matrices), parts, high), np.float32)
    for weight, bias, (matrix, given) in zip(weights, biases, matrices, strict=True):
        weight[:, :outputs, : matrix.shape[1]] = plain(matrix).reshape(parts, outputs, -1)
        if given is not None:
            bias[:, :outputs] = plain(given).reshape(parts, outputs)
    panels = weights.reshape(len(matrices), -1, lanes, inputs).transpose(0, 1, 3, 2)
    flat = np.ascontiguousarray(panels).reshape(-1), biases.reshape(-1)
    made: network_kernels.Layer = loops.Layer(*flat, inputs, parts * high)
    return made


def plain(parameter: Tensor) -> np.ndarray:
    """The numbers of a tensor on the CPU."""
    found: np.ndarray = parameter.detach().numpy()
    return found
