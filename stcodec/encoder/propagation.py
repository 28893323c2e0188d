"""What of a picture lasts: patches that later pictures will show unchanged are worth more bits than
those that are gone by then.

A key frame's error is inherited by every picture that is predicted from it. Where the scene stays
as it is, that is by all until the segment ends; where it changes, residuals replace it at once. So
the encoder lowers the price of bits where little changes (the idea of x264's macroblock tree,
Garrett-Glaser 2009, and of libaom's temporal dependency model), by what has changed since the
reference: what lasted until now is taken to go on lasting. Source pictures alone are looked at.
Nothing here is normative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from stcodec.codec.compensation import predict_luma
from stcodec.codec.motion import Fields
from stcodec.codec.patches import PatchSize
from stcodec.codec.tree import Step
from stcodec.encoder import tuning


def changes(
    luma: Callable[[int], Tensor],
    steps: Sequence[Step],
    fields: Mapping[int, Fields],
    patch: PatchSize,
) -> dict[int, Tensor]:
    """Of each intra and key frame of a chunk: mean squared change of its patches [rows, columns],
    in sample units of [0, 1].

    luma: of a source picture by number, [1, 1, H, W] (-1: the last one of the chunk before);
    fields: of each predicted frame; without them nothing moves. A key frame is compared with its
    reference, an intra frame with the first picture that is predicted from it.
    """
    found = {}
    for step in (s for s in steps if s.level == 0):
        for frame in step.frames:
            later, earlier, side = compared(frame, steps)
            picture = luma(earlier)
            if later in fields:
                picture = predict_luma(picture, fields[later].vectors[0, side])
            found[frame] = mean_squares(luma(later) - picture, patch)[0]
    return found


def compared(frame: int, steps: Sequence[Step]) -> tuple[int, int, int]:
    """The two pictures that say what changes in an intra or key frame: the later one in the order
    of coding, which is predicted from the other, and by which of its two vectors that is."""
    users = [(user, pair) for s in steps for user, pair in zip(s.frames, s.references, strict=True)]
    reference = dict(users)[frame][0]
    if reference is not None:
        return frame, reference, 0
    return next((user, frame, pair.index(frame)) for user, pair in users if frame in pair)


def mean_squares(difference: Tensor, patch: PatchSize) -> Tensor:
    """Luma [N, 1, H, W] -> means of squares over patches [N, rows, columns]."""
    return F.avg_pool2d(difference * difference, (patch.h, patch.w))[:, 0]


def lasting(change: Tensor, squared_step: Tensor) -> Tensor:
    """How much of patches that changed so much later pictures keep, 0..1.

    squared_step: mean square of the quantisation steps of luma, in the units of `change`, of a
    shape that fits.
    """
    return 1.0 / (1.0 + change / (tuning.HALF_WAY * squared_step))


def price_factors(change: Tensor, squared_step: Tensor) -> Tensor:
    """What a bit costs in patches that changed so much, against a patch of which nothing lasts:
    0.5..1. As in `lasting`."""
    return 1.0 - (1.0 - tuning.LASTING_PRICE) * lasting(change, squared_step)
