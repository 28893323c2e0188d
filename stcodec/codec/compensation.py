"""Motion-compensated prediction of pictures.

Vectors count quarter luma samples, one per 8x8 luma block and reference; a pixel p of a block is
predicted from p + v / 4 of the reference (v / 8 in chroma), beyond the picture's edge from the
nearest sample. Luma is interpolated with 8 taps and chroma with 4, separable, windowed-sinc
filters; neighbouring blocks overlap (overlapped block motion compensation, Orchard and Sullivan
1994).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.motion import BI, BLOCK, FIRST, SECOND, Fields
from stcodec.codec.patches import Frames

MARGIN = 32  # samples that `pad` repeats an edge by
LUMA_TAPS, LUMA_PHASES = 8, 4
CHROMA_TAPS, CHROMA_PHASES = 4, 8
OVERLAP = 2  # luma samples by which a block's prediction reaches into its neighbours


@functools.cache
def filter_taps(count: int, phases: int) -> Tensor:
    """Interpolation filters [phases, count]: sinc under a cosine window, unit sum; phase 0 is the
    identity."""
    rows = []
    for phase in range(phases):
        x = torch.arange(count, dtype=torch.float64) - (count // 2 - 1) - phase / phases
        row = torch.sinc(x) * torch.cos(math.pi * x / (count + 1))
        rows.append(row / row.sum())
    return torch.stack(rows).float()


def _ramp(overlap: int) -> Tensor:
    """How the weights of a block rise over its overlap, [2 overlap]."""
    return (torch.arange(2 * overlap, dtype=torch.float32) + 0.5) / max(1, 2 * overlap)


def _window(size: int, overlap: int) -> Tensor:
    """Blending weights [size + 2 overlap] of a block: shifted by `size` they sum to one."""
    ramp = _ramp(overlap)
    return torch.cat([ramp, torch.ones(size - 2 * overlap), ramp.flip(0)])


@functools.cache
def blending(size: int, overlap: int) -> Tensor:
    """Blending weights [T, T], T = size + 2 overlap, of a block's tile."""
    window = _window(size, overlap)
    return window[:, None] * window[None, :]


