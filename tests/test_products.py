"""Products of rows and matrices: loops and tensors must say the same, but for the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stcodec.codec import kernels
from stcodec.codec.products import Products


@pytest.mark.parametrize("shape", [(0,), (1,), (4,), (1, 7), (2, 3, 5)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (13, 6), (385, 48), (32, 64)])
def test_loops_and_tensors_agree(shape: tuple[int, ...], inputs: int, outputs: int) -> None:
    torch.manual_seed(inputs)
    layer = nn.Linear(inputs, outputs).requires_grad_(False)
    rows = torch.randn(*shape, inputs)
    assert kernels.loops() is not None
    with torch.no_grad():
        looped = Products().of(layer, rows)
        alone = Products()("matrix", rows, (layer.weight, None))
    torch.testing.assert_close(looped, layer(rows), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone + layer.bias, layer(rows), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_matrices_that_change_are_laid_out_anew() -> None:
    products, layer, rows = Products(), nn.Linear(5, 3), torch.randn(6, 5)
    before = products.of(layer, rows)
    layer.weight.mul_(2.0)
    after = products.of(layer, rows)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, layer(rows), rtol=1e-5, atol=1e-5)
    layer.bias.data = torch.ones(3)
    torch.testing.assert_close(products.of(layer, rows), layer(rows), rtol=1e-5, atol=1e-5)


def test_gradients_pass() -> None:
    layer = nn.Linear(5, 3)
    Products().of(layer, torch.randn(6, 5)).sum().backward()
    assert layer.weight.grad is not None
