"""Chunks through the codec: encoder and decoder agree, whatever floating point does."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from stcodec.codec.decoder import ChunkDecoder, PictureMaker
from stcodec.codec.model_files import Model, load_model, model_folders
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import (
    Frames,
    PatchSize,
    frames_from_planes,
    patchify,
    planes_from_frames,
    unpatchify,
)
from stcodec.codec.symbols import FrameSymbols
from stcodec.codec.tree import tree_length
from stcodec.common.values import Planes
from stcodec.encoder import tuning
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.encoder.scene_cuts import SceneCutDetector
from stcodec.errors import DamagedFileError
from stcodec.training.fit import initial_model
from stcodec.training.start import start_from
from tests.conftest import moving_picture, psnr

MODELS = sorted(
    p.stem for folder in model_folders() if folder.is_dir() for p in folder.glob("*.safetensors")
)
DATA = Path(__file__).parent / "data"
PATCHES = [PatchSize(8, 8, 8), PatchSize(8, 16, 8), PatchSize(8, 16, 16), PatchSize(8, 32, 32)]


def pictures(
    count: int, width: int = 96, height: int = 64, depth: int = 8
) -> list[tuple[np.ndarray, ...]]:
    return [tuple(moving_picture(t, width, height, depth)) for t in range(count)]


def code(
    model: Model,
    source: list,
    quality: int = 30,
    depth: int = 8,
    decoder_model: Model | None = None,
):
    height, width = source[0][0].shape
    encoder = ChunkEncoder(model, width, height, depth, CodecSettings(quality))
    decoder = ChunkDecoder(decoder_model or model, width, height, depth)
    payloads, decoded = [], []
    for start in range(0, len(source), 8):
        coded = encoder.encode(source[start : start + 8], start == 0)
        payloads.append(coded)
        decoded += decoder.decode(coded.payload, start == 0)
    return payloads, decoded


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("depth", [8, 10])
def test_round_trip_and_estimated_size(name: str, depth: int) -> None:
    source = pictures(19, depth=depth)
    payloads, decoded = code(load_model(name), source, depth=depth)
    assert len(decoded) == 19
    peak = (1 << depth) - 1
    assert min(psnr(a[0], b[0], peak) for a, b in zip(source, decoded, strict=True)) > 30
    actual = 8 * sum(len(p.payload) for p in payloads)
    ideal = sum(p.stats.total_bits for p in payloads)
    # Eight bytes of header and at most a word of slack a chunk, and one percent.
    assert abs(actual - ideal) < 0.01 * ideal + len(payloads) * (64 + 64)


class Noisy(Network):
    """A network whose coefficients are off by noise of 1e-3 (a quarter of a grey level), wherever
    they are computed."""

    def coefficients(self, frames: Frames) -> torch.Tensor:
        exact = super().coefficients(frames)
        return exact + 1e-3 * (torch.rand_like(exact) - 0.5)

    def restore(self, decoded, *rest):  # type: ignore[no-untyped-def]
        restored, features = super().restore(decoded, *rest)
        return restored + 1e-3 * (torch.rand_like(restored) - 0.5), features


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_with_other_rounding_reads_the_same_symbols(name: str) -> None:
    torch.manual_seed(0)
    model = load_model(name)
    noisy = Noisy(model.config).eval().requires_grad_(False)
    noisy.load_state_dict(model.network.state_dict())
    if model.config.intra_width:
        exact = model.network.surroundings.correct
        noisy.surroundings.correct = lambda *seen: (
            exact(*seen) + 0.02 * (torch.rand(()) - 0.5)
        )  # in units of the step
    half = Network(model.config).eval().requires_grad_(False)
    half.load_state_dict(
        {
            k: v.to(torch.bfloat16).float() if "basis" not in k else v
            for k, v in model.network.state_dict().items()
        }
    )
    source = pictures(24)
    _, decoded = code(model, source, 20)
    for other in (noisy, half):
        # Wrong symbols would raise: every chunk carries the CRC of its symbols.
        _, perturbed = code(
            model, source, 20, decoder_model=dataclasses.replace(model, network=other)
        )
        if other is noisy:
            before = np.mean([psnr(a[0], b[0]) for a, b in zip(source, decoded, strict=True)])
            after = np.mean([psnr(a[0], b[0]) for a, b in zip(source, perturbed, strict=True)])
            assert abs(before - after) < 0.1


def test_a_segment_decodes_alone() -> None:
    source = pictures(24)
    model = load_model("dct")
    encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(30))
    chunks = [encoder.encode(source[i : i + 8], i in (0, 16)) for i in (0, 8, 16)]
    whole, alone = (ChunkDecoder(model, 96, 64, 8) for _ in range(2))
    for i, chunk in enumerate(chunks):
        last = whole.decode(chunk.payload, i in (0, 2))
    for a, b in zip(last, alone.decode(chunks[2].payload, True), strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
    with pytest.raises(DamagedFileError):
        ChunkDecoder(model, 96, 64, 8).decode(chunks[1].payload, False)


def test_check_agrees_with_decode_and_finds_damage() -> None:
    source = pictures(16)
    model = load_model("dct")
    payloads, _ = code(model, source)
    checker = ChunkDecoder(model, 96, 64, 8)
    assert [checker.check(p.payload, i == 0) for i, p in enumerate(payloads)] == [8, 8]
    payload = payloads[0].payload
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(payload), 25):
        damaged = bytearray(payload)
        damaged[at] ^= 1 << int(rng.integers(8))
        if at >= 4:  # what is before is covered by the container's CRC alone
            with pytest.raises(DamagedFileError):
                checker.check(bytes(damaged), True)


def test_motion_saves_bits_on_a_pan() -> None:
    source = pictures(16)
    model = load_model("dct")
    sizes = []
    for motion in (True, False):
        encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(36, motion))
        sizes.append(sum(len(encoder.encode(source[i : i + 8], i == 0).payload) for i in (0, 8)))
    assert sizes[0] < 0.8 * sizes[1]


def test_what_the_key_frame_before_hides_comes_from_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    luma = np.kron(rng.integers(40, 210, (8, 12)), np.ones((8, 8))).astype(np.uint8)
    hidden, grey = luma.copy(), np.full((32, 48), 128, np.uint8)
    hidden[16:48, 24:72] = 90
    source: list[Planes] = [(hidden if 8 <= t < 16 else luma, grey, grey) for t in range(24)]
    sizes = []
    for count in (1, 2):
        monkeypatch.setattr(tuning, "KEY_REFERENCES", count)
        payloads, decoded = code(load_model("dct"), source)
        assert min(psnr(a[0], b[0]) for a, b in zip(source, decoded, strict=True)) > 30
        sizes.append(len(payloads[2].payload))
    assert sizes[1] < 0.5 * sizes[0]


def test_a_still_picture_stays_as_it_is_and_costs_next_to_nothing() -> None:
    """Symbols that are zero repeat the reference, so errors do not pile up from frame to frame. (Of
    the linear model: networks may add something to each frame.)"""
    rng = np.random.default_rng(0)
    noisy = [p + rng.normal(0, 6, p.shape) for p in moving_picture(0, 96, 64)]
    still = tuple(p.clip(0, 255).astype(np.uint8) for p in noisy)
    payloads, decoded = code(load_model("dct"), [still] * 24, quality=20)
    assert [len(p.payload) < len(payloads[0].payload) / 20 for p in payloads[1:]] == [True] * 2
    for index in range(3):
        quality = [psnr(still[index], picture[index]) for picture in decoded]
        assert max(quality) - min(quality) < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_higher_quality_takes_more_bytes_and_loses_less(name: str) -> None:
    model, source = load_model(name), pictures(9)
    sizes, errors = [], []
    for quality in (0, 20, 40, 63):
        payloads, decoded = code(model, source, quality)
        sizes.append(sum(len(p.payload) for p in payloads))
        errors.append(
            [
                -np.mean([psnr(a[i], b[i]) for a, b in zip(source, decoded, strict=True)])
                for i in range(3)
            ]
        )
    assert sizes == sorted(set(sizes))
    for earlier, later in itertools.pairwise(errors):
        assert all(b < a for a, b in zip(earlier, later, strict=True))


def test_content_the_scale_network_never_saw_is_not_lost() -> None:
    """Noise is coded faithfully even where the network expects nothing."""
    rng = np.random.default_rng(4)
    flat = [
        np.full((64, 96), 128, np.uint8),
        np.full((32, 48), 128, np.uint8),
        np.full((32, 48), 128, np.uint8),
    ]
    source = [tuple(p.copy() for p in flat) for _ in range(16)]
    for t in (5, 11):
        source[t][0][16:40, 20:60] = rng.integers(0, 256, (24, 40))
    _, decoded = code(load_model("dct"), source, quality=50)
    assert min(psnr(a[0], b[0]) for a, b in zip(source, decoded, strict=True)) > 38


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("size", [(64, 96), (37, 51), (2, 2), (33, 100)])
def test_patchify_and_back(patch: PatchSize, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    source = [
        tuple(rng.integers(0, 256, s, dtype=np.uint8) for s in (size, half, half)) for _ in range(3)
    ]
    frames = frames_from_planes(source, 8, patch)
    vectors = patchify(frames, patch)
    assert vectors.shape[1] == patch.channels
    back = unpatchify(vectors, patch)
    assert all(torch.equal(a, b) for a, b in zip(frames, back, strict=True))
    for a, b in zip(source, planes_from_frames(back, *size, 8), strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("width", [0, 16])
def test_any_patch_size_codes(patch: PatchSize, width: int) -> None:
    torch.manual_seed(0)
    channels = patch.channels
    groups = channels // 16, channels // 2, channels
    model = initial_model(ModelConfig(patch, groups, width, 1, 1, 4, width, 16, 16))
    if width:
        for part in (model.network.prior_out, model.network.surroundings.end):
            for p in part.parameters():
                torch.nn.init.normal_(p, std=0.01)
    source = pictures(9, 70, 50)
    _, decoded = code(model, source, quality=40)
    assert decoded[0][0].shape == (50, 70)
    assert min(psnr(a[0], b[0]) for a, b in zip(source, decoded, strict=True)) > 33


def test_an_intra_frame_is_smaller_for_what_its_surroundings_say() -> None:
    model = load_model("stc-1")
    config = dataclasses.replace(model.config, intra_width=0)
    linear = start_from(model, config)
    with av.open(str(DATA / "butterfly.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="yuv420p")
    luma, chroma = frame[:360], frame[360:].reshape(2, 180, 320)
    source = [(luma[100:228, 200:360], chroma[0, 50:114, 100:180], chroma[1, 50:114, 100:180])]
    payloads, decoded = code(model, source, 31)
    plain, without = code(linear, source, 30)
    assert len(payloads[0].payload) < len(plain[0].payload)
    assert psnr(source[0][0], decoded[0][0]) > psnr(source[0][0], without[0][0])


def test_scene_cuts() -> None:
    rng = np.random.default_rng(3)
    scenes = [
        np.kron(rng.integers(0, 256, (9, 12)), np.ones((16, 16))).astype(np.uint8) for _ in range(3)
    ]
    luma = [np.roll(scenes[t // 10], t, axis=1) for t in range(30)]
    detector = SceneCutDetector()
    assert [t for t, picture in enumerate(luma) if detector.is_cut(picture)] == [10, 20]
    fade, steady = SceneCutDetector(), SceneCutDetector()
    assert not any(fade.is_cut((scenes[0] * (1 - t / 20)).astype(np.uint8)) for t in range(20))
    noise = [
        np.clip(scenes[0] + rng.normal(0, 8, scenes[0].shape), 0, 255).astype(np.uint8)
        for _ in range(20)
    ]
    assert not any(steady.is_cut(p) for p in noise)


def test_frames_at_the_same_time_give_the_same_bytes() -> None:
    model, source = load_model("dct"), pictures(16)
    together, apart = (ChunkEncoder(model, 96, 64, 8, CodecSettings(30), workers=n) for n in (4, 1))
    for start in (0, 8):
        a, b = (e.encode(source[start : start + 8], start == 0) for e in (together, apart))
        assert a.payload == b.payload
        assert a.stats.total_bits == pytest.approx(b.stats.total_bits)


def test_key_frames_are_made_before_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside frames of the chunk before, whether they go on with its segment or start another."""
    model, source = load_model("stc-1"), pictures(24)
    firsts = [True, False, True]
    encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(30))
    parts = [source[i : i + 8] for i in (0, 8, 16)]
    payloads = [encoder.encode(p, first).payload for p, first in zip(parts, firsts, strict=True)]
    plain, early = (ChunkDecoder(model, 96, 64, 8, workers=n) for n in (1, 2))
    wanted = [plain.decode(*chunk) for chunk in zip(payloads, firsts, strict=True)]
    read = [early.read(*chunk) for chunk in zip(payloads, firsts, strict=True)]
    made: list[tuple[int, int]] = []
    make = PictureMaker._picture

    def noted(self: PictureMaker, frame: FrameSymbols, *rest: Any) -> Frames:
        chunk = next(i for i, s in enumerate(read) if any(f is frame for f in s.frames))
        made.append((chunk, frame.step.level))
        return make(self, frame, *rest)

    monkeypatch.setattr(PictureMaker, "_picture", noted)
    for i, symbols in enumerate(read):
        # The second one has not been read when the first one is made.
        following = next(iter(read[i + 1 : i + 2]), None) if i else None
        found = early.pictures(symbols, None, lambda found=following: found)
        for one, other in zip(found, wanted[i], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    last_level = max(level for _, level in made)
    assert made.index((2, 0)) < made.index((1, last_level))
    assert made.index((1, 0)) > made.index((0, last_level)) and len(made) == 24


def test_a_chunk_ends_while_the_next_one_begins() -> None:
    """Whether that goes on with its segment, or starts another."""
    model, source = load_model("dct"), pictures(24)
    firsts = [True, False, True]
    one, two = (ChunkEncoder(model, 96, 64, 8, CodecSettings(30)) for _ in range(2))
    parts = [source[i : i + 8] for i in (0, 8, 16)]
    wanted = [one.encode(part, first).payload for part, first in zip(parts, firsts, strict=True)]
    found, run = [], None
    for part, first in zip(parts, firsts, strict=True):
        (prepared,) = two.prepare(part, first)
        started = two.start(prepared)
        if run is not None:
            found.append(two.finish(run).payload)
        run = started
    assert run is not None
    assert [*found, two.finish(run).payload] == wanted


def test_the_end_of_a_scene_has_no_finer_key_frame() -> None:
    model, source = load_model("dct"), pictures(16)
    sizes = []
    for ends in (False, True):
        encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(30))
        chunks = encoder.prepare(source[:8], True) + encoder.prepare(source[8:], False, ends=ends)
        payloads = [encoder.encode_prepared(chunk).payload for chunk in chunks]
        assert (payloads[1][2] >> 4 & 7 == tuning.ENDING_CASCADE) == ends
        sizes.append(len(payloads[1]))
    assert sizes[1] < 0.95 * sizes[0]


def test_sixteen_pictures_make_one_chunk_or_two() -> None:
    model, slow, fast = load_model("dct"), pictures(1) * 24, pictures(24)
    for source, counts, lengths in ((slow, [8, 16], [8, 16]), (fast, [8, 8, 8], [8, 8, 8])):
        encoder = ChunkEncoder(model, 96, 64, 8, CodecSettings(30))
        chunks = [*encoder.prepare(source[:8], True), *encoder.prepare(source[8:], False)]
        assert [chunk.count for chunk in chunks] == counts
        decoder = ChunkDecoder(model, 96, 64, 8)
        decoded = []
        for number, chunk in enumerate(chunks):
            coded = encoder.encode_prepared(chunk)
            assert tree_length(coded.payload[2] & 7) == lengths[number]
            decoded += decoder.decode(coded.payload, number == 0)
        assert len(decoded) == 24
        assert min(psnr(a[0], b[0]) for a, b in zip(source, decoded, strict=True)) > 20
