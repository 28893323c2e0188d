"""Where a new scene begins: there a segment begins, too. Nothing here is normative."""

from __future__ import annotations

import numpy as np

from stcodec.encoder import tuning


class SceneCutDetector:
    """Says where a scene ends, from luma pictures in presentation order.

    Two measures on a picture reduced to about 32 x 32 means: the mean absolute change against the
    picture before, and the change of the luma histogram. A cut changes both by much more than the
    pictures just before did. Gradual changes (fades, pans) raise the running mean and are not
    reported.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._histogram: np.ndarray | None = None
        self._typical = 0.0

    def is_cut(self, luma: np.ndarray) -> bool:
        """True if `luma` ([h, w], uint8 or uint16) starts a new scene; the first picture does
        not."""
        levels = 256.0 if luma.dtype == np.uint8 else 1024.0
        rows, columns = max(1, luma.shape[0] // 32), max(1, luma.shape[1] // 32)
        small = luma[rows // 2 :: rows, columns // 2 :: columns].astype(np.float32) / levels
        coarse = luma[:: max(1, rows // 4), :: max(1, columns // 4)].astype(np.float32) / levels
        histogram = np.histogram(coarse, bins=32, range=(0.0, 1.0))[0] / coarse.size
        before, histogram_before = self._before, self._histogram
        self._before, self._histogram = small, histogram
        if before is None or histogram_before is None or before.shape != small.shape:
            return False
        change = float(np.abs(small - before).mean())
        moved = float(np.abs(histogram - histogram_before).sum()) / 2
        score = change * (0.5 + moved)
        typical = self._typical
        is_cut = (
            change > tuning.CUT_CHANGE
            and moved > tuning.CUT_HISTOGRAM
            and score > tuning.CUT_OVER_TYPICAL * typical + tuning.CUT_MARGIN
        )
        self._typical = 0.0 if is_cut else max(tuning.CUT_FADING * typical, score)
        return is_cut
