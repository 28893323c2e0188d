"""Streams with palette patches and kept patches: a decoder written from docs/format.md and the
package agree on them, too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stcodec
from stcodec.codec import palette_kernels, range_kernels
from stcodec.codec.model_files import load_model
from stcodec.codec.patches import Geometry
from stcodec.codec.symbols import ChunkReader, FrameSymbols
from stcodec.common.values import Planes
from stcodec.encoder import search
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from tests.independent.container import DamagedError, leb128, parse
from tests.independent.invention import Plan, invent_file, write_file, write_model
from tests.independent.invention import leb128 as written_leb128
from tests.independent.ranges import RangeDecoder
from tests.independent.samples import Mixer, SampleReader
from tests.independent.test_decoder import (
    EIGHT,
    MODELS,
    NETWORKS,
    PLAIN,
    WAVELETS,
    assert_alike,
    decoded,
)

LARGE = {"patch": {"t": 8, "h": 16, "w": 16}, "groups": [4, 99, 384]}
SMALL = {"patch": {"t": 8, "h": 4, "w": 8}, "groups": [9, 48], **NETWORKS}
# By how much the page moves before each picture, down and to the right.
MOVES = {3: (6, 2), 7: (8, 0), 10: (5, 0), 11: (0, 3), 13: (-12, 0), 15: (6, 2), 16: (-3, 16)}


def page(height: int, width: int, bit_depth: int) -> list[np.ndarray]:
    """Planes of text: glyphs on paper, which is of another colour further down, and blank there."""
    rng = np.random.default_rng(3)
    glyphs = rng.random((6, 8, 8)) < 0.4
    glyphs[:, 0] = glyphs[:, :, 7] = False
    ink = np.zeros((height, width), bool)
    for r, c in np.ndindex(height // 8, width // 8):
        glyph = int(rng.integers(-2, 6))
        if glyph >= 0 and r % 8 != 6:
            ink[8 * r : 8 * r + 8, 8 * c : 8 * c + 8] = glyphs[glyph]
    below = np.zeros((height, width), bool)
    below[40:] = True
    planes = []
    for dark, paper, lower in ((20, 235, 210), (128, 128, 90), (128, 128, 160)):
        plane = np.where(ink, dark, np.where(below, lower, paper)) << (bit_depth - 8)
        plane = plane if not planes else plane[::2, ::2]
        planes.append(plane.astype(np.uint8 if bit_depth == 8 else np.uint16))
    return planes


def pictures(count: int, width: int, height: int, bit_depth: int) -> list[Planes]:
    """Of a page that is scrolled."""
    drawn, found = page(height + 64, width + 64, bit_depth), []
    top, left = 16, 8
    for number in range(count):
        down, right = MOVES.get(number, (0, 0))
        top, left = top + down, left + right
        y, u, v = drawn
        upper, first = top // 2, left // 2
        half = slice(upper, upper + (height + 1) // 2), slice(first, first + (width + 1) // 2)
        found.append((y[top : top + height, left : left + width], u[half], v[half]))
    return found


def encode(path: Path, model_path: Path, source: Sequence[Planes], bit_depth: int) -> None:
    """A file of pictures, with a segment of as many chunks of 8 as they make."""
    height, width = source[0][0].shape
    model = load_model(model_path.stem)
    encoder = ChunkEncoder(model, width, height, bit_depth, CodecSettings(30))
    chunks = []
    for start in range(0, len(source), 8):
        coded = encoder.encode(source[start : start + 8], start == 0)
        chunks.append((start == 0, coded.frames, coded.payload))
    sha256 = hashlib.sha256(model_path.read_bytes()).digest()
    size, patch = (width, height), model.config.patch
    write_file(path, size, bit_depth, model_path.stem, sha256, patch.w, chunks)


def read(path: Path, model: str) -> list[FrameSymbols]:
    """What the package reads of the frames of a file."""
    file, known = parse(path.read_bytes()), load_model(model)
    geometry = Geometry(file.head["width"], file.head["height"], known.config.patch)
    reader = ChunkReader(known, geometry)
    return [f for chunk in file.chunks for f in reader.read(chunk.payload, chunk.first).frames]


def told(frames: Sequence[FrameSymbols]) -> int:
    """How many palette patches there are."""
    return sum(int(f.exact.samples.chosen.sum()) for f in frames if f.exact.samples is not None)


def kept(frames: Sequence[FrameSymbols]) -> int:
    return sum(int(f.exact.kept.sum()) for f in frames if f.exact.kept is not None)


def kept_vectors(frames: Sequence[FrameSymbols], patch: tuple[int, int]) -> np.ndarray:
    """The vectors to the first reference that kept patches are taken by, and where their 8x8
    samples lie: int [n, 4], dy, dx, row and column."""
    found = [np.zeros((0, 4), np.int64)]
    for frame in frames:
        if frame.exact.kept is not None and frame.fields is not None:
            high, wide = patch
            v = frame.fields.vectors[0, 0].numpy().astype(np.int64)
            at = np.indices(v.shape[1:])
            mode = frame.fields.modes[0].numpy().repeat(2, 0).repeat(2, 1)
            there = frame.exact.kept[at[0] * 8 // high, at[1] * 8 // wide] & (mode != 2)
            found.append(np.concatenate([v, 8 * at])[:, there].T)
    return np.concatenate(found)


@pytest.fixture
def made_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a model of made-up weights; its path."""

    def make(model: str | dict[str, Any]) -> Path:
        if isinstance(model, str):
            return MODELS / f"{model}.safetensors"
        path = tmp_path / "invented.safetensors"
        write_model(path, {**PLAIN, **model}, seed=5)
        monkeypatch.setenv("STCODEC_MODELS", str(tmp_path))
        return path

    return make


