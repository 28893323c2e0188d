"""Motion-compensated prediction of many pictures at once: what `compensation.predict` computes,
for devices other than the CPU, and for training.

Every operation has a fixed size and no value goes back to the host, so that a GPU runs it without
waiting, and gradients may pass through the references.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec import compensation
from stcodec.codec.motion import BI, BLOCK
from stcodec.codec.patches import Frames
from stcodec.codec.transfers import upload


@functools.lru_cache(maxsize=16)
def _filters(count: int, phases: int, tile: int, device: torch.device) -> Tensor:
    return upload([compensation.interpolation(count, phases, tile)], device)[0]


@functools.lru_cache(maxsize=16)
def _window(size: int, overlap: int, device: torch.device) -> Tensor:
    return upload([compensation.blending(size, overlap)], device)[0]


def predict(first: Frames, second: Frames, vectors: Tensor, modes: Tensor) -> Frames:
    """Prediction of N pictures from two references each, both given (one that the modes never use
    may be anything).

    vectors: integers [N, 2, 2, H/8, W/8], (reference, (dy, dx)) in quarter luma samples; modes: [N,
    H/16, W/16], 0 the mean of both, 1 the first, 2 the second.
    """
    grid = compensation.with_ring(vectors).long()
    fine = compensation.with_ring(modes.repeat_interleave(2, 1).repeat_interleave(2, 2))
    weights = [torch.where(fine == BI, 0.5, (fine == side + 1).float()) for side in (0, 1)]
    planes = []
    for index in range(3):
        block, overlap, taps, phases = (
            BLOCK,
            compensation.OVERLAP,
            compensation.LUMA_TAPS,
            compensation.LUMA_PHASES,
        )
        if index:
            block, overlap, taps, phases = (
                BLOCK // 2,
                overlap // 2,
                compensation.CHROMA_TAPS,
                compensation.CHROMA_PHASES,
            )
        tiles: Tensor | None = None
        for side, frames in enumerate((first, second)):
            found = _tiles(list(frames)[index], grid[:, side], block, overlap, taps, phases)
            found = found * weights[side].reshape(-1, 1, 1)
            tiles = found if tiles is None else tiles + found
        assert tiles is not None
        planes.append(_blend(tiles, grid.shape[0], grid.shape[3], grid.shape[4], block, overlap))
    return Frames(*planes)


def _tiles(
    plane: Tensor, vectors: Tensor, block: int, overlap: int, taps: int, phases: int
) -> Tensor:
    """Interpolated tiles [N gh gw, T, T] around all blocks: plane [N, 1, H, W], vectors [N, 2, gh,
    gw] with a ring of two."""
    n, _, rows, columns = vectors.shape
    device = plane.device
    padded = F.pad(plane, (compensation.MARGIN,) * 4, mode="replicate")[:, 0]
    height, width = padded.shape[1:]
    tile = block + 2 * overlap
    reach = tile + taps - 1
    whole = torch.div(vectors, phases, rounding_mode="floor")
    part = (vectors - whole * phases).reshape(n, 2, -1)
    origin = compensation.MARGIN - overlap - (taps // 2 - 1) - 2 * block
    down = torch.arange(rows, device=device) * block + origin
    right = torch.arange(columns, device=device) * block + origin
    top = (whole[:, 0] + down[:, None]).clamp(0, height - reach)
    left = (whole[:, 1] + right).clamp(0, width - reach)
    corner = (torch.arange(n, device=device)[:, None, None] * height + top) * width + left
    lines = torch.arange(reach, device=device) * width
    flat = padded.reshape(-1)
    if flat.requires_grad:
        at = corner.reshape(-1, 1, 1) + lines[:, None] + torch.arange(reach, device=device)
        windows = flat.index_select(0, at.reshape(-1)).view(-1, reach, reach)
    else:
        # Whole rows of a window are taken at once: a view in which row i starts at sample i.
        rows_of = flat.as_strided((len(flat) - reach + 1, reach), (1, 1))
        at = corner.reshape(-1, 1) + lines
        windows = rows_of.index_select(0, at.reshape(-1)).view(-1, reach, reach)
    filters = _filters(taps, phases, tile, device)
    vertical = filters.index_select(0, part[:, 0].reshape(-1))
    horizontal = filters.index_select(0, part[:, 1].reshape(-1))
    return vertical @ windows @ horizontal.transpose(1, 2)


def _blend(tiles: Tensor, n: int, rows: int, columns: int, size: int, overlap: int) -> Tensor:
    """Overlap-add of tiles under their windows, without the ring: [N, 1, (rows - 4) size, (columns
    - 4) size]."""
    tile, o = size + 2 * overlap, overlap
    tiles = (tiles * _window(size, overlap, tiles.device)).view(n, rows, columns, tile, tile)
    lines = tiles[..., o : o + size]
    from_right = F.pad(tiles[:, :, 1:, :, :o], (size - o, 0, 0, 0, 0, 1))
    from_left = F.pad(tiles[:, :, :-1, :, size + o :], (0, size - o, 0, 0, 1, 0))
    lines = lines + from_right + from_left
    canvas = lines[:, :, :, o : o + size]
    from_below = F.pad(lines[:, 1:, :, :o], (0, 0, size - o, 0, 0, 0, 0, 1))
    from_above = F.pad(lines[:, :-1, :, size + o :], (0, 0, 0, size - o, 0, 0, 1, 0))
    canvas = (canvas + from_below + from_above)[:, 2:-2, 2:-2]
    return canvas.transpose(2, 3).reshape(n, 1, (rows - 4) * size, (columns - 4) * size)
