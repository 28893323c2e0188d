"""The integer side of a chunk: the motion and the magnitudes of its coded frames, which say under
what indices symbols are coded. Pictures are never looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.candidate_kernels import Field
from stcodec.codec.exact import Exact, copied
from stcodec.codec.indices import StepContext
from stcodec.codec.loop_filter import Changes, unchanged
from stcodec.codec.model_files import Model
from stcodec.codec.motion import FIRST, SECOND, Fields
from stcodec.codec.palette import PaletteContexts
from stcodec.codec.patches import MOTION_BLOCK, Geometry
from stcodec.codec.tree import BEFORE, EARLIER, KEY, LEAF, Step
from stcodec.codec.vectors import (
    CodedField,
    FieldShape,
    MotionContexts,
    MotionStream,
    code_fields,
    frame_hints,
    open_field,
)


@dataclass
class Known:
    """Of the frames of a chunk that have been coded, by number (BEFORE: the last one of the chunk
    before): magnitudes of their symbols [1, rows, columns, C], and their motion; before: how many
    chunks of the segment come before this one; exact: which of their patches are exact, bool [rows,
    columns], of frames that have such; filters: the changes of loop filters that hold; lasting:
    those that will hold in the next chunk."""

    magnitudes: dict[int, Tensor] = field(default_factory=dict)
    fields: dict[int, CodedField] = field(default_factory=dict)
    before: int = 0
    exact: dict[int, np.ndarray] = field(default_factory=dict)
    filters: Changes = field(default_factory=unchanged)
    lasting: Changes = field(default_factory=unchanged)

    def take(self, step: Step, chosen: Sequence[Changes]) -> None:
        """The filters of the frames of a step hold on, but for those of intra frames, which serve
        themselves alone. Only those of key frames last beyond the chunk: a reader may leave out
        other levels."""
        for changes in chosen if step.predicted else ():
            self.filters = self.filters.after(changes)
        if step.level == 0:
            self.lasting = self.filters

    def take_exact(self, step: Step, exact: Sequence[Exact]) -> None:
        """What is exact in the frames of a step."""
        patches = zip(step.frames, (one.patches() for one in exact), strict=True)
        self.exact |= {frame: some for frame, some in patches if some is not None}


class Contexts:
    """What symbols are coded under, chunk after chunk of a video. One thread at a time owns it."""

    def __init__(self, model: Model, geometry: Geometry) -> None:
        self._geometry = geometry
        self.motion = MotionContexts(model.motion_start)
        self.palettes = PaletteContexts(geometry)
        self._before: Known | None = None

    def start(self, first: bool) -> Known | None:
        """What is known when a chunk begins; None where the chunk before is missing, or did not get
        as far as `keep`. The `first` chunk of a segment knows nothing."""
        if first:
            self._before = Known()
            self.motion.restart()
            self.palettes.restart()
        known, self._before = self._before, None
        return known

    def keep(self, known: Known, length: int) -> None:
        """Keep of a chunk of so many frames what the next one goes by: its last frame."""
        key = length - 1
        lasting = (key, BEFORE), (BEFORE, EARLIER)
        self._before = Known(
            {BEFORE: known.magnitudes[key]},
            before=known.before + 1,
            exact={to: known.exact[i] for i, to in lasting if i in known.exact},
            filters=known.lasting,
            lasting=known.lasting,
        )
        if key in known.fields:
            last = known.fields[key]
            at = [None if r is None else r - length for r in last.references]
            kept = CodedField(last.vectors, last.modes, BEFORE, (at[0], at[1]))
            self._before.fields[BEFORE] = kept

    def hints(self, step: Step, known: Known) -> np.ndarray:
        """Expected vectors of the one frame of a step; see `vectors.frame_hints`."""
        return frame_hints(step, known.fields, self._shape(step))

    def code_fields(
        self, stream: MotionStream, step: Step, known: Known, fields: Fields | None
    ) -> Fields:
        """Code the motion of the frames of a step (None: read it). Errors of
        `vectors.code_fields`."""
        opened = [self._open(single, known) for single in step.singles()]
        return self._remember(step, known, code_fields(stream, step, opened, fields))

    def _open(self, step: Step, known: Known) -> Field:
        first, second = _available(step)[0].tolist()
        return open_field(self._shape(step), (first, second), self.hints(step, known))

    def still_fields(self, step: Step, known: Known) -> Fields:
        """Motion that is not coded: zero vectors, and the modes that the references imply."""
        return self._remember(step, known, still_fields(self._shape(step), _available(step)))

    def _remember(self, step: Step, known: Known, fields: Fields) -> Fields:
        for i, frame in enumerate(step.frames):
            vectors, modes = fields.vectors[i].numpy(), fields.modes[i].numpy()
            known.fields[frame] = CodedField(vectors, modes, frame, step.references[i])
        return fields

    def of_frame(
        self, step: Step, quality: int, fields: Fields | None, magnitudes: Mapping[int, Tensor]
    ) -> StepContext:
        """The context of the one frame of a step, whose own quality this is; fields (batch size 1):
        None of an intra frame; magnitudes: of its references; a key frame takes those of the first.
        """
        shape = (1, *self._geometry.grid, self._geometry.patch.channels)
        references = torch.zeros(shape, dtype=torch.int16)
        for reference in step.references[0][: 1 if step.kind == KEY else 2]:
            if reference is not None:
                references += magnitudes[reference]
        if fields is None:
            return StepContext(step.kind, quality, references, None, None)
        rows, columns = self._geometry.grid
        patch = self._geometry.patch
        row = torch.arange(rows) * patch.h // MOTION_BLOCK
        column = torch.arange(columns) * patch.w // MOTION_BLOCK
        modes = fields.modes[:, row][:, :, column].to(torch.int32)
        spread = vector_spread(fields.vectors, self._geometry.grid)
        return StepContext(step.kind, quality, references, modes, spread)

    def copied(self, step: Step, fields: Fields | None, known: Known) -> np.ndarray | None:
        """Which patches of the one frame of a step, whose motion this is, are copies of exact
        ones; see `exact.copied`. Leaves are what is predicted anyway."""
        if fields is None or not known.exact or step.kind == LEAF:
            return None
        exact = [None if r is None else known.exact.get(r) for r in step.references[0]]
        return copied(fields, exact, self._geometry.patch)

    def _shape(self, step: Step) -> FieldShape:
        return FieldShape(len(step.frames), *self._geometry.blocks)


def _available(step: Step) -> np.ndarray:
    """Which references the frames of a step have, bool [n, 2]."""
    return np.array([[r is not None for r in pair] for pair in step.references])


def still_fields(shape: FieldShape, available: np.ndarray) -> Fields:
    """Zero vectors, and the modes that the available references [n, 2] imply."""
    vectors = torch.zeros(shape.n, 2, 2, shape.rows * 2, shape.columns * 2, dtype=torch.int16)
    modes = torch.zeros(shape.n, shape.rows, shape.columns, dtype=torch.uint8)
    modes[torch.from_numpy(~available[:, 1])] = FIRST
    modes[torch.from_numpy(~available[:, 0])] = SECOND
    return Fields(vectors, modes)


def vector_spread(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """How far neighbouring vectors lie apart, per reference: int [N, 2, 2, h, w] -> [N, rows,
    columns, 2] integers."""
    v = vectors.to(torch.float32)
    spread = torch.zeros(v.shape[0], 2, *v.shape[-2:], device=v.device)
    down = (v[..., 1:, :] - v[..., :-1, :]).abs().amax(2)
    right = (v[..., 1:] - v[..., :-1]).abs().amax(2)
    spread[..., 1:, :] = down
    spread[..., 1:] = torch.maximum(spread[..., 1:], right)
    return torch.nn.functional.adaptive_max_pool2d(spread, grid).permute(0, 2, 3, 1)
