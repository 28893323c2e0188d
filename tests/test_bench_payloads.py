"""`stcodec bench payloads`: bytes and quality against files and decodes of their own, the cache, a
saved run, replaced settings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

import stcodec
from stcodec.bench.cache import ResultCache, code_digest
from stcodec.bench.coding import KINDS, evenness, frame_kinds
from stcodec.bench.overrides import changed_config, check_constants, parse_settings
from stcodec.bench.sources import prepare
from stcodec.codec.network import ModelConfig
from stcodec.container import stp
from stcodec.container.records import VideoChunk
from stcodec.errors import UsageError
from tests.conftest import psnr, run

FRAMES = 12  # one chunk and a half


def payloads(
    folder: Path, clip: Path, *more: object, jobs: int = 1
) -> subprocess.CompletedProcess[str]:
    what = ("--models", "dct", "--qualities", "24,40", "--frames", FRAMES, "--jobs", jobs)
    return run("bench", "payloads", clip, *what, "--cache", folder / "cache", *more, timeout=600)


def bd_rates(tables: str) -> list[float]:
    """The bee's two against the saved run."""
    row = next(line for line in tables.splitlines() if line.startswith("| bee"))
    return [float(cell.removesuffix(" % ")) for cell in row.split("|")[2:4]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, bee: Path) -> tuple[Path, str]:
    """A folder with clips/bee.mp4 and the result of measuring it, and the tables."""
    folder = tmp_path_factory.mktemp("payloads")
    (folder / "clips").mkdir()
    (folder / "clips" / "bee.mp4").write_bytes(bee.read_bytes())
    table = "path\tscale\tkind\tsource\nbee.mp4\t0.5\tnatural\ta meadow\n"
    (folder / "clips" / "CLIPS.tsv").write_text(table)
    what = ("--peers", "x264-ultrafast", "--json", folder / "a.json", "--verbose")
    done = payloads(folder, folder / "clips", *what, jobs=2)
    assert done.returncode == 0, done.stderr
    assert "1 clips, 7 encodes, 0 of them from the cache" in done.stderr
    return folder, done.stdout


def test_payloads_are_those_of_files_and_pictures_those_of_decodes(
    measured: tuple[Path, str], tmp_path: Path
) -> None:
    folder, tables = measured
    result = json.loads((folder / "a.json").read_text())
    (described,) = result["clips"]
    assert (described["path"], described["kind"], described["scale"], described["source"]) == (
        "bee.mp4",
        "natural",
        0.5,
        "a meadow",
    )
    point = result["curves"]["bee"]["stp:dct"][1]
    clip = prepare(folder / "clips" / "bee.mp4", tmp_path, {}, 0.5, FRAMES)
    coded, back = tmp_path / "a.stp", tmp_path / "a.y4m"
    stcodec.encode(clip.path, coded, quality=40, model="dct", threads=1)
    stcodec.decode(coded, back, threads=1)
    with open(coded, "rb") as stream:
        chunks = [c for c in stp.Reader(stream) if isinstance(c, VideoChunk)]
    assert point["bytes"] == sum(len(c.payload) for c in chunks)
    with av.open(str(clip.path)) as x, av.open(str(back)) as y:
        pairs = list(zip(x.decode(video=0), y.decode(video=0), strict=True))
    luma = [psnr(a.to_ndarray()[: a.height], b.to_ndarray()[: b.height]) for a, b in pairs]
    assert point["psnr_y"] == pytest.approx(np.mean(luma), abs=1e-4)
    assert (point["frames"], point["width"], point["height"]) == (FRAMES, 80, 44)
    # The parts are all there is but a header of 7 bytes and words of 4 for each chunk.
    assert set(point["parts"]) == {"vectors", *KINDS}
    assert 0 < point["bytes"] - sum(point["parts"].values()) < 2 * (7 + 12)
    assert 0 < point["decode_seconds"] < point["encode_seconds"]
    assert f"| bee | 40 | {point['bytes']} |" in tables


def test_packets_of_a_peer(measured: tuple[Path, str], tmp_path: Path) -> None:
    """The same pictures through PyAV alone, as a raw stream, which repeats its parameter sets."""
    folder, _ = measured
    clip = prepare(folder / "clips" / "bee.mp4", tmp_path, {}, 0.5, FRAMES)
    crf = 28
    with av.open(str(clip.path)) as source:
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = clip.width, clip.height, "yuv420p"
        encoder.time_base = 1 / clip.rate
        encoder.options = {"preset": "ultrafast", "crf": str(crf), "threads": "1"}
        encoder.framerate = clip.rate
        frames = list(source.decode(video=0))
        for frame in frames:
            frame.pict_type = PictureType.NONE  # decoded ones would stay intra frames
        size = sum(packet.size for f in (*frames, None) for packet in encoder.encode(f))
    (point,) = [
        p
        for p in json.loads((folder / "a.json").read_text())["curves"]["bee"]["x264-ultrafast"]
        if p["setting"] == crf
    ]
    banner_and_parameter_sets = 650
    assert size - banner_and_parameter_sets < point["bytes"] < size
    assert point["parts"] == {} and point["encode_seconds"] is None


