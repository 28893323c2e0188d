"""Files of earlier versions decode to the pictures that they did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest

from stcodec.common.values import Planes
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader
from tests.golden import make

EXPECTED = json.loads(make.EXPECTED.read_text())
Change = Callable[[list[Planes]], list[Planes]]


def test_there_is_a_file_for_every_name() -> None:
    assert sorted(EXPECTED) == sorted(make.NAMES)


@pytest.mark.parametrize("name", make.NAMES)
def test_golden_files_have_chunks_of_both_lengths(name: str) -> None:
    with open(make.HERE / name, "rb") as file:
        counts = [len(item.pts) for item in Reader(file) if isinstance(item, VideoChunk)]
    assert counts == [8, 16, 3]


@pytest.mark.parametrize("name", make.NAMES)
def test_golden_files_decode_as_they_did(name: str) -> None:
    """To the same pictures but for rounding, in any arithmetic; and exactly, where it is known."""
    coded = (make.HERE / name).read_bytes()
    assert hashlib.sha256(coded).hexdigest() == EXPECTED[name]["sha256"]
    pictures = make.decoded(make.HERE / name)
    assert make.differences(pictures, make.reference(name)) == []
    known = EXPECTED[name]["pictures"]
    if make.arithmetic() in known:
        assert make.digest(pictures) == known[make.arithmetic()], (
            "the last bits have changed: if that is meant, run python -m tests.golden.make --keep"
        )


def each(change: Callable[[np.ndarray], np.ndarray], planes: str = "YUV") -> Change:
    """A change of the named planes of all pictures."""

    def changed(pictures: list[Planes]) -> list[Planes]:
        return [
            tuple(
                change(p) if letter in planes else p
                for letter, p in zip("YUV", picture, strict=True)
            )
            for picture in pictures
        ]

    return changed


def on_one(change: Change) -> Change:
    """The same change of the seventh picture alone."""
    return lambda pictures: pictures[:6] + change(pictures[6:7]) + pictures[7:]


def shifted(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda p: np.concatenate(
        [p.take([0], axis), p.take(range(p.shape[axis] - 1), axis)], axis
    )


CHANGES: dict[str, Change] = {
    "one sample to the right": on_one(each(shifted(1))),
    "one sample down": on_one(each(shifted(0))),
    "luma alone one sample to the right": on_one(each(shifted(1), "Y")),
    "U one sample down": on_one(each(shifted(0), "U")),
    "V one sample to the right": on_one(each(shifted(1), "V")),
    "mirrored": on_one(each(lambda p: p[:, ::-1])),
    "upside down": on_one(each(lambda p: p[::-1])),
    "U and V exchanged": on_one(lambda pictures: [(y, v, u) for y, u, v in pictures]),
    "luma brighter by a level": on_one(each(lambda p: p + 1, "Y")),
    "U brighter by a level": on_one(each(lambda p: p + 1, "U")),
    "V darker by a level": on_one(each(lambda p: p - 1, "V")),
    "another depth": on_one(each(lambda p: p.astype(np.uint32))),
    "two pictures exchanged": lambda p: [p[1], p[0], *p[2:]],
    "a picture twice": lambda p: [p[0], p[0], *p[2:]],
    "a picture missing": lambda p: p[:-1],
}


# A page that stands still has the same picture several times.
@pytest.mark.parametrize("name", [name for name in make.NAMES if "drawn" not in name])
@pytest.mark.parametrize("change", CHANGES)
def test_wrong_pictures_are_told_from_rounding(name: str, change: str) -> None:
    kept = make.reference(name)
    wrong = CHANGES[change](kept)
    assert make.differences(wrong, kept) != []
    assert make.digest(wrong) != make.digest(kept)


@pytest.mark.parametrize("name", make.NAMES)
def test_rounding_is_no_difference(name: str) -> None:
    rng = np.random.default_rng(0)

    def rounded(p: np.ndarray) -> np.ndarray:
        off = rng.choice([-1, 0, 1], p.shape, p=[0.02, 0.96, 0.02])
        return (p.astype(np.int32) + off).astype(p.dtype)

    kept = make.reference(name)
    assert make.differences(each(rounded)(kept), kept) == []
    assert make.digest(each(rounded)(kept)) != make.digest(kept)
