"""Figures of panels by matplotlib, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stcodec.common.files import temporary_output
from stcodec.errors import StcodecError, UsageError

ENDINGS = (".png", ".svg", ".pdf")


def check(path: str | os.PathLike[str]) -> None:
    """Refuse a plot before any work is done: UsageError for an ending that is not known,
    StcodecError without matplotlib."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: the ending of a plot must be one of {', '.join(ENDINGS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise StcodecError("a plot needs matplotlib: pip install 'stcodec[bench]'") from error


@contextlib.contextmanager
def figure(
    path: str | os.PathLike[str],
    rows: int,
    columns: int,
    size: tuple[float, float],
    dpi: float = 100.0,
    palette: bool = False,
    **options: Any,
) -> Iterator[Any]:
    """Axes [rows, columns] (an array of matplotlib's) to draw on; the block's end writes `path`.

    size: width and height in inches; palette: a PNG of 64 colours, several times smaller where few
    are in use; options: of `matplotlib.figure.Figure.subplots`. The format goes by the ending, see
    `check`. A block that fails writes nothing.
    """
    check(path)
    # Not by pyplot, which keeps every figure and wants a display where there is one.
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, layout="tight")
    yield drawn.subplots(rows, columns, squeeze=False, **options)
    ending = Path(path).suffix.lower()
    # Without the name and version of the program, equal plots are equal files.
    metadata = {"Software": None} if ending == ".png" else None
    with temporary_output(path) as temporary:
        drawn.savefig(temporary, dpi=dpi, format=ending[1:], metadata=metadata)
        if palette and ending == ".png":
            _reduce(temporary)


def _reduce(path: str | os.PathLike[str]) -> None:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)
