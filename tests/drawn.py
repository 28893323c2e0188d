"""Videos that were drawn: pages of letters that stand still or are scrolled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

Planes = list[np.ndarray]


def page(height: int, width: int, seed: int = 0) -> Planes:
    """Letters of five greys on white, in lines, some of them coloured; Y, U and V."""
    random = np.random.default_rng(seed)
    luma = np.full((height, width), 235, np.uint8)
    tint = np.full((2, height // 2, width // 2), 128, np.uint8)
    letters = random.choice([235, 190, 120, 60, 16], (30, 9, 6), p=[0.45, 0.1, 0.1, 0.1, 0.25])
    for top in range(3, height - 9, 13):
        left = int(random.integers(4, 20))
        while left < width - 8 - int(random.integers(0, width // 4)):
            luma[top : top + 9, left : left + 6] = letters[random.integers(0, len(letters))]
            left += int(random.choice([7, 7, 7, 13]))
        if random.random() < 0.2:
            tint[:, top // 2 : top // 2 + 5] = random.integers(90, 160, (2, 1, 1))
    return [luma, *tint]


def scrolled(whole: Planes, top: int, height: int, bar: int = 16) -> Planes:
    """What a window of this height shows of a page from a row (even) on, under a bar."""
    planes = []
    for i, plane in enumerate(whole):
        start, high = (top, height) if i == 0 else (top // 2, height // 2)
        part = plane[start : start + high].copy()
        part[: bar if i == 0 else bar // 2] = 180 if i == 0 else 120
        planes.append(part)
    return planes


def pages(
    frames: int,
    scroll: Callable[[int], int] = lambda i: 0,
    height: int = 96,
    width: int = 128,
    seed: int = 0,
) -> list[Planes]:
    """Pictures of a page that is scrolled: by picture, which row (even) is at the top."""
    whole = page(height + max(scroll(i) for i in range(frames)), width, seed)
    return [scrolled(whole, scroll(i), height) for i in range(frames)]


def write(path: Path, pictures: list[Planes]) -> Path:
    """A lossless video of these pictures, 25 a second."""
    height, width = pictures[0][0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for planes in pictures:
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, samples in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size), np.uint8)
                rows[:, : samples.shape[1]] = samples
                plane.update(rows)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
