"""A decoder written from docs/format.md and the package agree on symbols and pictures."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stcodec
from tests.independent.container import SIGNATURE, DamagedError, File, parse, sections
from tests.independent.decoder import Decoder
from tests.independent.invention import Plan, invent_file, section, write_model
from tests.independent.model import Model
from tests.independent.prediction import Planes

HERE = Path(__file__).parent
# By how much 32-bit and 64-bit arithmetic may differ, in units of samples.
ROUNDING = 0.02
GOLDEN = HERE.parent / "golden"
MODELS = HERE.parent.parent / "models"

PLAIN: dict[str, Any] = {
    "groups": [6, 24, 48, 96],
    "width": 0,
    "prior_blocks": 1,
    "filter_blocks": 2,
    "memory": 5,
    "intra_width": 0,
    "scale_hidden": 12,
    "intra_scale_hidden": 20,
    "kind_qualities": [3, -2, 0, 2, 30],
}
NETWORKS = {"width": 7, "intra_width": 10}
EIGHT = {"t": 8, "h": 8, "w": 8}
# Overlapping patches of wavelets, few predicted channels.
WAVELETS = {"patch": EIGHT, "transform": "dwt", "overlap": True, "predicted": 7}
WIDE = {"t": 8, "h": 8, "w": 16}
DIVIDED = {"patch": WIDE, "groups": [9, 192], "divisions": 3, "overlap": True, "predicted": 30}
DIVIDED |= {"filters": False}
ATTENTIVE = {"patch": EIGHT, "width": 12, "block": "attention", "memory": 0, "overlap": True}
SOME = [True, False, True, True, False]


def decoded(file: File, model: Path) -> list[Planes]:
    decoder = Decoder(file, Model(model, file.head["model_sha256"]))
    return [planes for chunk in file.chunks for planes in decoder.decode(chunk)]


def assert_alike(path: Path, wanted: list[Planes]) -> None:
    """The package's samples are `wanted`, rounded, but where a value is about half an integer."""
    with stcodec.open(path) as video:
        pictures = [picture.planes for picture in video]
    assert len(pictures) == len(wanted)
    for planes, others in zip(pictures, wanted, strict=True):
        for plane, other in zip(planes, others, strict=True):
            assert plane.shape == other.shape
            np.testing.assert_allclose(plane, other, rtol=0, atol=0.5 + ROUNDING)


def test_the_decoder_is_independent() -> None:
    for name in (
        "container",
        "entropy",
        "ranges",
        "model",
        "motion",
        "latents",
        "prediction",
        "loop_filter",
        "samples",
        "exact",
        "decoder",
    ):
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            else:
                continue
            roots = {found.split(".")[0] for found in names}
            assert not roots & {"stcodec", "torch", "constriction", "tests"}, name


@pytest.mark.parametrize("name", ["dct-8bit", "stc-1-8bit"])
def test_golden_files(name: str) -> None:
    path = GOLDEN / f"{name}.stp"
    file = parse(path.read_bytes())
    assert file.foot["frames"] == sum(len(chunk.pts) for chunk in file.chunks) == 27
    assert_alike(path, decoded(file, MODELS / f"{file.model}.safetensors"))


def dump_bytes() -> bytes:
    """The file whose dump stands in docs/format.md: two pictures of 16x16."""
    page = (HERE.parent.parent / "docs" / "format.md").read_text()
    block = re.search(r"```hex\n(.*?)```", page, re.S)
    assert block is not None
    return b"".join(bytes.fromhex(line[8:55]) for line in block[1].splitlines())


def test_the_dump_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "dump.stp"
    path.write_bytes(dump_bytes())
    file = parse(path.read_bytes())
    pictures = decoded(file, MODELS / f"{file.model}.safetensors")
    assert_alike(path, pictures)
    assert abs(pictures[0][0][6, 5] - 180) < 20
    assert abs(pictures[1][0][6, 3] - 96) < 20


