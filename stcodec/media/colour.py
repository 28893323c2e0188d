"""4:2:0 samples to R'G'B', as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from stcodec.common.values import FULL_RANGE, VideoInfo

# K_R and K_B by the matrix code point of ITU-T H.273, equations 38 to 40 and table 4.
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
# By chroma_location of VideoInfo: whether chroma samples lie on luma columns, and on luma rows
# (top; a bottom row is the next one).
_ON_COLUMNS, _ON_TOP_ROWS, _ON_BOTTOM_ROWS = (0, 1, 3, 5), (3, 4), (5, 6)
_HD_ROWS = 720


def rgb_from_planes(planes: tuple[Tensor, Tensor, Tensor], info: VideoInfo) -> Tensor:
    """R'G'B' [N, 3, H, W] in [0, 1], as floating point, of y [N, 1, H, W], u and v [N, 1,
    ceil(H/2), ceil(W/2)] of integers.

    Matrix, range and chroma location are those of `info`; what it does not say is BT.709 from 720
    rows on, else BT.601, limited range, and chroma on the left. Chroma is interpolated linearly.
    The transfer function stays that of the video.
    """
    depth = 1 << (info.bit_depth - 8)
    black, luma, chroma = (0, 256 * depth - 1, 256 * depth - 1)
    if info.color_range != FULL_RANGE:
        black, luma, chroma = 16 * depth, 219 * depth, 224 * depth
    y = (planes[0].float() - black) / luma
    u, v = (
        (_upsample(plane.float(), y, info.chroma_location) - 128 * depth) / chroma
        for plane in planes[1:]
    )
    default = 1 if info.height >= _HD_ROWS else 6
    red, blue = _WEIGHTS.get(info.color_matrix, _WEIGHTS[default])
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return torch.cat((r, g, b), 1).clamp_(0, 1)


def _upsample(plane: Tensor, like: Tensor, location: int) -> Tensor:
    """Twice the rows and columns, cropped to the size of `like`."""
    rows = _double(plane, 2, location in _ON_TOP_ROWS, location in _ON_BOTTOM_ROWS)
    both = _double(rows, 3, location in _ON_COLUMNS, False)
    return both[..., : like.shape[2], : like.shape[3]]


def _double(plane: Tensor, dim: int, on_even: bool, on_odd: bool) -> Tensor:
    """Samples between those of `plane` along `dim`, linearly. They lie on the even places of the
    result, the odd ones, or half-way."""
    size = plane.shape[dim]
    index = torch.arange(size, device=plane.device)
    before, after = (plane.index_select(dim, (index + k).clamp(0, size - 1)) for k in (-1, 1))
    if on_even:
        even, odd = plane, (plane + after) / 2
    elif on_odd:
        even, odd = (before + plane) / 2, plane
    else:
        even, odd = (before + 3 * plane) / 4, (3 * plane + after) / 4
    return torch.stack((even, odd), dim + 1).flatten(dim, dim + 1)
