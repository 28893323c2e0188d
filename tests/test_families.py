"""All families of models: each is made by one command, says what it is, codes, and is measured."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stcodec
from stcodec.bench.payload_tables import side_by_side
from stcodec.bench.payloads import Results
from stcodec.codec.divisions import turns
from stcodec.codec.model_files import load_model
from stcodec.codec.network import ModelConfig
from stcodec.codec.overlap import Overlap, edge_matrix
from stcodec.codec.patches import Frames, PatchSize
from stcodec.codec.transform import LINES, transform_of
from stcodec.training import export, fit
from stcodec.training.families import FAMILIES
from tests.conftest import make_video, moving_picture, psnr
from tests.test_training import training

FIRST = next(iter(FAMILIES))
TINY = ("--crops", 1, "--steps", 3, "--rounds", 1, "--crop", "96x64", "--threads", 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "pan.mkv"
    make_video(path, width=112, height=80, frames=10)
    return path


@pytest.fixture(scope="module")
def packed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "shards"
    training("pack", clip.parent, target)
    return target


@pytest.fixture(scope="module")
def models(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first family, which networks start from."""
    folder = tmp_path_factory.mktemp("models")
    training("family", FIRST, packed, folder / f"{FIRST}.safetensors", *TINY)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_one_command_makes_a_model_that_codes(
    name: str, clip: Path, packed: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, family = models / f"{name}.safetensors", FAMILIES[name]
    start = ("--start", models / f"{FIRST}.safetensors") if family.networks else ()
    if name != FIRST:
        training("family", name, packed, target, *TINY, "--train-steps", 1, *start)
    model = load_model(str(target))
    for option, value in {**family.linear, **family.networks}.items():
        if option == "patch":
            assert (model.config.patch.w, model.config.patch.h) == value
        elif hasattr(model.config, option):
            assert getattr(model.config, option) == value
    card = target.with_suffix(".md").read_text()
    assert card.startswith(f"# {name}\n") and model.sha256.hex() in card
    coded = models / f"{name}.stp"
    stcodec.encode(clip, coded, model=str(target), quality=40)
    monkeypatch.setenv("STCODEC_MODELS", str(models))
    with stcodec.open(coded) as whole:
        pictures = [p.planes for p in whole]
    assert len(pictures) == 10
    wanted = [moving_picture(t, 112, 80) for t in range(10)]
    assert min(psnr(a[0], b[0]) for a, b in zip(wanted, pictures, strict=True)) > 30
    # What the networks reach, and what overlaps, is made around a part.
    with stcodec.open(coded, crop="16:20:50:24") as part:
        for these, those in zip(part, pictures, strict=True):
            np.testing.assert_array_equal(these.planes[0], those[0][24:44, 50:66])


def test_networks_are_fitted_first_and_go_on(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.safetensors"
    for number in (1, 2):
        common = (packed, target, *TINY, "--train-steps", number)
        said, _ = training("family", "cnn", *common)
        assert ("coded 1 clips" in said) == (number == 1)
        assert ("goes on from step 1" in said) == (number == 2)
        assert f"{number} steps" in target.with_suffix(".md").read_text()
        target.unlink()
        target.with_suffix(".md").unlink()


def test_models_side_by_side() -> None:
    """The second takes a tenth more for the same; screens do not count."""
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for clip, factor in (("a", 1.1), ("b", 1.1), ("text", 3.0)):
        for codec, size in (("stp:one", 1.0), ("stp:two", factor)):
            psnr = ("psnr_611", "psnr_y", "psnr_u", "psnr_v")
            curves.setdefault(clip, {})[codec] = [
                {"setting": q, "bytes": int(1e5 * size * 1.1**q), "ms_ssim": 0.8 + q / 250}
                | dict.fromkeys(psnr, 30.0 + q / 4)
                | {"encode_seconds": 2.0 * size, "decode_seconds": size}
                for q in (10, 20, 30, 40)
            ]
    kinds = {"a": "natural", "b": "natural", "text": "screen"}
    clips = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    lines = side_by_side(Results(8, {}, clips, curves), {"stp:one": 500_000, "stp:two": 10**6})
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]
    assert rows[0] == ["one", "0.50", *[""] * 4, "2.000", "1.000"]
    assert rows[1][:5] == ["two", "1.00", *["+10.0 %"] * 3]
    assert rows[1][5:] == ["+10.0 %", "2.200", "1.100"]


def test_models_of_divided_patches_are_not_trained(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "divided.safetensors"
    export.write(target, fit.linear_model(ModelConfig(divisions=2)), None)
    _, error = training("train", packed, tmp_path / "no", "--model", target, "--width", 8, code=2)
    assert "divided" in error


SIZES = [(4, 4), (4, 8), (8, 8), (16, 8), (32, 32)]


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_transforms_are_orthonormal_and_in_order(name: str, h: int, w: int) -> None:
    """The order is that of exact numbers, as docs/format.md has it."""
    transform = transform_of(PatchSize(h=h, w=w), name)
    size = len(transform.matrix)
    torch.testing.assert_close(transform.matrix @ transform.matrix.T, torch.eye(size))
    exact, luma = [], []
    for rows, columns in ((h, w), *((h // 2, w // 2),) * 2):
        for fy, fx in itertools.product(LINES[name](rows)[1], LINES[name](columns)[1]):
            exact.append((Fraction(fy) / h) ** 2 + (Fraction(fx) / w) ** 2)
            luma.append(len(luma) < h * w)
    order = sorted(range(size), key=exact.__getitem__)
    assert transform.luma.tolist() == [luma[i] for i in order]
    np.testing.assert_allclose(transform.frequency, [float(exact[i]) ** 0.5 for i in order], 1e-6)
    assert [order[i] for i in transform.luma_grid.flatten()] == list(range(h * w))


def test_wavelets_keep_to_their_place() -> None:
    basis, _ = LINES["dwt"](32)
    fine = basis[16:]
    assert all(np.abs(row).argmax() // 2 == place for place, row in enumerate(fine))
    far = np.abs(np.arange(32)[None, :] - 2 * np.arange(16)[:, None]) > 6
    assert np.abs(fine[far]).max() < 0.02


def coding_gain(rows: np.ndarray) -> float:
    """Of orthonormal rows, for a first-order Markov process (0.95), in dB."""
    at = np.arange(rows.shape[1])
    covariance = 0.95 ** np.abs(at[:, None] - at[None, :])
    return float(-10 * np.log10(np.diag(rows @ covariance @ rows.T)).mean())


def test_coding_gains_are_those_in_the_documents() -> None:
    cosines, _ = LINES["dct"](8)
    wavelets, _ = LINES["dwt"](8)
    mixing = np.eye(24)
    for edge in (8, 16):
        mixing[edge - 4 : edge + 4, edge - 4 : edge + 4] = edge_matrix(8)
    lapped = (np.kron(np.eye(3), cosines) @ mixing)[8:16]
    assert coding_gain(cosines) == pytest.approx(8.83, abs=0.005)
    assert coding_gain(wavelets) == pytest.approx(8.63, abs=0.005)
    assert coding_gain(lapped) == pytest.approx(9.22, abs=0.005)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_overlapping_keeps_energy_and_what_is_flat(h: int, w: int) -> None:
    torch.manual_seed(0)
    overlap = Overlap(PatchSize(h=h, w=w))
    shapes = (2, 1, 3 * h, 2 * w), (2, 1, 3 * h // 2, w), (2, 1, 3 * h // 2, w)
    frames = Frames(*(torch.rand(shape) for shape in shapes))
    mixed = overlap.before(frames)
    for plane, own, back in zip(frames, mixed, overlap.after(mixed), strict=True):
        torch.testing.assert_close(back, plane)
        torch.testing.assert_close(own.square().sum(), plane.square().sum())
    flat = overlap.before(Frames(*(torch.full(shape, 0.3) for shape in shapes)))
    for plane in flat:
        torch.testing.assert_close(plane, torch.full_like(plane, 0.3))


@pytest.mark.parametrize(("h", "w", "count"), [(4, 4, 2), (8, 16, 3), (16, 16, 3)])
def test_divisions_are_of_the_same_planes(h: int, w: int, count: int) -> None:
    patch = PatchSize(h=h, w=w)
    whole, luma = transform_of(patch), h * w
    found = turns(patch, "dct", count)
    assert len(found) == count - 1
    for division, turn in enumerate(found, start=1):
        divided = turn @ whole.matrix
        torch.testing.assert_close(divided @ divided.T, torch.eye(len(divided)))
        assert torch.equal(divided[:, :luma].square().sum(1) > 0.5, whole.luma)
        # The lowest of luma is the mean of the upper left small block.
        first = divided[0, :luma].view(h, w)
        inside = first[: h >> division, : w >> division]
        torch.testing.assert_close(inside, torch.full_like(inside, len(inside.flatten()) ** -0.5))
        assert float(first.square().sum() - inside.square().sum()) < 1e-6


@pytest.mark.parametrize(
    "changed",
    [
        {"transform": "dst"},
        {"block": "recurrent"},
        {"divisions": 0},
        {"divisions": 4},
        {"divisions": 3, "patch": PatchSize(h=4, w=8), "groups": (48,)},
        {"divisions": 2, "intra_width": 16},
        {"predicted": 97},
    ],
    ids=str,
)
def test_configurations_that_there_are_not(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"there is no|divided|than there are"):
        ModelConfig(**changed)  # type: ignore[arg-type]
