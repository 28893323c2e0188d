"""Model files that are not what they say: refused before anything is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stcodec.codec import model_files
from stcodec.codec.model_files import find_model, load_model
from stcodec.errors import ModelError

PATH = find_model("dct")
DATA = PATH.read_bytes()
CONFIG: dict[str, Any] = json.loads(
    json.loads(DATA[8 : 8 + int.from_bytes(DATA[:8], "little")])["__metadata__"]["config"]
)
Tensors = dict[str, torch.Tensor]


def load(folder: Path, config: object, change: Callable[[Tensors], object] = len) -> None:
    """Load the model without networks with another config and other tensors."""
    tensors = load_file(PATH)
    change(tensors)
    path = folder / "changed.safetensors"
    save_file(tensors, str(path), metadata={"config": json.dumps(config)})
    load_model(str(path))


def test_the_model_itself_loads(tmp_path: Path) -> None:
    load(tmp_path, CONFIG)


@pytest.mark.parametrize("name", sorted(p.stem for p in PATH.parent.glob("*.safetensors")))
def test_cards_are_of_the_files_beside_them(name: str) -> None:
    file = find_model(name)
    digest, size = load_model(name).sha256.hex(), file.stat().st_size
    assert f"sha256 `{digest}`, {size} bytes" in file.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    "change",
    [
        *({name: 10**7} for name in ("prior_blocks", "width", "memory", "intra_width")),
        *({"width": 1, name: 60_000} for name in ("prior_blocks", "filter_blocks", "memory")),
        *({"width": v} for v in (-1, 1.5, "1", None, True, [1], 1e999, 64)),
        *({"intra_width": v} for v in (-2, 60_000, 64)),
        *({"groups": v} for v in ([], [96, 6], [6, 24], [0, 96], ["96"], 96, None, [1.5, 96])),
        *({"patch": v} for v in ({"t": 8, "h": 0, "w": 8}, {"t": 8, "h": 8, "w": 7}, [8, 8, 8])),
        *({"patch": {"t": 8, "h": 1 << 20, "w": v}} for v in (8, 1 << 20)),
        *({"patch": {"t": t, "h": 8, "w": 8}} for t in (0, 7, "8")),
        *({"kind_qualities": v} for v in ([], [1] * 4, [1e999] * 5, ["1"] * 5, 5)),
        *({"networks": v} for v in ([], [1] * 5, "abcde", None)),
        *({"transform": v} for v in ("dst", "", 1, None, ["dct"])),
        *({"block": v} for v in ("recurrent", 0, None)),
        *({"overlap": v} for v in (1, "yes", None, [True])),
        *({"divisions": v} for v in (0, 2, 3, 4, "2", True)),  # 2 and 3 need more tables
        *({"predicted": v} for v in (-1, 24, 97, 1.0, "1", None)),
        {"unknown": 1},
    ],
    ids=str,
)
def test_configs(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a usable model file"):
        load(tmp_path, {**CONFIG, **change})


def without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


def with_(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: change(tensors[name]).contiguous()})


NAMES = ["scales.intra.0.w1", "scales.other.3.b2", "network.spatial", "network.step_gain"]
TABLES = ["tables.sizes", "tables.counts"]
MOTION = ["motion.probabilities", "motion.trust"]


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in (*NAMES, *TABLES, *MOTION)),
        *(with_(name, lambda t: t[:-1]) for name in (*NAMES, *TABLES, *MOTION)),
        *(with_(name, lambda t: t[None]) for name in (*NAMES, *TABLES, *MOTION)),
        *(with_(name, lambda t: t[:0]) for name in (*NAMES, *TABLES, *MOTION)),
        *(with_(name, lambda t: t.to(torch.int64)) for name in (*NAMES, *TABLES, *MOTION)),
        *(with_(name, lambda t: t.double()) for name in NAMES),
        *(with_(name, lambda t: t.float() * float("nan")) for name in NAMES),
        *(with_(name, lambda t: t + 1) for name in TABLES),
        *(with_(name, lambda t: -t) for name in TABLES),
        *(
            with_("motion.probabilities", lambda t, p=p: t * 0 + p)
            for p in (-1, 47, 65489, 1 << 16)
        ),
        *(with_("motion.trust", lambda t, n=n: t * 0 + n) for n in (-1, 97)),
        with_("scales.intra.0.w1", lambda t: t * 0 - 128),
        lambda tensors: tensors.update({"network.basis": torch.zeros(96, 96)}),
    ],
)
def test_tensors(change: Callable[[Tensors], object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a usable model file"):
        load(tmp_path, CONFIG, change)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, DATA[:100], DATA[:-1], b"\xff" * 100, b"\x02" + bytes(7) + b"{}"],
    ids=len,
)
def test_files_that_are_no_models(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"x\.safetensors"):
        load_model(str(path))


def test_a_model_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "_MOST_BYTES", len(DATA) - 1)
    with pytest.raises(ModelError, match="at most"):
        load_model("dct")


def test_names_that_no_file_has() -> None:
    for name in ("x" * 300, "x" * 300 + ".safetensors"):
        with pytest.raises(ModelError):
            find_model(name)


def test_where_motion_starts_may_be_anything_in_range(tmp_path: Path) -> None:
    for probability, trust in ((48, 0), (65488, 96)):

        def change(tensors: Tensors, p: int = probability, n: int = trust) -> None:
            tensors["motion.probabilities"].fill_(p)
            tensors["motion.trust"].fill_(n)

        load(tmp_path, CONFIG, change)