def sample_tiles(
    padded: Tensor,
    vectors: Tensor,
    top: Tensor,
    left: Tensor,
    size: int,
    overlap: int,
    count: int,
    phases: int,
    picture: Tensor | None = None,
) -> Tensor:
    """Interpolated tiles [n, T, T], T = size + 2 overlap, around blocks with the corners (top,
    left) [n] at vectors [2, n].

    padded: planes as from `pad`, one or, with `picture` [n], several; count: taps of the filters;
    phases: units of the vectors per sample.
    """
    tile, reach = size + 2 * overlap, size + 2 * overlap + count - 1
    height, width = padded.shape[-2:]
    whole = torch.div(vectors, phases, rounding_mode="floor")
    part = (vectors - whole * phases).long()
    device = padded.device
    origin = MARGIN - overlap - (count // 2 - 1)
    top = (whole[0].long() + top + origin).clamp_(0, height - reach)
    left = (whole[1].long() + left + origin).clamp_(0, width - reach)
    # Whole rows of a window are taken at once: a view in which row i starts at sample i.
    flat = padded.view(-1)
    lines = flat.as_strided((len(flat) - reach + 1, reach), (1, 1))
    if picture is not None:
        top = top + picture * height
    first = (top * width + left).view(-1, 1) + torch.arange(reach, device=device) * width
    windows = lines.index_select(0, first.view(-1)).view(-1, reach, reach)
    filters = interpolation(count, phases, tile).to(device)
    vertical, horizontal = filters.index_select(0, part[0]), filters.index_select(0, part[1])
    return vertical @ windows @ horizontal.transpose(1, 2)


@functools.cache
def interpolation(count: int, phases: int, tile: int) -> Tensor:
    """Interpolation as matrices [phases, tile, tile + count - 1]."""
    filters = torch.zeros(phases, tile, tile + count - 1)
    for i in range(tile):
        filters[:, i, i : i + count] = filter_taps(count, phases)
    return filters


def _blend(tiles: Tensor, rows: int, columns: int, size: int, overlap: int) -> Tensor:
    """Overlap-add of tiles [rows columns, T, T] under their windows -> [rows size, columns
    size]."""
    tile, o = size + 2 * overlap, overlap
    tiles = (
        (tiles * blending(size, overlap).to(tiles.device))
        .view(rows, columns, tile, tile)
        .transpose(1, 2)
    )
    lines = tiles[..., o : o + size].contiguous()
    lines[:, :, :-1, size - o :] += tiles[:, :, 1:, :o]
    lines[:, :, 1:, :o] += tiles[:, :, :-1, size + o :]
    canvas = lines[:, o : o + size].contiguous()
    canvas[:-1, size - o :] += lines[1:, :o]
    canvas[1:, :o] += lines[:-1, size + o :]
    return canvas.view(rows * size, columns * size)


def with_ring(grid: Tensor) -> Tensor:
    """A ring of copies of the nearest 8x8 block, two wide: [..., gh, gw] -> [..., gh + 4, gw +
    4]."""
    shape = grid.shape
    grown = F.pad(grid.reshape(1, -1, *shape[-2:]).float(), (2, 2, 2, 2), mode="replicate")
    return grown.view(*shape[:-2], shape[-2] + 4, shape[-1] + 4)


def predict(
    first: Sequence[Frames | None], second: Sequence[Frames | None], fields: Fields
) -> Frames:
    """Motion-compensated prediction of N frames.

    first, second: for each frame one reference picture (batch size 1) or None where the modes never
    use it. Returns Frames of batch size N; samples are not rounded.
    """
    pictures = []
    loops = kernels.loops() if fields.vectors.device.type == "cpu" else None
    for i, pair in enumerate(zip(first, second, strict=True)):
        if loops is not None:
            pictures.append(_in_loops(loops.compensation, pair, fields.take(i)))
            continue
        modes = fields.modes[i].repeat_interleave(2, 0).repeat_interleave(2, 1)
        pictures.append(_predict_one(pair, fields.vectors[i], modes))
    return Frames(*(torch.cat(planes) for planes in zip(*pictures, strict=True)))


def _in_loops(
    loops: ModuleType, pair: tuple[Frames | None, Frames | None], fields: Fields
) -> Frames:
    """Prediction of one frame by compiled loops."""
    vectors, modes = fields.vectors[0].numpy(), fields.modes[0].numpy()
    shares = [_share(modes, side) for side in (0, 1)]
    planes = []
    for index in range(3):
        out: Tensor | None = None
        for side, frames in enumerate(pair):
            if frames is None:
                if shares[side].any():
                    raise ValueError("a block is predicted from a reference that is missing")
                continue
            reference = tuple(frames)[index]
            out = torch.zeros_like(reference) if out is None else out
            _add(loops, out, reference, vectors[side], shares[side], index)
        assert out is not None
        planes.append(out)
    return Frames(*planes)


def _predict_one(
    pair: tuple[Frames | None, Frames | None], vectors: Tensor, modes: Tensor
) -> Frames:
    """Prediction of one frame: vectors [2, 2, gh, gw], modes [gh, gw] per 8x8 block.

    16x16 blocks whose vectors are equal are taken whole, which changes nothing: windows sum to one.
    """
    for side in (0, 1):
        still = pair[side]
        if still is not None and bool((modes == side + 1).all()) and not bool(vectors[side].any()):
            return still
    parts = _parts(vectors, modes)
    planes = zip(*([None] * 3 if r is None else list(r) for r in pair), strict=True)
    return Frames(*(_plane(both, parts, modes.shape, index) for index, both in enumerate(planes)))


def predict_luma(reference: Tensor, vectors: Tensor) -> Tensor:
    """Motion-compensated luma [1, 1, H, W] from one picture's by vectors [2, H/8, W/8]; see
    `predict`."""
    if not bool(vectors.any()):
        return reference
    out = _in_loops_alone(reference, vectors, 0)
    if out is not None:
        return out
    modes = torch.ones(vectors.shape[1:], device=vectors.device)
    return _plane([reference, None], _parts(torch.stack([vectors, vectors]), modes), modes.shape, 0)


def predict_half(reference: Tensor, vectors: Tensor) -> Tensor:
    """Motion-compensated picture [1, 1, H / 2, W / 2] of half the size from another one by vectors
    [2, H / 8, W / 8] in quarter samples of the full size; the way of a plane of chroma."""
    out = _in_loops_alone(reference, vectors, 1)
    if out is not None:
        return out
    modes = torch.ones(vectors.shape[1:], device=reference.device)
    both = torch.stack([vectors, vectors]).to(reference.device)
    return _plane([reference, None], _parts(both, modes), modes.shape, 1)


def _in_loops_alone(reference: Tensor, vectors: Tensor, index: int) -> Tensor | None:
    """What plane `index` (0 luma) of one picture predicts of another one by compiled loops; None
    where there are none."""
    loops = kernels.loops() if reference.device.type == "cpu" else None
    if loops is None:
        return None
    out = torch.zeros_like(reference)
    share = np.ones((vectors.shape[1] // 2, vectors.shape[2] // 2), np.float32)
    _add(loops.compensation, out, reference, vectors.cpu().numpy(), share, index)
    return out


def _share(modes: np.ndarray, side: int) -> np.ndarray:
    """The share of a reference in each 16x16 block, float32."""
    share = (modes == BI) * np.float32(0.5) + (modes == (FIRST, SECOND)[side])
    return share.astype(np.float32)


def _add(
    loops: ModuleType,
    out: Tensor,
    reference: Tensor,
    vectors: np.ndarray,
    share: np.ndarray,
    index: int,
) -> None:
    """Add what a reference predicts to plane `index` (0 luma), by compiled loops."""
    block, overlap, taps, phases = (BLOCK, OVERLAP, LUMA_TAPS, LUMA_PHASES)
    if index > 0:
        block, overlap, taps, phases = (BLOCK // 2, OVERLAP // 2, CHROMA_TAPS, CHROMA_PHASES)
    ramp, filters = _ramp(overlap).numpy(), filter_taps(taps, phases).numpy()
    planes = out[0, 0].numpy(), reference[0, 0].numpy()
    loops.add_prediction(*planes, np.ascontiguousarray(vectors), share, block, ramp, filters)


def _parts(vectors: Tensor, modes: Tensor) -> tuple[list[_Users], list[_Users]]:
    """The 16x16 blocks and the 8x8 blocks, with a ring of two, that use each reference."""
    modes, grown = with_ring(modes), with_ring(vectors)
    weights = [torch.where(modes == BI, 0.5, (modes == side + 1).float()) for side in (0, 1)]
    quads = torch.stack([grown[..., i::2, j::2] for i in (0, 1) for j in (0, 1)])
    whole = (quads == quads[0]).flatten(0, 2).all(0)
    return _whereabouts(whole, weights, grown, 2), _whereabouts(~_twice(whole), weights, grown, 1)


def _plane(
    references: Sequence[Tensor | None],
    parts: tuple[list[_Users], list[_Users]],
    grid: torch.Size,
    index: int,
) -> Tensor:
    """Prediction [1, 1, H, W] of plane `index` (0 luma) on a grid [gh, gw] of 8x8 blocks, from
    planes of the two references."""
    block, filters = (BLOCK, (OVERLAP, LUMA_TAPS, LUMA_PHASES))
    if index > 0:
        block, filters = (BLOCK // 2, (OVERLAP // 2, CHROMA_TAPS, CHROMA_PHASES))
    padded = [None if r is None else pad(r) for r in references]
    canvas: Tensor | None = None
    for blocks, sides in zip((2, 1), parts, strict=True):
        layer = _layer(
            padded, sides, torch.Size((grid[0] + 4, grid[1] + 4)), block, blocks, filters
        )
        canvas = layer if canvas is None else canvas if layer is None else canvas + layer
    assert canvas is not None
    return canvas[2 * block : -2 * block, 2 * block : -2 * block][None, None].contiguous()


def pad(planes: Tensor) -> Tensor:
    """[R, 1, H, W] -> [R, H + 2 margin, W + 2 margin], for `sample_tiles`."""
    return F.pad(planes, (MARGIN,) * 4, mode="replicate")[:, 0]


def _twice(grid: Tensor) -> Tensor:
    return grid.repeat_interleave(2, 0).repeat_interleave(2, 1)


class _Users(NamedTuple):
    """The blocks that use one reference: numbers, rows and columns [n], weights [n], vectors [2,
    n]."""

    at: Tensor
    row: Tensor
    column: Tensor
    weight: Tensor
    vectors: Tensor


def _whereabouts(
    chosen: Tensor, weights: list[Tensor], vectors: Tensor, stride: int
) -> list[_Users]:
    """Of the chosen blocks, `stride` 8x8 blocks wide, those that use each reference."""
    found = []
    for side in (0, 1):
        weight = weights[side][::stride, ::stride]
        row, column = torch.nonzero(chosen & (weight > 0), as_tuple=True)
        own = vectors[side, :, ::stride, ::stride][:, row, column]
        found.append(_Users(row * chosen.shape[1] + column, row, column, weight[row, column], own))
    return found


def _layer(
    references: list[Tensor | None],
    sides: list[_Users],
    grid: torch.Size,
    block: int,
    blocks: int,
    filters: tuple[int, int, int],
) -> Tensor | None:
    """The share of a plane, with its ring, that blocks of `blocks` x `blocks` blocks have; None if
    there are none.

    filters: overlap in samples, taps, phases.
    """
    if not any(len(users.at) for users in sides):
        return None
    size, rows, columns = block * blocks, grid[0] // blocks, grid[1] // blocks
    overlap, count, phases = filters
    tile = size + 2 * overlap
    tiles: Tensor | None = None
    for reference, users in zip(references, sides, strict=True):
        if not len(users.at):
            continue
        if reference is None:
            raise ValueError("a block is predicted from a reference that is missing")
        top, left = users.row * size - 2 * block, users.column * size - 2 * block
        found = sample_tiles(reference, users.vectors, top, left, size, overlap, count, phases)
        if tiles is None:
            tiles = found.new_zeros(rows * columns, tile, tile)
        tiles.index_add_(0, users.at, found.mul_(users.weight.view(-1, 1, 1)))
    assert tiles is not None
    return _blend(tiles, rows, columns, size, overlap)
