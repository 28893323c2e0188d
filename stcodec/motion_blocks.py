"""Blocks of pictures at sub-sample positions, many at once: what the motion search spends its time on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# A block that lies outside by more than this looks the same wherever it lies.
MARGIN = 24
_TAPS = (
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    (0.012, -0.086, 0.892, 0.237, -0.062, 0.007),
    (0.022, -0.132, 0.610, 0.610, -0.132, 0.022),
    (0.007, -0.062, 0.237, 0.892, -0.086, 0.012),
)


class Phases:
    """Sub-sample phase planes of pictures [R, H, W] with a margin; a block at any vector is one gather.

    phases: 4 for quarter samples, 1 for whole ones.
    """

    def __init__(self, planes: Tensor, phases: int) -> None:
        padded = F.pad(planes[:, None], (MARGIN + 2, MARGIN + 3) * 2, mode="replicate")[:, 0]
        self.height, self.width = planes.shape[-2] + 2 * MARGIN, planes.shape[-1] + 2 * MARGIN
        self.phases = phases
        if phases == 1:
            self.samples = padded[:, 2:-3, 2:-3].reshape(-1)
            return
        taps = [[t / sum(row) for t in row] for row in _TAPS]
        buffer = _borrow((len(planes), 4, 4, self.height, self.width), planes.device)
        line = torch.empty(padded.shape[1], self.width, device=planes.device)
        for r in range(len(planes)):
            for x in range(4):
                _filter_into(line.T, padded[r].T, taps[x], self.width)
                for y in range(4):
                    _filter_into(buffer[r, y, x], line, taps[y], self.height)
        self.samples = buffer.view(-1)
        self._buffer = buffer

    def release(self) -> None:
        """Give the buffer back; the object must not be used again."""
        _buffers.setdefault(tuple(self._buffer.shape), []).append(self._buffer)

    def gather(
        self, vectors: Tensor, top: Tensor, left: Tensor, picture: Tensor, block: int, stride: int = 1
    ) -> Tensor:
        """Samples [n, samples] of blocks: vectors [2, n] in units of one phase, corners top and left [n], picture [n];
        of every `stride`-th row."""
        bits = self.phases.bit_length() - 1
        whole = vectors >> bits
        part = vectors - (whole << bits)
        top = (top + whole[0]).clamp_(0, self.height - block)
        left = (left + whole[1]).clamp_(0, self.width - block)
        plane = (picture * self.phases + part[0]) * self.phases + part[1]
        # Whole rows of a block are taken at once: a view in which row i starts at sample i.
        base = (plane * self.height + top) * self.width + left
        lines = torch.arange(0, block, stride, device=vectors.device) * self.width
        rows = self.samples.as_strided((len(self.samples) - block, block), (1, 1))
        return rows.index_select(0, (base[:, None] + lines).view(-1)).view(len(base), len(lines) * block)


class Grid:
    """Where the rows x columns blocks of P pictures lie, in planes with a margin.

    `top` and `left`: int64 [P rows columns], in samples; `picture`, likewise, the reference (`pictures` [P]) that each looks at.
    """

    def __init__(self, rows: int, columns: int, block: int, pictures: Tensor) -> None:
        device, count = pictures.device, len(pictures)
        top = (torch.arange(rows, device=device) * block + MARGIN)[:, None].expand(rows, columns)
        left = (torch.arange(columns, device=device) * block + MARGIN).expand(rows, columns)
        self.top = top.expand(count, rows, columns).reshape(-1)
        self.left = left.expand(count, rows, columns).reshape(-1)
        self.picture = pictures.view(-1, 1, 1).expand(count, rows, columns).reshape(-1)


# Fresh memory of this size costs more to map than to fill, so that buffers are kept.
_buffers: dict[tuple[int, ...], list[Tensor]] = {}


def _borrow(shape: tuple[int, ...], device: torch.device) -> Tensor:
    waiting = _buffers.get(shape, [])
    if waiting and waiting[-1].device == device:
        return waiting.pop()
    _buffers.clear()
    return torch.empty(shape, device=device)


def _filter_into(out: Tensor, plane: Tensor, taps: list[float], size: int) -> None:
    """Filter along the first axis: `size` rows out of size + 5."""
    torch.mul(plane[2 : size + 2], taps[2], out=out)
    for k in (0, 1, 3, 4, 5):
        if taps[k]:
            out.add_(plane[k : k + size], alpha=taps[k])


def blocks_of(planes: Tensor, block: int, stride: int = 1) -> Tensor:
    """Blocks of pictures [P, H, W] -> [P * blocks, samples], every `stride`-th row."""
    count, rows, columns = len(planes), planes.shape[1] // block, planes.shape[2] // block
    tiles = planes.view(count, rows, block, columns, block).transpose(2, 3)[:, :, :, ::stride]
    return tiles.reshape(count * rows * columns, -1)


def absolute_difference(a: Tensor, b: Tensor) -> Tensor:
    """Sums of absolute differences [n] of blocks [n, samples], in one pass over memory."""
    return torch.cdist(a[:, None], b[:, None], p=1.0).view(-1)
