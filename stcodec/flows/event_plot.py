"""A time line of what happens in a video, with pictures of the strongest events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stcodec.common import plotting
from stcodec.flows.events import Activity, Event
from stcodec.flows.library import Video

_PICTURES = 4


def plot(source: str, seen: Sequence[Activity], found: Sequence[Event], target: Path) -> None:
    """Draw the strength of all moments over time, with events marked, and pictures of the strongest
    ones in the order of time above, into `target` (see `plotting.check`)."""
    strongest = sorted(found, key=lambda event: -event.strength)[:_PICTURES]
    shown = sorted(strongest, key=lambda event: event.start)
    columns = max(1, len(shown))
    with plotting.figure(target, 2, columns, (3.2 * max(3, columns), 5.2)) as axes:
        with Video(source) as video:
            for axis, event in zip(axes[0], shown, strict=False):
                _picture(axis, video, event)
        for axis in axes[0][len(shown) :]:
            axis.set_visible(False)
        grid = axes[1][0].get_gridspec()
        for axis in axes[1]:
            axis.remove()
        line = axes[0][0].figure.add_subplot(grid[1, :])
        starts = [one.start for one in seen]
        line.step(starts, [one.strength for one in seen], where="post", linewidth=1)
        for event in found:
            line.axvspan(event.start, event.end, alpha=0.2, color="C1")
        line.set(xlabel="seconds", ylabel="strength", ylim=(0, None))
        line.grid(True, alpha=0.3)
        events = "1 event" if len(found) == 1 else f"{len(found)} events"
        line.set_title(f"{Path(source).name}: {events}", fontsize=10)


def _picture(axis: Any, video: Video, event: Event) -> None:
    rgb = video[event.peak_frame : event.peak_frame + 1].tensors(rgb=True)[0]
    axis.imshow(np.asarray(rgb.clamp(0, 1).permute(1, 2, 0).cpu()))
    x, y, width, height = event.box
    axis.plot(
        [x, x + width, x + width, x, x], [y, y, y + height, y + height, y], color="C1", linewidth=1
    )
    axis.set(xlim=(0, video.info.width - 1), ylim=(video.info.height - 1, 0))
    axis.set_axis_off()
    axis.set_title(f"{event.peak:.2f} s", fontsize=9)
