"""Under which table each symbol of a frame is coded: what the scale networks see, pass by pass, and
what they say. Integers alone, so that every machine finds the same.

On a CPU compiled loops do it where there are any (`kernels.py`), tensors elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import kernels, scales
from stcodec.codec.scales import GroupNetwork, ScaleNetworks
from stcodec.codec.tree import INTRA
from stcodec.common.timing import stage

if TYPE_CHECKING:
    from stcodec.codec import index_kernels


@dataclass
class StepContext:
    """What is known about the one frame of a step before its symbols, all integers.

    kind: 0 intra, 1 key, 2..4 two-sided levels. quality: of the frame (`Network.quality_of`).
    references: magnitudes of the references' symbols, summed over both, int16 [1, rows, columns,
    C]. modes int [1, rows, columns] or None; motion int [1, rows, columns, 2] or None: how far
    vectors lie apart.
    """

    kind: int
    quality: int
    references: Tensor
    modes: Tensor | None
    motion: Tensor | None

    def scalars(self) -> Tensor:
        """The inputs that are not magnitudes, float [patches, S]."""
        count = self.references[..., 0].numel()
        modes = None if self.modes is None else self.modes.reshape(count)
        motion = None if self.motion is None else self.motion.reshape(count, 2)
        return scales.scalar_inputs(self.quality, count, modes, motion, self.references.device)


class Group(NamedTuple):
    """A frequency group: its number, channels from `start` up to `end`, scale network."""

    number: int
    start: int
    end: int
    network: GroupNetwork


def frequency_groups(ends: tuple[int, ...], networks: ScaleNetworks, kind: int) -> list[Group]:
    """The groups of a kind of frame, low frequencies first; ends: where each ends."""
    starts = (0, *ends[:-1])
    numbered = enumerate(zip(starts, ends, networks.of(kind), strict=True))
    return [Group(number, start, end, network) for number, (start, end, network) in numbered]


class Sparse(NamedTuple):
    """What is not zero of a matrix float [p, C]: at which rows and columns, int64 [k] each, and the
    values [k]."""

    rows: Tensor
    columns: Tensor
    values: Tensor


class Pass:
    """One lattice of patches `at` [p] with the neighbours `near` [4 p] (None: there are none)."""

    def __init__(self, frame: FrameIndices, lattice: int, at: Tensor, near: Tensor | None) -> None:
        self.lattice, self.at, self.near = lattice, at, near
        self.context_class = scales.context_class(frame.kind, lattice)
        self._frame = frame
        with stage("scales"):
            self._known: Any = frame.inputs.of_pass(at, near)

    def indices(self, group: Group) -> Tensor:
        """Table indices uint8 [p, outputs] of a group, given the symbols of the groups before."""
        with stage("scales"):
            return self._frame.inputs.ask(group, self.context_class, self.at, self._known)

    def take(self, group: Group, symbols: Tensor, index: Tensor, centroids: Tensor) -> Sparse:
        """Keep symbols int32 [p, outputs] of a group, coded under `index`; what they stand for.

        centroids: see `Network.centroids`."""
        return self._frame.inputs.take(group.start, symbols, index, self.at, centroids)

    def dense_inputs(self) -> Tensor:
        """All inputs of the scale networks [p, inputs], as training wants them."""
        known = _Tensors(self._frame).of_pass(self.at, self.near)
        own = scales.log_magnitude(self._frame.magnitudes[self.at])
        return torch.cat([own, known], dim=1)


class FrameIndices:
    """The indices of a frame, and the magnitudes of its symbols, which they follow from.

    magnitudes int16 [patches + 1, C]: zero where nothing has been coded yet, and outside the
    picture, which is the last row; some bool [patches + 1]: which patches have any.
    """

    def __init__(self, context: StepContext) -> None:
        self.kind, self.context = context.kind, context
        self._shape = context.references.shape
        _, rows, columns, channels = self._shape
        device, patches = context.references.device, rows * columns
        self.magnitudes = torch.zeros(patches + 1, channels, dtype=torch.int16, device=device)
        self.some = torch.zeros(patches + 1, dtype=torch.bool, device=device)
        loops = kernels.loops() if device.type == "cpu" else None
        with stage("scales"):
            self.inputs = _Tensors(self) if loops is None else _Loops(self, loops)

    def passes(self) -> Iterator[Pass]:
        """The passes in order; each sees what those before have taken."""
        _, rows, columns, _ = self._shape
        positions = scales.lattice_positions(rows, columns, self.kind, self.magnitudes.device)
        for lattice, (at, near) in enumerate(positions):
            if len(at):
                yield Pass(self, lattice, at, near)

    def grid(self) -> Tensor:
        """The magnitudes of all symbols, int16 [1, rows, columns, C]."""
        return self.magnitudes[:-1].view(self._shape)


class _Tensors:
    """The scale networks as matrix products."""

    def __init__(self, frame: FrameIndices) -> None:
        self._frame = frame
        references = frame.context.references
        patches, channels = references[..., 0].numel(), references.shape[-1]
        parts = []
        if frame.kind != INTRA:
            bands = scales.box_sum(scales.band_sums(references.float()))
            parts = [references.view(patches, channels), bands.view(patches, -1)]
        logs = [scales.log_magnitude(part) for part in parts]
        self._fixed = torch.cat([*logs, frame.context.scalars()], dim=1)

    def of_pass(self, at: Tensor, near: Tensor | None) -> Tensor:
        """The inputs [p, F] of the patches `at` that do not depend on the patches themselves."""
        magnitudes = self._frame.magnitudes
        count, channels = len(at), magnitudes.shape[1]
        sides = torch.zeros(count, 4, channels, device=at.device)
        if near is not None:
            sides = magnitudes.index_select(0, near).view(count, 4, channels).float()
        around = sides.sum(1)
        close = sides.flatten(1) if self._frame.kind == INTRA else around
        logs = scales.log_magnitude(close), scales.log_magnitude(scales.band_sums(around))
        return torch.cat([*logs, self._fixed.index_select(0, at)], dim=1)

    def ask(self, group: Group, context_class: int, at: Tensor, known: Tensor) -> Tensor:
        """Table indices uint8 [p, outputs]; known: what `of_pass` gave."""
        lower = None
        if group.start:
            lower = scales.log_magnitude(self._frame.magnitudes[at, : group.start])
        return group.network.indices(known, context_class, lower)

    def take(
        self, start: int, symbols: Tensor, index: Tensor, at: Tensor, centroids: Tensor
    ) -> Sparse:
        """See `Pass.take`; the channels from `start` on of the patches `at`."""
        sizes = symbols.abs().clamp_(max=scales.LARGEST_MAGNITUDE).to(torch.int16)
        channels = slice(start, start + symbols.shape[1])
        self._frame.magnitudes[:, channels].index_copy_(0, at, sizes)
        self._frame.some[at] |= symbols.any(1)
        row, column = torch.nonzero(symbols, as_tuple=True)
        some = symbols[row, column].float()
        large = (some.abs() > 1).long()
        offset = centroids[index[row, column].long(), large]
        return Sparse(row, column + start, some + some.sign() * offset)


class _Loops:
    """The scale networks in compiled loops."""

    def __init__(self, frame: FrameIndices, loops: kernels.Loops) -> None:
        self._loops, self._apart = loops.indices, frame.kind == INTRA
        self._take = loops.symbols.take
        context = frame.context
        _, rows, columns, channels = context.references.shape
        references = context.references.view(rows * columns, channels).numpy()
        if self._apart:
            references = references[:0]
        slices = np.array(scales.band_slices(channels), np.int64)
        bands = np.empty((len(references), scales.BANDS), np.int32)
        self._loops.band_sums(references, slices, bands)
        self._frame = self._loops.Frame(
            columns,
            frame.magnitudes.numpy(),
            frame.some.numpy(),
            references,
            bands,
            slices,
            context.scalars().to(torch.uint8).numpy(),
            scales.LOG_TABLE.to(torch.uint8).numpy(),
        )
        self._most = scales.input_size(channels, self._apart) - channels

    def of_pass(self, at: Tensor, near: Tensor | None) -> index_kernels.Inputs:
        """The inputs other than zero of the patches `at` that do not depend on the patches
        themselves."""
        most = len(at) * self._most
        inputs = self._loops.Inputs(
            np.empty(len(at) + 1, np.int64), np.empty(most, np.int16), np.empty(most, np.uint8)
        )
        around = np.empty(0, np.int64) if near is None else near.numpy()
        self._loops.gather(self._frame, at.numpy(), around, self._apart, inputs)
        return inputs

    def ask(
        self, group: Group, context_class: int, at: Tensor, known: index_kernels.Inputs
    ) -> Tensor:
        """Table indices uint8 [p, outputs]; known: what `of_pass` gave."""
        out = np.empty((len(at), group.end - group.start), np.uint8)
        weights, biases, outer, offsets = group.network.layers
        first, second = (weights, biases[context_class]), (outer, offsets[context_class])
        shifts = scales.SHIFT_1, scales.SHIFT_2
        most = scales.HIDDEN_MAX, scales.SCALE_COUNT - 1
        self._loops.find(
            self._frame, at.numpy(), known, group.start, first, second, shifts, most, out
        )
        return torch.from_numpy(out)

    def take(
        self, start: int, symbols: Tensor, index: Tensor, at: Tensor, centroids: Tensor
    ) -> Sparse:
        """See `Pass.take`; the channels from `start` on of the patches `at`."""
        frame = self._frame
        arrays = (t.detach().numpy() for t in (symbols, index, at))
        found = self._take(
            *arrays,
            start,
            centroids.detach().numpy(),
            scales.LARGEST_MAGNITUDE,
            frame.magnitudes,
            frame.some,
        )
        return Sparse(*map(torch.from_numpy, found))
