"""`.stp` files in imageio (`imageio.v3`): its interface of plugins, version 3. See
docs/library.md.

imageio looks for plugins in two tables of its own and nowhere else, so that whoever wants this one
puts it there: `register`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from stcodec.common.files import temporary_folder
from stcodec.container.stp import SIGNATURE
from stcodec.errors import UsageError

NAME, STP = "stcodec", ".stp"


def register() -> None:
    """Make imageio find this plugin by the ending `.stp` and by the name "stcodec". ImportError
    without imageio."""
    from imageio.config import known_extensions, known_plugins
    from imageio.config.extensions import FileExtension
    from imageio.config.plugins import PluginConfig

    known_plugins[NAME] = PluginConfig(
        name=NAME, class_name="StcodecPlugin", module_name=__name__, install_name=NAME
    )
    known_extensions[STP] = [FileExtension(name=NAME, extension=STP, priority=[NAME])]


class StcodecPlugin:
    """What imageio calls a plugin: one `.stp` file, opened to be read or written.

    `options` when reading: those of `stcodec.open`. Pictures are as coded: rotation is not applied.
    imageio's InitializationError for what is no `.stp` file; errors of `stcodec.errors`.
    """

    def __init__(self, request: Any, **options: Any) -> None:
        from imageio.core.request import InitializationError, IOMode

        import stcodec

        self.request = request
        self._video: Any = None
        self._cleanup = contextlib.ExitStack()
        if request.mode.io_mode == IOMode.write:
            if request.extension != STP:
                raise InitializationError(f"stcodec writes files that end in {STP}")
            self._arrays: Any = None
            self._encode: dict[str, Any] = {}
        elif request.firstbytes.startswith(SIGNATURE):
            self._video = stcodec.open(request.get_local_filename(), **options)
        else:
            raise InitializationError("no .stp file")

    def read(self, *, index: int | EllipsisType = ..., dtype: str = "uint8") -> np.ndarray:
        """All pictures [n, H, W, 3] (index ...), or one [H, W, 3], R'G'B'; dtype and limits of
        memory as of `Clip.to_numpy`. IndexError for a picture that there is not."""
        if index is ...:
            return self._video.to_numpy(dtype=dtype)
        first = range(len(self._video))[index]
        return self._video[first : first + 1].to_numpy(dtype=dtype)[0]

    def iter(self, *, dtype: str = "uint8") -> Iterator[np.ndarray]:
        """Picture after picture, as of `read`; memory does not grow with length."""
        for first in range(len(self._video)):
            yield self._video[first : first + 1].to_numpy(dtype=dtype)[0]

    def properties(self, index: int | EllipsisType = ..., *, dtype: str = "uint8") -> Any:
        """imageio's `ImageProperties` of what `read` gives; decodes nothing."""
        from imageio.core.v3_plugin_api import ImageProperties

        info, count = self._video.info, len(self._video)
        shape = (info.height, info.width, 3)
        if index is ...:
            return ImageProperties(
                shape=(count, *shape), dtype=np.dtype(dtype), n_images=count, is_batch=True
            )
        range(count)[index]
        return ImageProperties(shape=shape, dtype=np.dtype(dtype), is_batch=False)

    def metadata(
        self, index: int | EllipsisType = ..., exclude_applied: bool = True
    ) -> dict[str, Any]:
        """Of the file (index ...), or of a picture: when it is shown, in seconds; decodes
        nothing."""
        info = self._video.info
        if index is not ...:
            first = range(len(self._video))[index]
            return {"index": first, "time": float(self._video[first : first + 1].times()[0])}
        values = {
            "codec": NAME,
            "size": (info.width, info.height),
            "bit_depth": info.bit_depth,
            "fps": None if info.frame_rate is None else float(info.frame_rate),
            "duration": self._video.duration,
            "n_images": len(self._video),
            "rotation": info.rotation,
            "sample_aspect_ratio": str(info.sample_aspect_ratio),
            "color_primaries": info.color_primaries,
            "color_transfer": info.color_transfer,
        }
        if not exclude_applied:
            values |= {"color_matrix": info.color_matrix, "color_range": info.color_range}
        return {**info.metadata, **values}

    def write(
        self,
        ndimage: Any,
        *,
        fps: float | Fraction = 25,
        is_batch: bool | None = None,
        **options: Any,
    ) -> bytes | None:
        """Add pictures, uint8 or uint16: [n, H, W, 3], a list of [H, W, 3], or one; or grey
        without the last dimension. `close` encodes them; where bytes are asked for ("<bytes>"),
        this does, and returns them.

        fps and options (of `stcodec.encode`) are those of the first call; is_batch: whether the
        first dimension counts pictures, None: guess. UsageError for other arrays.
        """
        from stcodec.media.arrays import ArrayWriter

        if self._arrays is None:
            folder = self._cleanup.enter_context(temporary_folder(None))
            self._raw = folder / "pictures.nut"
            rate = Fraction(fps).limit_denominator(1001)
            if not 0 < rate <= 10000:
                raise UsageError(f"fps must be above 0, at most 10000, not {fps}")
            self._arrays = self._cleanup.enter_context(ArrayWriter(self._raw, rate))
            self._encode = options
        for picture in _pictures(ndimage, is_batch):
            self._arrays.write(picture)
        return self._finish() if self.request.raw_uri == "<bytes>" else None

    def _finish(self) -> bytes:
        """Encode what has been written; the file."""
        import stcodec

        arrays, self._arrays = self._arrays, None
        arrays.close()
        target = Path(self.request.get_local_filename())
        stcodec.encode(self._raw, target, **{"overwrite": True, **self._encode})
        return target.read_bytes() if self.request.raw_uri == "<bytes>" else b""

    def close(self) -> None:
        """Encode what has been written, if an error does not end this; give the file back."""
        if self._video is not None:
            self._video.close()
        with self._cleanup:
            if self._video is None and self._arrays is not None and self._arrays.count:
                self._finish()
        self.request.finish()

    def __enter__(self) -> StcodecPlugin:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None:
            self._arrays = None  # what is not whole is not written
        self.close()


def _pictures(ndimage: Any, is_batch: bool | None) -> Iterator[np.ndarray]:
    if isinstance(ndimage, list):
        return iter([np.asarray(picture) for picture in ndimage])
    array = np.asarray(ndimage)
    if is_batch is None:
        is_batch = array.ndim == 4 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4))
    return iter(array) if is_batch else iter([array])
