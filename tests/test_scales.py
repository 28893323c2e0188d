"""The scale network is exact: the same integers in every arithmetic, order and layout."""

from __future__ import annotations

import pytest
import torch

from stcodec.codec import scales
from stcodec.codec.model_files import load_model
from stcodec.codec.scales import CLASSES, INTRA_LATTICES, GroupNetwork


def inputs(count: int, size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, scales.INPUT_MAX + 1, (count, size), generator=generator).float(),
        torch.full((count, size), float(scales.INPUT_MAX)),
        torch.zeros(count, size),
        (torch.rand(count, size, generator=generator) < 0.5).float() * scales.INPUT_MAX,
    ]


def worst_network(size: int, seed: int) -> GroupNetwork:
    """Random weights of full range, biases as large as the bound allows."""
    g = torch.Generator().manual_seed(seed)
    w1, w2 = (torch.randint(-127, 128, s, generator=g).float() for s in ((size, 64), (64, 24)))
    b1 = torch.randint(-(1 << 20), 1 << 20, (CLASSES, 64), generator=g).float()
    b2 = torch.randint(-(1 << 18), 1 << 18, (CLASSES, 24), generator=g).float()
    return GroupNetwork(w1, b1, w2, b2)


@pytest.mark.parametrize("model", ["dct", None])
def test_equal_in_every_arithmetic(model: str | None) -> None:
    networks = (
        [g for _, g in load_model(model).scale_networks.named()]
        if model
        else [worst_network(scales.input_size(96, False), s) for s in range(3)]
    )
    for network in networks:
        for x in inputs(500, len(network.w1)):
            for context in (0, len(network.b1) - 1):
                wanted = network.to("cpu", torch.int64).indices(x.long(), context)
                for dtype in (torch.float32, torch.float64):
                    same = network.to("cpu", dtype)
                    assert torch.equal(same.indices(x, context), wanted)
                    assert torch.equal(same.indices(x.T.contiguous().T, context), wanted)
                    order = torch.randperm(500)
                    assert torch.equal(same.indices(x[order], context), wanted[order])
                    if torch.cuda.is_available():
                        gpu = network.to("cuda").indices(x.cuda(), context)
                        assert torch.equal(gpu.cpu(), wanted)


def test_equal_over_thread_counts() -> None:
    network = worst_network(scales.input_size(96, True), 9)
    x = inputs(4000, scales.input_size(96, True))[0]
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.append(network.indices(x, 3))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], r) for r in results)


def test_weights_that_could_round_are_refused() -> None:
    size = scales.input_size(96, True)
    good = worst_network(size, 1)
    with pytest.raises(ValueError, match="2\\*\\*24"):
        GroupNetwork(torch.full((4000, 64), 127.0), good.b1, good.w2, good.b2)
    with pytest.raises(ValueError, match="2\\*\\*24"):
        GroupNetwork(good.w1, good.b1 + (1 << 24), good.w2, good.b2)
    with pytest.raises(ValueError, match="integers"):
        GroupNetwork(good.w1 + 0.5, good.b1, good.w2, good.b2)


def test_logarithm_of_magnitudes() -> None:
    values = scales.log_magnitude(torch.tensor([0.0, 1.0, 3.0, 7.0, 1023.0, 5000.0]))
    assert values.tolist() == [0, 6, 12, 18, 60, 60]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 5), (6, 4), (17, 33)])
def test_lattices_cover_the_grid_and_look_back_only(rows: int, columns: int, kind: int) -> None:
    seen: set[int] = set()
    for at, near in scales.lattice_positions(rows, columns, kind, torch.device("cpu")):
        assert not seen & set(at.tolist())
        if near is not None:
            known = set(near.tolist()) - {rows * columns}
            assert known <= seen
        seen |= set(at.tolist())
    assert seen == set(range(rows * columns))


def test_every_pass_has_biases_and_a_predictor_of_its_own() -> None:
    passes = [
        (kind, lattice)
        for kind in range(scales.FRAME_KINDS)
        for lattice in range(scales.lattices(kind))
    ]
    assert [scales.context_class(*p) for p in passes] == [*range(INTRA_LATTICES), *range(CLASSES)]
    assert [scales.predictor_number(*p) for p in passes if p[1]] == list(range(scales.PREDICTORS))
