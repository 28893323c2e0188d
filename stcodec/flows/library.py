"""A `.stp` file as a sequence of pictures, and as tensors: what `stcodec.open` gives. See
docs/library.md."""

from __future__ import annotations

import bisect
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from stcodec.common.values import PathLike, Picture, VideoInfo
from stcodec.common.values import Planes as ArrayPlanes
from stcodec.errors import UsageError
from stcodec.flows.random_access import ChunkAccess, DecodedChunk
from stcodec.media.colour import rgb_from_planes

DEFAULT_CACHE = 256 << 20
"""Bytes of decoded pictures that a video keeps: a segment of 128 pictures up to 1280x720."""
DEFAULT_LIMIT = 4 << 30
"""Bytes of the largest array that is made without being asked twice."""
_INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)
_ARRAYS = ("uint8", "uint16", "float16", "float32")
_AT_ONCE = 8  # pictures that are brought into an array together


class Planes(NamedTuple):
    """n pictures: y [n, 1, H, W], u and v [n, 1, ceil(H/2), ceil(W/2)]."""

    y: Tensor
    u: Tensor
    v: Tensor


class Clip:
    """Some of the pictures of a video, in some order; nothing is decoded until it is asked for.

    An index gives a `Picture` (numpy planes Y [H, W], U and V [ceil(H/2), ceil(W/2)], uint8 or
    uint16 for 10 bits; pts and duration in `info.time_base`), a slice another clip. Pictures are as
    coded: `info.rotation` is for who shows them. Raises IndexError, DamagedFileError and its kinds,
    ModelError.
    """

    def __init__(
        self, access: ChunkAccess, info: VideoInfo, numbers: range, dtype: torch.dtype
    ) -> None:
        self._access, self._numbers, self._dtype = access, numbers, dtype
        self.info = info

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> Clip: ...

    def __getitem__(self, index: int | slice) -> Picture | Clip:
        if isinstance(index, slice):
            return Clip(self._access, self.info, self.numbers[index], self._dtype)
        try:
            number = self.numbers[index]
        except IndexError as error:
            raise IndexError(f"picture {index} of {len(self)}") from error
        return _picture(self._access.chunk(number), number)

    def __iter__(self) -> Iterator[Picture]:
        for chunk, number in self._decoded():
            yield _picture(chunk, number)

    @property
    def numbers(self) -> range:
        """Which pictures of the video these are."""
        return self._numbers

    def times(self) -> list[Fraction]:
        """When each picture is shown, in seconds after the first picture of the video; decodes
        nothing."""
        origin = self._access.stamps(0)[0][0] if len(self) else 0
        times = []
        for number in self.numbers:
            segment = self._access.segment_of(number)
            pts = self._access.stamps(segment)[0][number - self._access.starts[segment]]
            times.append((pts - origin) * self.info.time_base)
        return times

    def _decoded(self) -> Iterator[tuple[DecodedChunk, int]]:
        """Every picture as its chunk and its number."""
        numbers = self.numbers
        if numbers.step < 0 or numbers.step > 8:
            for number in numbers:
                yield self._access.chunk(number), number
        elif numbers:
            for chunk in self._access.chunks(numbers[0], numbers[-1]):
                behind = (
                    -(chunk.first - numbers.start) % numbers.step
                    if chunk.first > numbers.start
                    else 0
                )
                first = max(chunk.first, numbers.start) + behind
                for number in range(first, min(chunk.end, numbers.stop), numbers.step):
                    yield chunk, number

    @overload
    def tensors(self, rgb: Literal[False] = False) -> Planes: ...

    @overload
    def tensors(self, rgb: Literal[True]) -> Tensor: ...

    def tensors(self, rgb: bool = False) -> Planes | Tensor:
        """All pictures as tensors on the video's device, of its dtype: Planes, or with `rgb` R'G'B'
        [n, 3, H, W].

        Floating point is in [0, 1], integers are samples (0 ... 255, or 0 ... 1023 for 10 bits).
        IndexError for an empty clip.
        """
        if not len(self):
            raise IndexError("there are no pictures in this part")
        return self._tensors(list(self._decoded()), rgb)

    @overload
    def batches(self, n: int, rgb: Literal[False] = False) -> Iterator[Planes]: ...

    @overload
    def batches(self, n: int, rgb: Literal[True]) -> Iterator[Tensor]: ...

    def batches(self, n: int, rgb: bool = False) -> Iterator[Planes] | Iterator[Tensor]:
        """Tensors as of `tensors`, of `n` pictures each; the last batch may be smaller."""
        if n < 1:
            raise UsageError("a batch has at least one picture")
        return self._batches(n, rgb)

    def _batches(self, n: int, rgb: bool) -> Iterator[Any]:
        some = []
        for item in self._decoded():
            some.append(item)
            if len(some) == n:
                yield self._tensors(some, rgb)
                some = []
        if some:
            yield self._tensors(some, rgb)

    @overload
    def to_numpy(
        self, *, rgb: Literal[True] = True, dtype: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> np.ndarray: ...

    @overload
    def to_numpy(
        self, *, rgb: Literal[False], dtype: None = None, limit: int = DEFAULT_LIMIT
    ) -> ArrayPlanes: ...

    def to_numpy(
        self, *, rgb: bool = True, dtype: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> np.ndarray | ArrayPlanes:
        """All pictures as one R'G'B' array [n, H, W, 3], or without `rgb` as the coded planes: y
        [n, H, W], u and v [n, ceil(H/2), ceil(W/2)], samples as of `Picture`.

        dtype of R'G'B': "uint8" (0 ... 255), "uint16" (0 ... 65535), "float16" or "float32" (0 ...
        1); None: uint8 for 8 bits, uint16 for more. limit: bytes; UsageError for a larger array,
        before anything is decoded. Takes the array and about 40 bytes per sample of a few pictures
        beside it.
        """
        kind = self._array_type(rgb, dtype)
        count, (height, width) = len(self), (self.info.height, self.info.width)
        half = (height + 1) // 2, (width + 1) // 2
        shapes = [(height, width), half, half] if not rgb else [(height, width, 3)]
        size = sum(count * math.prod(shape) for shape in shapes) * kind.itemsize
        if size > limit:
            raise UsageError(
                f"{count} pictures are an array of {size / 1e9:.1f} GB, more than {limit / 1e9:.1f}"
                f" GB: take some of them, such as video[:{max(1, limit * count // size)}], or"
                " batches(), or raise limit"
            )
        arrays = [np.empty((count, *shape), kind) for shape in shapes]
        at, decoded = 0, self._decoded()
        while some := list(itertools.islice(decoded, _AT_ONCE)):
            parts = [self._colours(some, kind)] if rgb else self._samples(some, kind)
            for array, part in zip(arrays, parts, strict=True):
                array[at : at + len(some)] = part
            at += len(some)
        return arrays[0] if rgb else (arrays[0], arrays[1], arrays[2])

    def _array_type(self, rgb: bool, dtype: str | None) -> np.dtype:
        own = "uint8" if self.info.bit_depth == 8 else "uint16"
        wanted = own if dtype is None else str(np.dtype(dtype))
        if wanted not in (_ARRAYS if rgb else (own,)):
            known = ", ".join(_ARRAYS) if rgb else f"{own} alone without rgb"
            raise UsageError(f"an array of {wanted} cannot be made: {known}")
        return np.dtype(wanted)

    def _colours(self, items: Sequence[tuple[DecodedChunk, int]], kind: np.dtype) -> np.ndarray:
        """R'G'B' [n, H, W, 3] over the whole range of a type."""
        colours = rgb_from_planes(_stacked(items), self.info).permute(0, 2, 3, 1)
        if kind.kind == "u":
            colours = colours.mul(np.iinfo(kind).max).round_()
        # Torch has not all operations for uint16.
        return colours.cpu().numpy().astype(kind)

    def _samples(
        self, items: Sequence[tuple[DecodedChunk, int]], kind: np.dtype
    ) -> list[np.ndarray]:
        return [plane[:, 0].cpu().numpy().astype(kind) for plane in _stacked(items)]

    def _tensors(self, items: Sequence[tuple[DecodedChunk, int]], rgb: bool) -> Planes | Tensor:
        y, u, v = _stacked(items)
        if not rgb:
            return Planes(*(self._scaled(plane) for plane in (y, u, v)))
        colours = rgb_from_planes((y, u, v), self.info)
        if self._dtype in _INTEGERS:
            return colours.mul_(_peak(self.info)).round_().to(self._dtype)
        return colours.to(self._dtype)

    def _scaled(self, plane: Tensor) -> Tensor:
        plane = plane.to(self._dtype)
        return plane if self._dtype in _INTEGERS else plane.div_(_peak(self.info))


class Video(Clip):
    """All pictures of a `.stp` file: a `Clip` with times, and a context manager.

    `device` and `dtype` are those of tensors: any floating point type, or an integer type that
    holds the samples. `threads`: CPU threads, 0 for all (one in a worker of a DataLoader). `cache`:
    bytes of decoded pictures to keep. `max_pixels`: of a picture, see `budget`. `crop`: W:H:X:Y, a
    part of the pictures, see `cropped`. A file without its end can only be iterated over. Raises
    InputError and its kinds, UsageError.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = torch.float32,
        threads: int = 0,
        cache: int = DEFAULT_CACHE,
        max_pixels: int | None = None,
        crop: str | None = None,
    ) -> None:
        access = ChunkAccess(os.fspath(path), str(device), threads, cache, max_pixels, crop)
        info = access.info
        frames = range(access.frames) if access.index is not None else range(0)
        super().__init__(access, info, frames, _dtype(dtype, info.bit_depth))

    def __reduce__(self) -> tuple[Any, ...]:
        path, device, threads, cache, max_pixels, crop = self._access.__reduce__()[1]
        return _reopen, (
            path,
            {
                "device": device,
                "threads": threads,
                "cache": cache,
                "dtype": self._dtype,
                "max_pixels": max_pixels,
                "crop": crop,
            },
        )

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._access.frames

    def __iter__(self) -> Iterator[Picture]:
        for chunk in self._access.chunks():
            for number in range(chunk.first, chunk.end):
                yield _picture(chunk, number)

    @property
    def numbers(self) -> range:
        """All pictures. DamagedFileError for a file without its end."""
        return range(self._access.frames)

    @property
    def segments(self) -> tuple[range, ...]:
        """The pictures of each segment: a segment decodes alone, from its first picture on."""
        starts = [*self._access.starts, len(self)]
        return tuple(range(a, b) for a, b in itertools.pairwise(starts))

    @property
    def duration(self) -> float:
        """Seconds from the first picture to the end of the last one; decodes nothing."""
        return float(self._span()[1])

    def number_at(self, seconds: float | Fraction) -> int:
        """The number of the picture that is shown `seconds` after the first one. IndexError before
        the first or after the end."""
        base = self.info.time_base
        # A decimal fraction such as 0.28 stands for the time stamp 7/25, not for the binary number
        # just below it.
        time = (
            Fraction(seconds)
            if isinstance(seconds, (Fraction, int))
            else Fraction(seconds).limit_denominator(10**6)
        )
        origin, duration = self._span()
        if not 0 <= time < duration:
            raise IndexError(f"there is no picture at {float(time)} s of {float(duration)} s")
        pts = origin + time / base
        segments = self._access.index.segments if self._access.index else ()
        segment = bisect.bisect_right([first for _, first, _ in segments], pts) - 1
        return (
            self._access.starts[segment]
            + bisect.bisect_right(self._access.stamps(segment)[0], pts)
            - 1
        )

    def at(self, seconds: float | Fraction) -> Picture:
        """The picture that is shown `seconds` after the first one. IndexError before the first or
        after the end."""
        return self[self.number_at(seconds)]

    def _span(self) -> tuple[int, Fraction]:
        """The first pts, and the duration in seconds."""
        if not len(self):
            return 0, Fraction(0)
        first = self._access.stamps(0)[0][0]
        pts, durations = self._access.stamps(len(self._access.starts) - 1)
        return first, (pts[-1] + durations[-1] - first) * self.info.time_base

    def close(self) -> None:
        """Close the file and drop what is cached; the video opens again when it is used."""
        self._access.close()


def _reopen(path: str, options: dict[str, Any]) -> Video:
    return Video(path, **options)


def _stacked(items: Sequence[tuple[DecodedChunk, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """The planes of pictures, each [n, 1, height, width]."""
    y, u, v = (
        torch.stack([c.planes[p][number - c.first] for c, number in items]) for p in range(3)
    )
    return y, u, v


def _picture(chunk: DecodedChunk, number: int) -> Picture:
    at = number - chunk.first
    planes = [plane[at, 0].cpu().numpy() for plane in chunk.planes]
    kind = np.uint8 if planes[0].dtype == np.uint8 else np.uint16
    y, u, v = (plane.astype(kind) for plane in planes)
    return Picture((y, u, v), chunk.pts[at], chunk.durations[at])


def _peak(info: VideoInfo) -> int:
    return (1 << info.bit_depth) - 1


def _dtype(wanted: str | torch.dtype, bit_depth: int) -> torch.dtype:
    """A dtype by itself or its name. UsageError for one that cannot hold the samples."""
    found = getattr(torch, wanted, None) if isinstance(wanted, str) else wanted
    if not isinstance(found, torch.dtype) or not (found.is_floating_point or found in _INTEGERS):
        names = ", ".join(str(t).removeprefix("torch.") for t in _INTEGERS)
        raise UsageError(f"dtype {wanted} is neither floating point nor one of {names}")
    if found == torch.uint8 and bit_depth > 8:
        raise UsageError(f"uint8 does not hold samples of {bit_depth} bits: take int16")
    return found
