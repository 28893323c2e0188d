"""Pictures as arrays into a file that keeps them as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from stcodec.common.values import PathLike
from stcodec.errors import UsageError

_FORMATS = {
    ("uint8", 1): "gray",
    ("uint8", 3): "rgb24",
    ("uint8", 4): "rgba",
    ("uint16", 1): "gray16le",
    ("uint16", 3): "rgb48le",
    ("uint16", 4): "rgba64le",
}


class ArrayWriter:
    """Writes a NUT file of raw video, pictures at `fps`; `close` completes it. A context
    manager."""

    def __init__(self, path: PathLike, fps: Fraction) -> None:
        self._base = 1 / fps
        self._file = av.open(str(path), "w", format="nut")
        self._stream: Any = self._file.add_stream("rawvideo", rate=fps)
        self._shape: tuple[tuple[int, ...], str] | None = None
        self.count = 0

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, picture: np.ndarray) -> None:
        """A picture uint8 or uint16 [H, W] (grey), [H, W, 3] (R'G'B') or [H, W, 4] (with
        transparency, which is lost later). UsageError for anything else, or another size or
        type than before."""
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[:, :, 0]
        channels = 1 if picture.ndim == 2 else picture.shape[-1]
        name = _FORMATS.get((picture.dtype.name, channels))
        if picture.ndim not in (2, 3) or name is None or 0 in picture.shape:
            raise UsageError(
                "a picture is an array of uint8 or uint16 of height x width, height x width x 3 or"
                f" x 4, not {picture.dtype.name} of {' x '.join(map(str, picture.shape))}"
            )
        shape = picture.shape, name
        if self._shape is None:
            self._shape = shape
            self._stream.height, self._stream.width = picture.shape[:2]
            self._stream.pix_fmt = name
        if shape != self._shape:
            raise UsageError("pictures of a video have one size and one type")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), name)
        frame.pts, frame.time_base = self.count, self._base
        self.count += 1
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Complete the file."""
        if self._shape is not None:
            self._file.mux(self._stream.encode(None))
            self._shape = None
        self._file.close()