PLANS: dict[str, list[Plan]] = {
    "all trees": [
        (True, 8, 20, 2, True, 0, False),
        (False, 8, 40, 0, True, 1, False),
        (False, 16, 25, 3, True, 4, False),
        (False, 3, 50, 1, False, 2, False),
        (False, 8, 30, 2, True, 3, False),
        (False, 11, 30, 3, False, 2, False),
        (True, 1, 63, 1, True, 0, False),
        (True, 16, 30, 3, True, 0, False),
        (True, 2, 0, 0, False, 4, False),
        (False, 8, 35, 5, True, 1, False),
        (False, 8, 28, 6, True, 0, False),
        (False, 16, 22, 7, True, 2, False),
        (False, 1, 30, 4, True, 5, False),
    ],
    "one": [(True, 8, 33, 0, True, 2, False)],
    "short": [(True, 8, 20, 5, True, 0, False), (False, 5, 45, 0, True, 1, False)],
}


@pytest.mark.parametrize(
    ("model", "size", "bit_depth", "plan"),
    [
        ("dct", (41, 33), 10, "all trees"),
        ("stc-1", (17, 15), 8, "all trees"),
        (
            {"patch": {"t": 8, "h": 4, "w": 8}, "groups": [9, 48], **NETWORKS, "networks": SOME},
            (35, 21),
            8,
            "short",
        ),
        # More than 64 blocks in a row.
        ({"patch": {"t": 8, "h": 16, "w": 16}, "groups": [4, 99, 384]}, (1060, 16), 8, "one"),
        ({"patch": {"t": 8, "h": 16, "w": 8}, "groups": [192], **NETWORKS}, (70, 50), 10, "short"),
        (WAVELETS, (60, 42), 8, "short"),
        (DIVIDED, (70, 50), 8, "short"),
        (ATTENTIVE, (50, 38), 8, "short"),
    ],
    ids=["dct", "stc-1", "4x8", "16x16", "16x8", "wavelets", "divided", "attention"],
)
def test_made_up_files(
    model: str | dict[str, Any],
    size: tuple[int, int],
    bit_depth: int,
    plan: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, model_path = tmp_path / "invented.stp", tmp_path / "invented.safetensors"
    if isinstance(model, str):
        model_path = MODELS / f"{model}.safetensors"
    else:
        write_model(model_path, {**PLAIN, **model}, seed=5)
        monkeypatch.setenv("STCODEC_MODELS", str(tmp_path))
    pictures, drawn, decided = invent_file(path, model_path, size, bit_depth, PLANS[plan])
    assert sum(inventor.symbols for inventor in drawn) > 1000
    assert sum(inventor.escapes for inventor in drawn) > 0
    assert sum(deciding.count for deciding in decided) > 1000
    assert len(parse(path.read_bytes()).chunks) == len(drawn)
    assert_alike(path, pictures)


@pytest.mark.parametrize("at", [0, 1, 2, 3, 7, 9, 11, 12, 20, -5, -1])
def test_both_refuse_a_damaged_payload(at: int, tmp_path: Path) -> None:
    """A byte of the payload is wrong though the section's CRC is right."""
    data = SIGNATURE
    for _, tag, body in sections(dump_bytes()):
        if tag == b"CHNK":
            payload = bytearray(body[14:])
            payload[at] ^= 0x20
            body = body[:14] + bytes(payload)
        data += section(tag, body)
    file = parse(data)
    with pytest.raises(DamagedError):
        decoded(file, MODELS / f"{file.model}.safetensors")
    path = tmp_path / "damaged.stp"
    path.write_bytes(data)
    with pytest.raises(stcodec.DamagedFileError):
        stcodec.decode(path, tmp_path / "out.y4m")


@pytest.mark.parametrize("at", [3, 14, 30, 99, 120, 150, 200, 250])
def test_both_refuse_a_damaged_section(at: int, tmp_path: Path) -> None:
    data = bytearray(dump_bytes())
    data[at] ^= 1
    with pytest.raises(DamagedError):
        parse(bytes(data))
    path = tmp_path / "damaged.stp"
    path.write_bytes(data)
    with pytest.raises(stcodec.DamagedFileError):
        stcodec.decode(path, tmp_path / "out.y4m")
