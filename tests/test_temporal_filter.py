"""The temporal filter of intra and key frames: what it takes away, what it leaves alone, and what
it is told of the pictures that follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from stcodec.codec.model_files import load_model
from stcodec.common.values import Packet, Picture, Planes
from stcodec.encoder import tuning
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings, EncodedChunk
from stcodec.encoder.search import SearchSettings, SourcePicture, search_pictures
from stcodec.encoder.temporal_filter import filtered
from stcodec.flows.grouping import Cut, chunks


def scene(height: int, width: int) -> np.ndarray:
    """Smooth random patterns of large contrast, float [height, width]."""
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(5)
    waves = random.normal(size=(12, 2)) * 0.25
    phases = random.uniform(0, 7, 12)
    total = sum(np.sin(y * a + x * b + p) for (a, b), p in zip(waves, phases, strict=True))
    return 120 + 18 * total


def moving(
    count: int, noise: float, size: tuple[int, int] = (64, 96), peak: int = 255
) -> tuple[list[Planes], list[np.ndarray]]:
    """Pictures of a scene that moves by (1, 2) samples each, with noise; and their luma without."""
    height, width = size
    wide, random = scene(height + count, width + 2 * count), np.random.default_rng(1)
    clean = [wide[t : t + height, 2 * t : 2 * t + width].clip(0, 255) for t in range(count)]
    half = (height + 1) // 2, (width + 1) // 2
    scale, dtype = peak / 255, np.uint8 if peak < 256 else np.uint16

    def rounded(plane: np.ndarray) -> np.ndarray:
        return np.rint((plane * scale).clip(0, peak)).astype(dtype)

    pictures = [
        (
            rounded(luma + random.normal(0, noise, size)),
            *(rounded(100 + random.normal(0, noise, half)) for _ in range(2)),
        )
        for luma in clean
    ]
    return pictures, clean


def near(pictures: list[Planes], frame: int, numbers: list[int]) -> dict[int, np.ndarray]:
    """The motion of pictures from a frame."""
    high, wide = ((-n) % 16 for n in pictures[0][0].shape)
    seen = [
        SourcePicture(np.pad((p[0] / (p[0].dtype.itemsize * 3 - 2)).astype(np.uint8),
                             ((0, high), (0, wide)), mode="edge"))
        for p in pictures
    ]  # fmt: skip
    pairs = [(number, frame, None) for number in numbers]
    found = search_pictures(seen, pairs, SearchSettings(0.03), choose_modes=False)
    return {n: f.vectors[0, 0].numpy() for n, f in zip(numbers, found, strict=True)}


@pytest.mark.parametrize(("size", "peak"), [((64, 96), 255), ((51, 77), 255), ((51, 77), 1023)])
def test_noise_goes_and_the_scene_stays(size: tuple[int, int], peak: int) -> None:
    pictures, clean = moving(5, 4.0, size, peak)
    around = near(pictures, 2, [0, 1, 3, 4])
    made = filtered(pictures, 2, around, 8 if peak == 255 else 10, 14.0)
    scale = 255 / peak
    before, after = (((p[0] * scale - clean[2]) ** 2).mean() for p in (pictures[2], made))
    assert after < 0.5 * before
    chroma = [((p[1] * scale - 100.0) ** 2).mean() for p in (pictures[2], made)]
    assert chroma[1] < 0.6 * chroma[0]
    assert [(a.shape, a.dtype) for a in made] == [(a.shape, a.dtype) for a in pictures[2]]


def test_what_others_do_not_show_stays() -> None:
    pictures, _ = moving(5, 0.0)
    around = near(pictures, 2, [0, 1, 3, 4])
    alone = tuple(plane.copy() for plane in pictures[2])
    alone[0][20:36, 40:60] = np.random.default_rng(2).integers(0, 255, (16, 20))
    made = filtered([*pictures[:2], alone, *pictures[3:]], 2, around, 8, 14.0)  # type: ignore[list-item]
    change = np.abs(made[0].astype(int) - alone[0])
    assert change[24:32, 40:56].max() <= 8 and change.mean() < 1.5
    still = [pictures[0]] * 3
    nothing = {n: np.zeros((2, 8, 12), np.int16) for n in (0, 2)}
    for a, b in zip(filtered(still, 1, nothing, 8, 14.0), still[1], strict=True):
        assert np.array_equal(a, b)


def test_fine_steps_keep_the_noise() -> None:
    pictures, _ = moving(3, 4.0)
    around = near(pictures, 1, [0, 2])
    assert filtered(pictures, 1, around, 8, tuning.FILTER_LEAST_STEP) is pictures[1]
    changes = [
        np.abs(filtered(pictures, 1, around, 8, step)[0].astype(int) - pictures[1][0]).mean()
        for step in (4.0, 8.0, 20.0)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


def coded(noise: float, quality: int) -> tuple[list[EncodedChunk], float]:
    """24 pictures, and the mean squared error of their luma."""
    pictures, _ = moving(24, noise)
    encoder, done, errors = (
        ChunkEncoder(load_model("stc-1"), 96, 64, 8, CodecSettings(quality)),
        [],
        [],
    )
    for start in (0, 8, 16):
        part, following = pictures[start : start + 8], pictures[start + 8 : start + 12]
        for chunk in encoder.prepare(part, start == 0, following):
            run = encoder.start(chunk)
            done.append(encoder.finish(run))
            for i in range(chunk.count):
                decoded = run.pictures[i].y[0, 0].numpy() * 255
                errors.append(((decoded - part[i][0]) ** 2).mean())
    return done, float(np.mean(errors))


def test_fewer_bytes_for_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with_filter, error = coded(6.0, 30)
    monkeypatch.setattr(tuning, "FILTER_SPREAD", 0.0)
    without, as_before = coded(6.0, 30)
    sizes = [sum(len(chunk.payload) for chunk in chunks) for chunks in (with_filter, without)]
    assert sizes[0] < 0.97 * sizes[1] and error < 1.03 * as_before


def test_motion_that_was_found_ahead_is_that_of_the_next_chunk() -> None:
    pictures, _ = moving(18, 2.0)
    fields = []
    for following in ((), pictures[8:12]):
        encoder = ChunkEncoder(load_model("dct"), 96, 64, 8, CodecSettings(30))
        encoder.prepare(pictures[:8], True, following)
        (chunk,) = encoder.prepare(pictures[8:16], False)
        fields.append(chunk.fields)
    assert set(fields[0]) == set(fields[1]) == set(range(8))
    for frame in range(8):
        assert bool((fields[0][frame].vectors == fields[1][frame].vectors).all())


def test_groups_know_what_follows_in_their_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "MAX_SEGMENT", 24)
    random = np.random.default_rng(3)
    scenes = [random.integers(0, most, (32, 32)).astype(np.uint8) for most in (255, 60)]
    grey = np.full((16, 16), 128, np.uint8)

    def items() -> Iterator[Picture | Packet]:
        for t in range(45):
            yield Picture((scenes[t >= 33], grey, grey), t, 1)
            if t in (7, 8, 23, 30):
                yield Packet(0, t, t, 1, True, b"x")

    found = list(chunks(items()))
    groups = [item for item in found if isinstance(item, Cut)]
    lengths = [len(g.pictures) for g in groups]
    assert lengths == [8, 16, 8, 1, 8, 4]
    assert [[p.pts for p in g.following] for g in groups] == [
        [8, 9, 10, 11], [], [32], [], [41, 42, 43, 44], [],
    ]  # fmt: skip
    # A segment that is long enough is no end of a scene.
    assert [g.ends for g in groups] == [False, False, False, True, False, True]
    # A packet comes after the group that was complete before it.
    order = [item.pictures[-1].pts if isinstance(item, Cut) else 100 + item.pts for item in found]
    assert order == [7, 107, 108, 23, 123, 130, 31, 32, 40, 44]
