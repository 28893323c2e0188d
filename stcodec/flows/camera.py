"""What is normal in the pictures of one camera, learned from recordings: by cell and hour of the
day, how much happens and which way it moves."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stcodec.common.files import named, open_input
from stcodec.common.values import PathLike
from stcodec.container import stp
from stcodec.errors import InputError, UsageError
from stcodec.flows.activity import CELL, Look, Moment, cells_of, moments
from stcodec.flows.events import KINDS, SLOW, Normal, amount, normal_of

_VERSION = 1
_KEPT = 96
"""Looks of an hour and kind that are kept to learn from, chosen at random."""
_ANY = "any"
_LARGEST = 64 << 20
"""Bytes of a file of a camera."""


@dataclass(frozen=True)
class Camera:
    """What is normal, by hour of the day ("0" to "23", where recordings say when they were made)
    and "any"; size: width and height of its pictures in luma samples."""

    size: tuple[int, int]
    hours: Mapping[str, Normal]

    def usual(self, path: PathLike) -> Callable[[Moment], Normal]:
        """What is normal in the moments of a file. UsageError for pictures of another size;
        InputError."""
        size, begins = _head(path)
        if size != self.size:
            raise UsageError(
                f"{path}: has {size[0]}x{size[1]} pictures, and what was learned is of "
                f"{self.size[0]}x{self.size[1]}"
            )
        return lambda moment: self.hours.get(_hour(begins, moment), self.hours[_ANY])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        hours = {name: _plain(usual) for name, usual in self.hours.items()}
        return {
            "stcodec_camera": _VERSION, "size": list(self.size), "cell": CELL, "hours": hours,
        }  # fmt: skip


class _Hour:
    """What was seen in an hour of the day: a sample of it, and sums of motion."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._amounts: dict[int, list[np.ndarray]] = {kind: [] for kind in KINDS}
        self._seen = dict.fromkeys(KINDS, 0)
        self._motion: np.ndarray | None = None

    def add(self, look: Look) -> None:
        kept = self._amounts[look.kind]
        self._seen[look.kind] += 1
        seen = amount(look).astype(np.float16)
        if len(kept) < _KEPT:
            kept.append(seen)
        elif (at := int(self._random.integers(self._seen[look.kind]))) < _KEPT:
            kept[at] = seen
        moving = look.speed > SLOW
        sums = np.stack([look.dy * moving, look.dx * moving, look.speed * moving])
        self._motion = sums if self._motion is None else self._motion + sums

    def normal(self) -> Normal:
        kept = {kind: np.stack(seen) for kind, seen in self._amounts.items() if seen}
        return normal_of(kept, self._motion)


def learn(paths: Sequence[PathLike], threads: int = 0, max_pixels: int | None = None) -> Camera:
    """What is normal in recordings of one camera. UsageError where their pictures differ in size,
    or none is predicted from another; errors as `activity.moments`."""
    hours: dict[str, _Hour] = {_ANY: _Hour()}
    size: tuple[int, int] | None = None
    for path in paths:
        own, begins = _head(path)
        if size is not None and own != size:
            raise UsageError(
                f"{path}: has {own[0]}x{own[1]} pictures, and the first file {size[0]}x{size[1]}"
            )
        size = own
        for moment in moments(path, threads, max_pixels):
            names = {_ANY, _hour(begins, moment)}
            for look in moment.looks:
                for name in names:
                    hours.setdefault(name, _Hour()).add(look)
    known = {name: hour.normal() for name, hour in hours.items()}
    if size is None or not known[_ANY].quiet:
        raise UsageError("there are too few pictures to learn from")
    return Camera(size, known)


def read(path: PathLike) -> Camera:
    """What was learned before. InputError for a file that is none of `Camera.as_json`."""
    try:
        with open_input(path) as stream:
            values = json.loads(stream.read(_LARGEST))
        if values["stcodec_camera"] != _VERSION or values["cell"] != CELL:
            raise ValueError("it is of another version")
        width, height = map(int, values["size"])
        hours = {str(name): _normal(hour) for name, hour in values["hours"].items()}
        shapes = {a.shape for usual in hours.values() for a in usual.quiet.values()}
        if shapes != {(cells_of(height), cells_of(width))} or _ANY not in hours:
            raise ValueError("its parts do not fit each other")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not what events --learn writes ({error})") from error
    return Camera((width, height), hours)


def _head(path: PathLike) -> tuple[tuple[int, int], datetime.datetime | None]:
    """Width and height of the pictures, and when the first one was taken, if the file says so."""
    with open_input(path) as stream, named(path):
        reader = stp.Reader(stream)
    size = reader.header.width, reader.header.height
    text = {key.lower(): value for key, value in reader.metadata.items()}.get("creation_time", "")
    try:
        return size, datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return size, None


def _hour(begins: datetime.datetime | None, moment: Moment) -> str:
    if begins is None:
        return _ANY
    return str((begins + datetime.timedelta(seconds=moment.start)).hour)


def _plain(usual: Normal) -> dict[str, Any]:
    def rounded(arrays: Mapping[int, np.ndarray]) -> dict[str, Any]:
        return {str(kind): np.round(a.astype(float), 2).tolist() for kind, a in arrays.items()}

    return {
        "quiet": rounded(usual.quiet),
        "spread": rounded(usual.spread),
        "direction": None if usual.way is None else np.round(usual.way.astype(float), 2).tolist(),
    }


def _normal(values: Mapping[str, Any]) -> Normal:
    def arrays(plain: Mapping[str, Any]) -> dict[int, np.ndarray]:
        found = {int(kind): np.array(rows, np.float32) for kind, rows in plain.items()}
        if not set(found) <= set(KINDS) or any(_bad(a, 2) for a in found.values()):
            raise ValueError("it holds what is no table of cells")
        return found

    quiet, spread, way = arrays(values["quiet"]), arrays(values["spread"]), values["direction"]
    shapes = {a.shape for a in (*quiet.values(), *spread.values())}
    if (
        set(quiet) != set(spread)
        or len(shapes) != 1
        or any((a <= 0).any() for a in spread.values())
    ):
        raise ValueError("its tables do not fit each other")
    direction = None if way is None else np.array(way, np.float32)
    if direction is not None and (_bad(direction, 3) or direction.shape != (2, *shapes.pop())):
        raise ValueError("its directions do not fit")
    return Normal(quiet, spread, direction)


def _bad(array: np.ndarray, dimensions: int) -> bool:
    return array.ndim != dimensions or not np.isfinite(array).all()


def write_bytes(camera: Camera) -> bytes:
    """A file for `read`."""
    return json.dumps(camera.as_json()).encode()
