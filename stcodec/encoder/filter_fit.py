"""The encoder's choice of the adaptive loop filter: none, the change that holds, or one fitted to
the frame (least squares, as Wiener filters are). Nothing here is normative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import loop_filter
from stcodec.codec.loop_filter import UNIT
from stcodec.codec.loop_filter_classes import BLOCK, CLASSES, TAPS
from stcodec.encoder import fit_kernels, tuning

_COUNT = CLASSES * TAPS
_NONE = np.zeros((0, 0), np.bool_)
_ROWS = 4  # one of so many rows of blocks says whether a picture is filtered


def choose(
    planes: Sequence[Tensor],
    sources: Sequence[Tensor],
    start: np.ndarray,
    kept: np.ndarray,
    costs: np.ndarray | None,
    bit: float,
    exact: np.ndarray | None = None,
) -> np.ndarray | None:
    """The change int32 [CLASSES, TAPS] of a model's filters by which decoded planes [1, 1, H, W]
    come nearest to their sources, of `kept` and a new one; None where neither helps.

    start: the model's filters, float32 [CLASSES, TAPS]; costs: bits by size of a difference of a
    weight, None where no new change is wanted; bit: what a bit is worth, squared error in units of
    1 / 255; exact: patches that filters leave alone, bool [rows, columns], None: there are none.
    """
    skipped = _blocks(exact, planes[0])
    if costs is None:
        without, with_it = _errors(planes, sources, skipped, start + kept / np.float32(UNIT))
        return kept if with_it < (1 - tuning.LOOP_FILTER_LEAST) * without else None
    a, b, part = equations(planes, sources, skipped)
    # In units of the weights, beyond those of the model.
    at = UNIT * start.reshape(-1).astype(np.float64)
    a, b = a / UNIT**2, b / UNIT
    without = float(at @ (2 * b - a @ at))
    b = b - a @ at
    before = kept.reshape(-1).astype(np.int64)
    held = before.astype(np.float64)
    ridge = tuning.LOOP_FILTER_RIDGE * bit * part + 1e-6 * np.trace(a) / _COUNT + 1e-9
    best = np.empty(_COUNT)
    fit_kernels.solve(a + ridge * np.eye(_COUNT), b - a @ held, best)
    fitted = _whole(at, held + best)
    price = bit * part * tuning.LOOP_FILTER_BIT
    fit_kernels.refine(a, b, fitted, before, costs.astype(np.float64), price)
    fitted = _whole(at, fitted)
    saved = float(fitted @ (2 * b - a @ fitted))
    changes = np.minimum(np.abs(fitted - before), len(costs) - 1)
    new = fitted.astype(np.int32).reshape(kept.shape)
    known = -without, float(held @ (2 * b - a @ held))
    # What has been fitted to some blocks must serve others, too.
    if saved - price * float(costs[changes].sum()) > max(known):
        without, with_it = _errors(planes, sources, skipped, start + new / np.float32(UNIT))
        if with_it < without:
            return new
    return kept if known[1] > known[0] else None


def _whole(start: np.ndarray, change: np.ndarray) -> np.ndarray:
    """A change of weights as whole numbers, int64 [N], with which filters stay bounded; start and
    change [N] in units of 1 / UNIT."""
    weights = loop_filter.bounded((start + change).reshape(CLASSES, TAPS) / UNIT)
    return np.rint(UNIT * weights.reshape(-1) - start).astype(np.int64)


def _blocks(exact: np.ndarray | None, plane: Tensor) -> np.ndarray:
    """The blocks of a plane [1, 1, H, W] all of which lies in some patches, bool [H / 4, W / 4]."""
    if exact is None:
        return _NONE
    height, width = plane.shape[2:]
    samples = exact.repeat(height // exact.shape[0], 0).repeat(width // exact.shape[1], 1)
    blocks = samples.reshape(height // BLOCK, BLOCK, -1, BLOCK)
    return np.asarray(blocks.all((1, 3)))


def _errors(
    planes: Sequence[Tensor], sources: Sequence[Tensor], skipped: np.ndarray, filters: np.ndarray
) -> tuple[float, float]:
    """Squared errors of some of a picture, before and after filters."""
    cases, before, after = loop_filter.by_case(filters).numpy(), 0.0, 0.0
    for plane, source in zip(planes, sources, strict=True):
        padded = loop_filter.pad(plane)[0, 0].numpy()
        found = fit_kernels.errors(padded, source[0, 0].numpy(), skipped, cases, _ROWS)
        before, after = before + found[0], after + found[1]
    return before, after


def equations(
    planes: Sequence[Tensor], sources: Sequence[Tensor], skipped: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Normal equations float64 of the weights that bring planes [1, 1, H, W] nearest to their
    sources, in units of 1 / 255: a [N, N] and b [N], and of what part of the planes; skipped: see
    `fit_kernels.normal`."""
    blocks = sum(plane.numel() for plane in planes) // BLOCK**2
    stride = max(1, round(blocks / tuning.LOOP_FILTER_BLOCKS))
    a, b = np.zeros((_COUNT, _COUNT)), np.zeros(_COUNT)
    for plane, source in zip(planes, sources, strict=True):
        padded = loop_filter.pad(plane)[0, 0].numpy()
        own = _NONE if skipped is None else skipped
        fit_kernels.normal(padded, source[0, 0].numpy(), own, stride, a, b)
    return a, b, 1 / stride


def warm_up() -> None:
    """Compile the loops, or load what was compiled before."""
    plane, none = torch.zeros(1, 1, BLOCK, BLOCK), np.zeros((CLASSES, TAPS), np.int32)
    start = none.astype(np.float32)
    choose([plane], [plane], start, none, np.zeros(2, np.float32), 1.0)
    choose([plane], [plane], start, none, None, 1.0)