def test_what_is_known_is_not_measured_again(measured: tuple[Path, str]) -> None:
    folder, _ = measured
    clips, saved = folder / "clips", folder / "a.json"
    again = payloads(folder, clips, "--against", saved)
    assert "1 clips, 2 encodes, 2 of them from the cache" in again.stderr
    assert bd_rates(again.stdout) == pytest.approx([0, 0])
    finer = ("--set", "config.kind_qualities=9,4,0,2,3", "--json", folder / "b.json")
    other = payloads(folder, clips, "--against", saved, *finer)
    assert "0 of them from the cache" in other.stderr
    before, after = (
        json.loads((folder / name).read_text())["curves"]["bee"]["stp:dct"]
        for name in ("a.json", "b.json")
    )
    for a, b in zip(before, after, strict=True):
        assert b["parts"]["intra"] > a["parts"]["intra"]
        assert b["key_gap"] > a["key_gap"]
    assert all(abs(value) > 1 for value in bd_rates(other.stdout))
    dearer = ("--set", "RATE_WEIGHTS=0.5,0.5,0.5,0.5,0.5", "--json", folder / "c.json")
    assert payloads(folder, clips, *dearer).returncode == 0
    result = json.loads((folder / "c.json").read_text())
    assert result["settings"] == {"RATE_WEIGHTS": [0.5] * 5}
    for a, b in zip(before, result["curves"]["bee"]["stp:dct"], strict=True):
        assert b["bytes"] < 0.95 * a["bytes"]


def test_a_saved_run_of_other_clips_is_refused(measured: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = measured
    values = json.loads((folder / "a.json").read_text())
    (tmp_path / "other.json").write_text(
        json.dumps({**values, "clips": [{**values["clips"][0], "sha256": "0" * 64}]})
    )
    (tmp_path / "short.json").write_text(json.dumps({**values, "frames": 8}))
    (tmp_path / "none.json").write_text("[]")
    for name, code, words in (
        ("other", 3, "another clip"),
        ("short", 2, "--frames 8"),
        ("none", 3, "not a result"),
    ):
        done = payloads(folder, folder / "clips", "--against", tmp_path / f"{name}.json")
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
        assert f"{name}.json" in done.stderr and "Traceback" not in done.stderr


def test_the_page_lists_clips_and_tables(measured: tuple[Path, str], tmp_path: Path) -> None:
    folder, tables = measured
    page = tmp_path / "page.md"
    done = run("bench", "report", folder / "a.json", "-o", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "## Payloads, at most 12 frames" in text
    assert "| bee.mp4 | natural | 0.5 | a meadow | `" in text
    for line in tables.splitlines():
        assert line in text
    assert str(folder) not in text


def test_frames_of_every_tree_have_their_kinds() -> None:
    names = [
        [KINDS[kind] for kind in frame_kinds(tree, before)] for tree, before in ((0, 0), (4, 2))
    ]
    leaf, middle = "leaves", "level 2"
    rest = [leaf, middle, leaf, "level 1", leaf, middle, leaf]
    assert names == [[*rest, "intra"], [*rest, "key"]]


def test_evenness_stays_within_segments() -> None:
    flat_but_one = [40.0, 40.0, 43.0, 40.0, 40.0]
    assert evenness(flat_but_one, [0] * 5) == pytest.approx((1.5 + 3 + 1.5) / 3)
    assert evenness([40.0, 40.0, 40.0, 50.0, 50.0, 50.0], [0, 0, 0, 1, 1, 1]) == 0
    assert evenness([40.0, 41.0], [0, 0]) is None


def test_settings() -> None:
    found = parse_settings(["b=2", "config.kind_qualities=3, -2, 0, 2, 3", "a=0.5"])
    assert found == {"a": 0.5, "b": 2, "config.kind_qualities": (3, -2, 0, 2, 3)}
    assert changed_config(ModelConfig(), found) == {"kind_qualities": (3, -2, 0, 2, 3)}
    for bad in ("a", "=1", "a=", "a=os.getcwd()"):
        with pytest.raises(UsageError):
            parse_settings([bad])
    for bad in ("config.colour=1", "config.kind_qualities=1,2", "config.width=1.5"):
        with pytest.raises(UsageError):
            changed_config(ModelConfig(), parse_settings([bad]))
    assert check_constants({"HALF_WAY": 1, "config.width": 1}) == {"HALF_WAY": 1.0}
    for bad in ("COLOUR=1", "HALF_WAY='x'", "RATE_WEIGHTS=1.0", "annotations=1"):
        with pytest.raises(UsageError):
            check_constants(parse_settings([bad]))


def test_a_changed_line_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "codec").mkdir()
    source = tmp_path / "codec" / "a.py"
    source.write_text("A = 1\n")
    monkeypatch.setattr("stcodec.bench.cache.PACKAGE", tmp_path)
    before = code_digest(["codec"], [])
    assert code_digest(["codec"], []) == before
    source.write_text("A = 2\n")
    assert code_digest(["codec"], []) != before


def test_a_damaged_entry_of_the_cache_is_none(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache")
    assert cache.get("key") is None
    cache.put("key", {"bytes": 3})
    assert cache.get("key") == {"bytes": 3}
    for path in (tmp_path / "cache").iterdir():
        path.write_text("{")
    assert cache.get("key") is None