@pytest.mark.parametrize(
    ("model", "size", "bit_depth", "tree"),
    [
        ("dct", (64, 48), 8, 2),
        ("dct", (61, 45), 10, 1),
        ("stc-1", (64, 48), 8, 1),
        (LARGE, (70, 50), 8, 2),
    ],
    ids=["dct", "10 bits", "stc-1", "16x16"],
)
def test_drawn_pictures(
    model: str | dict[str, Any],
    size: tuple[int, int],
    bit_depth: int,
    tree: int,
    tmp_path: Path,
    made_model: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, model_path = tmp_path / "drawn.stp", made_model(model)
    monkeypatch.setattr(search, "choose_tree", lambda *_: tree)
    encode(path, model_path, pictures(20, *size, bit_depth), bit_depth)
    file = parse(path.read_bytes())
    assert [chunk.payload[2] & 11 for chunk in file.chunks] == [8, 8 + tree, 8]
    frames = read(path, model_path.stem)
    keys = [frame for frame in frames if frame.step.level == 0]
    assert all(frame.exact.patches() is not None for frame in keys)
    assert told(keys[:1]) > 10 and told(keys[1:]) > 10
    assert kept(keys) > 10 and kept(frames) - kept(keys) > 20
    patch = load_model(model_path.stem).config.patch
    moved = kept_vectors(frames, (patch.h, patch.w))
    # By amounts that are no multiples of 8 samples, and from beyond the edges.
    assert (moved[:, :2] % 32 != 0).any()
    places = moved[:, :2] // 4 + moved[:, 2:]
    assert ((places < 0) | (places + 8 > (size[1] + 15) // 16 * 16)).any()
    assert_alike(path, decoded(file, model_path))


# Samples are coded in some chunks, in others not; in some, vectors are zero.
INVENTED: list[Plan] = [
    (True, 8, 30, 2, False, 0, True),
    (False, 8, 20, 4, True, 3, True),
    (False, 3, 30, 6, True, 2, True),
    (False, 5, 35, 5, False, 1, False),
    (True, 8, 25, 1, True, 0, True),
]


@pytest.mark.parametrize(
    ("model", "size", "bit_depth"),
    [
        ({"patch": EIGHT}, (41, 25), 8),
        (LARGE, (30, 20), 10),
        (SMALL, (20, 30), 8),
        (WAVELETS, (30, 18), 8),
    ],
    ids=["8x8", "16x16", "4x8", "wavelets"],
)
def test_made_up_samples(
    model: dict[str, Any], size: tuple[int, int], bit_depth: int, tmp_path: Path, made_model: Any
) -> None:
    """Samples of 8 and of 10 bits in one segment, whatever the pictures have, and copies of them
    by any vector."""
    path, model_path = tmp_path / "invented.stp", made_model(model)
    wanted, *_ = invent_file(path, model_path, size, bit_depth, INVENTED)
    frames = read(path, model_path.stem)
    samples = [f.exact.samples for f in frames if f.exact.samples is not None]
    assert {own.bits for own in samples} == {8, 10}
    assert told(frames) > 20 and kept(frames) > 0
    assert_alike(path, wanted)


def test_weights_at_their_bounds() -> None:
    """Where only a hostile stream takes them: marks are read alike, and what they teach."""
    rng = np.random.default_rng(8)
    data, shape = rng.bytes(2000), (40, 40)
    before = rng.integers(0, 2, shape)
    reader = SampleReader(RangeDecoder(data), Mixer())
    signs = [1, -1, -1, 1, 1, -1, 1, -1]
    reader.mixer.weights[79] = [sign << 20 for sign in signs]
    own = np.frombuffer(data, np.uint8).copy()
    stream = range_kernels.stream(range_kernels.READ, own, np.zeros((0, 4), np.int32))
    mixer = palette_kernels.new_mixer()
    mixer.weights[79] = reader.mixer.weights[79]
    marks, there = np.zeros((41, 42), np.uint8), np.zeros((41, 42), np.uint8)
    there[1:, 1:-1] = before
    palette_kernels.code_marks(stream, mixer, palette_kernels.scratch(), marks, there)
    np.testing.assert_array_equal(marks[1:, 1:-1], reader.marks(before))
    np.testing.assert_array_equal(mixer.weights[79], reader.mixer.weights[79])
    assert abs(mixer.weights[79]).max() == 1 << 20 and len(set(abs(mixer.weights[79]))) > 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("start", "start as none do"),
        ("no values", "no values"),
        ("one more", "left over"),
        ("cut off", "cut off"),
        ("no length", "no length"),
        ("a bit", None),
        ("not there", None),
    ],
)
def test_both_refuse_damaged_samples(damage: str, reason: str | None, tmp_path: Path) -> None:
    """Bytes of samples are wrong though the section's CRC is right."""
    path, model_path = tmp_path / "drawn.stp", MODELS / "dct.safetensors"
    settings = CodecSettings(30, motion=False)
    encoder = ChunkEncoder(load_model("dct"), 64, 48, 8, settings)
    payload = encoder.encode(pictures(1, 64, 48, 8), True).payload
    length, at = leb128(payload, 7)
    head, samples, words = payload[:7], payload[at : at + length], payload[at + length :]
    assert payload[2] & 136 == 8 and length > 99
    how = bytes([payload[2] & ~8])
    halves = samples[: length // 2], samples[length // 2 + 1 :]
    part = {
        "start": b"\xff" * 4 + samples[4:],
        # All decisions are 0, but the first one.
        "no values": b"\x7f\xff\xff\xfe" + b"\xff" * length,
        "one more": samples + b"\0" * 8,
        "a bit": halves[0] + bytes([samples[length // 2] ^ 16]) + halves[1],
    }.get(damage, samples)
    told = written_leb128(len(part)) + part
    payload = {
        "cut off": head + written_leb128(len(samples + words) + 1) + samples + words,
        "no length": head + b"\x80" * 5 + b"\0" + samples + words,
        "not there": head[:2] + how + head[3:] + words,
    }.get(damage, head + told + words)
    sha256 = hashlib.sha256(model_path.read_bytes()).digest()
    write_file(path, (64, 48), 8, "dct", sha256, 8, [(True, 1, payload)])
    with pytest.raises(DamagedError):
        decoded(parse(path.read_bytes()), model_path)
    with pytest.raises(stcodec.DamagedFileError, match=reason):
        stcodec.decode(path, tmp_path / "out.y4m")
