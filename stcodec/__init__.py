"""stcodec: learned video compression over motion-aligned spacetime patches.

>>> import stcodec
>>> stcodec.encode("in.mp4", "out.stp", quality=40)      # doctest: +SKIP
>>> stcodec.decode("out.stp", "back.mp4")                # doctest: +SKIP
>>> with stcodec.open("out.stp") as video:               # doctest: +SKIP
...     for picture in video:
...         print(picture.pts, picture.planes[0].shape)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from stcodec.errors import (
    DamagedFileError,
    InputError,
    ModelError,
    OutputExistsError,
    StcodecError,
    TargetError,
    UnsupportedFileError,
    UsageError,
)

if TYPE_CHECKING:
    import torch

    from stcodec.common.values import PathLike, Progress
    from stcodec.flows.decode import DecodeResult
    from stcodec.flows.encode import EncodeResult
    from stcodec.flows.library import Video

__version__ = "0.2.0"
__all__ = [
    "DamagedFileError",
    "InputError",
    "ModelError",
    "OutputExistsError",
    "StcodecError",
    "TargetError",
    "UnsupportedFileError",
    "UsageError",
    "decode",
    "encode",
    "open",
    "register_imageio",
]


def encode(
    src: PathLike,
    dst: PathLike,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> EncodeResult:
    """Encode the video file `src` into the `.stp` file `dst`.

    `options` are the fields of `stcodec.options.EncodeOptions`: quality 0..63, or one of
    target_size (bytes), target_bitrate (bits per second), min_psnr and min_xpsnr (dB), min_ssim and
    min_vmaf; model, device, threads, motion, effort, tune, audio, tracks ("video:0,audio:eng"),
    verify, resume, overwrite; an existing `dst` is refused unless overwrite=True. `progress` is
    called after every chunk. Raises errors of `stcodec.errors`, TargetError where no quality
    reaches the target; `dst` appears only when it is complete.
    """
    from stcodec.common.values import Progress
    from stcodec.flows.encode import EncodeResult
    from stcodec.flows.targets import search_steps
    from stcodec.options import EncodeOptions

    # Whatever ends this, an error of `progress` too: nothing is left open.
    with closing(search_steps(src, dst, EncodeOptions(**_with_policy(options)))) as steps:
        for step in steps:
            if isinstance(step, EncodeResult):
                return step
            if progress is not None and isinstance(step, Progress):
                progress(step)
    raise AssertionError("an encode ends with its result")


def decode(
    src: PathLike,
    dst: PathLike,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> DecodeResult:
    """Decode the `.stp` file `src` into `dst`, whose ending (.mp4, .mkv, .mov, .y4m) chooses the
    format, or into pictures such as `frames/%04d.png`.

    `options` are the fields of `stcodec.options.DecodeOptions` (codec, crf, audio, start, end,
    device, threads, max_pixels, rate, crop, keep_partial, salvage, overwrite). Raises errors of
    `stcodec.errors`; `dst` appears only when it is complete. The result of `salvage` says in `lost`
    what a damaged file has lost.
    """
    from stcodec.common.values import Progress
    from stcodec.flows.decode import decode_steps
    from stcodec.options import DecodeOptions

    with closing(decode_steps(src, dst, DecodeOptions(**_with_policy(options)))) as steps:
        for step in steps:
            if not isinstance(step, Progress):
                return step
            if progress is not None:
                progress(step)
    raise AssertionError("a decode ends with its result")


def _with_policy(options: dict[str, Any]) -> dict[str, Any]:
    from stcodec.common.files import Overwrite

    if isinstance(options.get("overwrite"), bool):
        options["overwrite"] = Overwrite.YES if options["overwrite"] else Overwrite.NO
    return options


def open(
    path: PathLike,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    threads: int = 0,
    cache: int = 256 << 20,
    max_pixels: int | None = None,
    crop: str | None = None,
) -> Video:
    """The pictures of a `.stp` file: a sequence of `Picture`, and of tensors on `device`; see
    `stcodec.library.Video`.

    A `Picture` has `planes`, uint8 (uint16 for 10 bits) arrays Y [h, w], U and V [ceil(h/2),
    ceil(w/2)], and `pts` in units of `info.time_base`. `video[i]`, `video[a:b:c]` and
    `video.at(seconds)` decode at most a segment; `video.batches(n, rgb=True)` gives tensors of
    `dtype`. Decoded pictures up to `cache` bytes are kept. Pictures of more than 4K that are out of
    proportion to the file are refused, or those of more than `max_pixels`, if given. crop:
    "width:height:x:y", a part of the pictures, of which `info` is, too; around it little more is
    decoded. Raises InputError and its kinds, ModelError, UsageError.
    """
    from stcodec.flows.library import Video

    return Video(
        path,
        device=device,
        dtype=dtype,
        threads=threads,
        cache=cache,
        max_pixels=max_pixels,
        crop=crop,
    )


def register_imageio() -> None:
    """Make `imageio` read and write `.stp` files: `imageio.v3.imread("a.stp")`.

    Done by `import stcodec` where imageio has been imported before; imageio itself looks for
    plugins in its own tables alone. ImportError without imageio.
    """
    from stcodec.flows.imageio_plugin import register

    register()


if "imageio" in sys.modules:
    register_imageio()
