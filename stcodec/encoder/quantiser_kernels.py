"""The choice of symbols in a compiled loop; `quantiser` says what is chosen, and does the same with
tensors."""

from __future__ import annotations

import numpy as np
from numba import float32

from stcodec.common.compiled import compiled

_HALF = float32(0.5)


@compiled
def cheapest(
    scaled: np.ndarray,
    index: np.ndarray,
    least: int,
    costs: np.ndarray,
    price: np.ndarray,
    factors: np.ndarray,
    largest: float,
    symbols: np.ndarray,
) -> float:
    """Symbols int32 [n, outputs] for latents float32 [n, outputs] in units of the step, under table
    indices uint8 [n, outputs] that are `least` at least; see `quantiser.RateDistortionQuantiser`.

    costs float32 [indices, magnitudes]; a bit costs price float32 [n] times factors float32
    [outputs]; largest: of a magnitude. Returns the bits that index 0 costs.
    """
    last = costs.shape[1] - 1
    lost = 0.0
    for i in range(len(scaled)):
        for o in range(scaled.shape[1]):
            size = abs(scaled[i, o])
            symbols[i, o] = 0
            if size <= _HALF:
                continue
            weight = price[i] * factors[o]
            coded = max(int(index[i, o]), least)
            table = max(coded, 1)
            nearest = min(np.rint(size), largest)
            best_cost = size * size + weight * costs[coded, 0]
            best = float32(0.0)
            for k in range(2):
                candidate = nearest - float32(k)
                bits = costs[table, min(int(candidate), last)]
                cost = (size - candidate) * (size - candidate) + weight * bits
                if coded == 0:
                    if k == 0:
                        lost += max((best_cost - cost) / weight, float32(0.0))
                elif cost < best_cost and candidate > 0:
                    best, best_cost = candidate, cost
            symbols[i, o] = int(best) if scaled[i, o] > 0 else -int(best)
    return lost
