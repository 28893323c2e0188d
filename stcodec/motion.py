"""Motion vectors, motion-compensated prediction, and the lifting tree of a chunk.

Vectors count quarter luma samples, one per 8x8 luma block and reference; a pixel p of a block is predicted from p + v / 4 of the
reference (v / 8 in chroma), beyond the picture's edge from the nearest sample. Luma is interpolated with 8 taps and chroma with 4,
separable, windowed-sinc filters; neighbouring blocks overlap (overlapped block motion compensation, Orchard and Sullivan 1994).

A chunk is a tree of predict-only lifting steps (Sweldens 1996; motion-compensated: Secker and Taubman 2001): every frame but
the root is replaced by its difference from a prediction out of frames that are inverted before it, so the inverse is exact
whatever the vectors are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.patches import Frames

BLOCK = 8
BI, FIRST, SECOND = 0, 1, 2
_MARGIN = 32
LUMA_TAPS, LUMA_PHASES = 8, 4
CHROMA_TAPS, CHROMA_PHASES = 4, 8
OVERLAP = 2  # luma samples by which a block's prediction reaches into its neighbours


@dataclass(frozen=True)
class Fields:
    """Motion of N frames, each predicted from up to two references.

    vectors: int16 [N, 2, 2, H/8, W/8], (reference, (dy, dx)) in quarter luma samples per 8x8 luma block.
    modes: uint8 [N, H/16, W/16] per 16x16 block: 0 = mean of both references, 1 = the first alone, 2 = the second alone.
    """

    vectors: Tensor
    modes: Tensor


@dataclass(frozen=True)
class Step:
    """Frames (0..7) that are coded together, and the two references of each: a frame, -1 = the last one of the chunk
    before, None = there is none. level 0 = key, 3 = leaf."""

    frames: tuple[int, ...]
    references: tuple[tuple[int | None, int | None], ...]
    level: int

    def singles(self) -> tuple[Step, ...]:
        """One step per frame."""
        return tuple(Step((f,), (r,), self.level) for f, r in zip(self.frames, self.references, strict=True))


_LEAVES = Step((0, 2, 4, 6), ((-1, 1), (1, 3), (3, 5), (5, 7)), 3)
_MIDDLE = Step((1, 5), ((-1, 3), (3, 7)), 2)
TREES: tuple[tuple[Step, ...], ...] = (
    (Step((7,), ((-1, None),), 0), Step((3,), ((-1, 7),), 1), _MIDDLE, _LEAVES),
    (Step((3,), ((-1, None),), 0), Step((7,), ((3, None),), 0), _MIDDLE, _LEAVES),
    (*(Step((f,), ((f - 2, None),), 0) for f in (1, 3, 5, 7)), _LEAVES),
)


def steps(tree: int, first: bool) -> tuple[Step, ...]:
    """The steps of a tree; at the first chunk of a segment there is no frame -1."""
    if not first:
        return TREES[tree]

    def drop(pair: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
        return (None if pair[0] == -1 else pair[0], pair[1])

    return tuple(Step(s.frames, tuple(drop(p) for p in s.references), s.level) for s in TREES[tree])


@functools.cache
def _taps(count: int, phases: int) -> Tensor:
    """Interpolation filters [phases, count]: sinc under a cosine window, unit sum; phase 0 is the identity."""
    rows = []
    for phase in range(phases):
        x = torch.arange(count, dtype=torch.float64) - (count // 2 - 1) - phase / phases
        row = torch.sinc(x) * torch.cos(math.pi * x / (count + 1))
        rows.append(row / row.sum())
    return torch.stack(rows).float()


def _window(size: int, overlap: int) -> Tensor:
    """Blending weights [size + 2 overlap] of a block: shifted by `size` they sum to one."""
    ramp = (torch.arange(2 * overlap, dtype=torch.float32) + 0.5) / max(1, 2 * overlap)
    return torch.cat([ramp, torch.ones(size - 2 * overlap), ramp.flip(0)])


@functools.cache
def _tile(size: int, overlap: int) -> Tensor:
    window = _window(size, overlap)
    return window[:, None] * window[None, :]


def _sample_tiles(plane: Tensor, vectors: Tensor, size: int, overlap: int, taps: Tensor) -> Tensor:
    """Interpolated tiles [blocks, T, T], T = size + 2 overlap, of one plane [H, W] at vectors [2, gh, gw].

    The grid may be larger than the picture; block (i, j) starts at sample (i - 1) size of the padded grid.
    """
    phases, count = taps.shape
    height, width = plane.shape
    tile, reach = size + 2 * overlap, size + 2 * overlap + count - 1
    rows, columns = vectors.shape[1:]
    padded = F.pad(plane[None, None], (_MARGIN,) * 4, mode="replicate")[0, 0]
    whole = torch.div(vectors, phases, rounding_mode="floor")
    part = (vectors - whole * phases).long().view(2, -1)
    device = plane.device
    origin = _MARGIN - overlap - (count // 2 - 1) - size
    top = (whole[0] + (torch.arange(rows, device=device) * size + origin)[:, None]).clamp_(
        0, height + 2 * _MARGIN - reach
    )
    left = (whole[1] + torch.arange(columns, device=device) * size + origin).clamp_(0, width + 2 * _MARGIN - reach)
    stride = width + 2 * _MARGIN
    # Whole rows of a window are taken at once: a view in which row i starts at sample i.
    flat = padded.reshape(-1)
    lines = flat.as_strided((len(flat) - reach + 1, reach), (1, 1))
    first = (top * stride + left).long().view(-1, 1) + torch.arange(reach, device=device) * stride
    windows = lines.index_select(0, first.view(-1)).view(-1, reach, reach)
    filters = _filters(taps, tile).to(device)
    vertical, horizontal = filters.index_select(0, part[0]), filters.index_select(0, part[1])
    return vertical @ windows @ horizontal.transpose(1, 2)


def _filters(taps: Tensor, tile: int) -> Tensor:
    """Interpolation as matrices [phases, tile, tile + taps - 1]."""
    phases, count = taps.shape
    filters = torch.zeros(phases, tile, tile + count - 1)
    for i in range(tile):
        filters[:, i, i : i + count] = taps
    return filters


def _blend(tiles: Tensor, rows: int, columns: int, size: int, overlap: int) -> Tensor:
    """Overlap-add of weighted tiles [(rows+2)(columns+2), T, T] -> [rows size, columns size] (the inner blocks)."""
    tile = size + 2 * overlap
    tiles = tiles * _tile(size, overlap).to(tiles.device)
    canvas = F.fold(
        tiles.reshape(1, -1, tile * tile).transpose(1, 2),
        ((rows + 2) * size, (columns + 2) * size),
        tile,
        stride=size,
        padding=overlap,
    )
    return canvas[0, 0, size:-size, size:-size]


def _edge(grid: Tensor) -> Tensor:
    """One more block on every side, a copy of the nearest: [..., gh, gw] -> [..., gh + 2, gw + 2]."""
    shape = grid.shape
    grown = F.pad(grid.reshape(1, -1, *shape[-2:]).float(), (1, 1, 1, 1), mode="replicate")
    return grown.view(*shape[:-2], shape[-2] + 2, shape[-1] + 2)


def predict(first: Sequence[Frames | None], second: Sequence[Frames | None], fields: Fields) -> Frames:
    """Motion-compensated prediction of N frames.

    first, second: for each frame one reference picture (batch size 1) or None where the modes never use it. Returns
    Frames of batch size N; samples are not rounded.
    """
    pictures = []
    for i, pair in enumerate(zip(first, second, strict=True)):
        modes = fields.modes[i].repeat_interleave(2, 0).repeat_interleave(2, 1)
        pictures.append(_predict_one(pair, fields.vectors[i], modes))
    return Frames(*(torch.cat(planes) for planes in zip(*pictures, strict=True)))


def _predict_one(pair: tuple[Frames | None, Frames | None], vectors: Tensor, modes: Tensor) -> Frames:
    rows, columns = modes.shape
    modes = _edge(modes)
    planes: list[Tensor | None] = [None, None, None]
    for side, reference in enumerate(pair):
        weight = torch.where(modes == BI, 0.5, (modes == side + 1).float())
        if reference is None or not bool(weight.any()):
            continue
        grown = _edge(vectors[side])
        whole = bool((weight == 1).all())
        for index, plane in enumerate(reference):
            size, overlap, count, phases = (
                (BLOCK, OVERLAP, LUMA_TAPS, LUMA_PHASES)
                if index == 0
                else (BLOCK // 2, OVERLAP // 2, CHROMA_TAPS, CHROMA_PHASES)
            )
            if whole and not bool(vectors[side].any()):
                planes[index] = plane
                continue
            tiles = _sample_tiles(plane[0, 0], grown, size, overlap, _taps(count, phases))
            if not whole:
                tiles = tiles * weight.view(-1, 1, 1)
            before = planes[index]
            planes[index] = tiles if before is None else before + tiles
    done = []
    for index, tiles_or_plane in enumerate(planes):
        if tiles_or_plane is None:
            raise ValueError("a block is predicted from a reference that is missing")
        plane = tiles_or_plane
        if plane.dim() == 3:
            size, overlap = (BLOCK, OVERLAP) if index == 0 else (BLOCK // 2, OVERLAP // 2)
            plane = _blend(plane, rows, columns, size, overlap)[None, None]
        done.append(plane)
    return Frames(*done)


def lift(frames: Mapping[int, Frames], tree: Sequence[Step], motion: Sequence[Fields | None]) -> dict[int, Frames]:
    """Forward lifting: frames by number (batch size 1 each) -> bands: the root as it is, every other frame minus its
    prediction. `motion` holds the Fields of each step, None for a step without references. Inverse: `unlift`."""
    bands: dict[int, Frames] = {}
    for step, fields in zip(tree, motion, strict=True):
        for i, frame in enumerate(step.frames):
            bands[frame] = frames[frame]
            if fields is not None:
                predicted = _of_step(frames, step, fields, i)
                bands[frame] = Frames(*(a - b for a, b in zip(frames[frame], predicted, strict=True)))
    return bands


def unlift(
    bands: Mapping[int, Frames], tree: Sequence[Step], motion: Sequence[Fields | None], before: Frames | None
) -> dict[int, Frames]:
    """Bands -> frames, coarse to fine; `before` is frame -1, if there is one."""
    frames: dict[int, Frames] = {} if before is None else {-1: before}
    for step, fields in zip(tree, motion, strict=True):
        for i, frame in enumerate(step.frames):
            frames[frame] = bands[frame]
            if fields is not None:
                predicted = _of_step(frames, step, fields, i)
                frames[frame] = Frames(*(a + b for a, b in zip(bands[frame], predicted, strict=True)))
    return frames


def _of_step(frames: Mapping[int, Frames], step: Step, fields: Fields, i: int) -> Frames:
    first, second = (None if r is None else frames[r] for r in step.references[i])
    return predict([first], [second], Fields(fields.vectors[i : i + 1], fields.modes[i : i + 1]))
