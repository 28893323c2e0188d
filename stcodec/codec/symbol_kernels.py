"""What symbols stand for, in a compiled loop; `indices` says what is computed, and does the same
with tensors."""

from __future__ import annotations

import numpy as np

from stcodec.common.compiled import compiled


@compiled
def take(
    symbols: np.ndarray,
    index: np.ndarray,
    at: np.ndarray,
    start: int,
    centroids: np.ndarray,
    largest: int,
    magnitudes: np.ndarray,
    some: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the magnitudes of symbols int32 [p, outputs] of the patches `at` int64 [p], in channels
    from `start` on, `largest` at most, and which patches have `some`; see `indices.FrameIndices`.

    Returns where symbols are not zero (numbers of patches in `at`, channels, int64 [k]), and their
    values in units of the step, float32 [k]; index uint8 [p, outputs], centroids [indices, 2]: see
    `Network.centroids`.
    """
    patches, outputs = symbols.shape
    count = 0
    for i in range(patches):
        for o in range(outputs):
            count += symbols[i, o] != 0
    rows, columns = np.empty(count, np.int64), np.empty(count, np.int64)
    values = np.empty(count, np.float32)
    k = 0
    for i in range(patches):
        for o in range(outputs):
            symbol = symbols[i, o]
            if symbol == 0:
                continue
            size = abs(symbol)
            magnitudes[at[i], start + o] = min(size, largest)
            some[at[i]] = True
            value = np.float32(size) + centroids[index[i, o], 1 if size > 1 else 0]
            rows[k], columns[k] = i, start + o
            values[k] = value if symbol > 0 else -value
            k += 1
    return rows, columns, values
