"""Joining files and cutting them apart, as a user does it."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import stcodec
from stcodec.common.values import Packet
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader
from tests.conftest import make_video, read_times, run
from tests.media import clip, write_clip


def encode(source: Path, target: Path, **options: object) -> Path:
    stcodec.encode(source, target, **{"quality": 20, "effort": 0, "model": "dct", **options})
    return target


@pytest.fixture(scope="module")
def clip_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 pictures in 0.64 seconds, with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, clip(16), codec="libx264", audio="aac")


@pytest.fixture(scope="module")
def clip_stp(clip_mp4: Path) -> Path:
    return encode(clip_mp4, clip_mp4.with_suffix(".stp"))


def items(path: Path) -> tuple[list[VideoChunk], list[Packet]]:
    with open(path, "rb") as stream:
        found = list(Reader(stream))
    return [i for i in found if isinstance(i, VideoChunk)], [
        i for i in found if isinstance(i, Packet)
    ]


def decoded(path: Path) -> tuple[list[int], list[np.ndarray]]:
    """Times and luma of all pictures."""
    with stcodec.open(path) as video:
        pictures = list(video)
    return [p.pts for p in pictures], [p.planes[0] for p in pictures]


def same_pictures(a: Path, b: Path) -> bool:
    (times, pictures), (others, more) = decoded(a), decoded(b)
    return times == others and all(
        np.array_equal(x, y) for x, y in zip(pictures, more, strict=True)
    )


def test_concat_puts_one_file_after_another(clip_mp4: Path, clip_stp: Path, tmp_path: Path) -> None:
    target, back = tmp_path / "two.stp", tmp_path / "two.mp4"
    done = run("concat", clip_stp, clip_stp, "-o", target, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    assert (event["event"], event["frames"], event["output_bytes"]) == (
        "joined",
        32,
        target.stat().st_size,
    )
    assert run("verify", target).returncode == 0
    seen = json.loads(run("info", target, "--json").stdout)
    assert (seen["frames"], seen["segments"], seen["complete"], seen["duration"]) == (
        32,
        2,
        True,
        1.28,
    )
    chunks, packets = items(target)
    assert [c.payload for c in chunks] == 2 * [c.payload for c in items(clip_stp)[0]]
    assert (
        sum(len(p.data) for p in packets)
        < seen["streams"][0]["bytes"]
        < sum(len(p.data) + 50 for p in packets)
    )
    starts = [p.pts for p in packets]
    assert starts == sorted(set(starts))
    assert run("decode", target, back).returncode == 0
    whole = read_times(clip_mp4)
    assert read_times(back) == whole + [t + Fraction(16, 25) for t in whole]
    with av.open(str(back)) as container:
        sound = sum(frame.samples for frame in container.decode(audio=0))
    assert sound == pytest.approx(2 * 0.64 * 48000, abs=2048)


def test_parts_joined_again_are_the_original(clip_stp: Path, tmp_path: Path) -> None:
    whole, again = tmp_path / "whole.stp", tmp_path / "again.stp"
    assert run("concat", *[clip_stp] * 5, "-o", whole).returncode == 0
    done = run("split", whole, "-o", tmp_path / "part-%02d.stp", "--every", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frames"] for line in done.stdout.splitlines()] == [32, 32, 16]
    parts = sorted(tmp_path.glob("part-*.stp"))
    assert [p.name for p in parts] == ["part-00.stp", "part-01.stp", "part-02.stp"]
    for part in parts:
        assert run("verify", part).returncode == 0
        (chunks, packets), base = items(part), Fraction(1, 48000)
        assert chunks[0].pts[0] == 0
        # The sound of a part is that of its own pictures, at their time.
        assert -2048 <= packets[0].pts < 1024
        assert abs((packets[-1].pts + 1024) * base - Fraction(len(chunks) * 8, 25)) < Fraction(
            1, 20
        )
    assert run("concat", *parts, "-o", again).returncode == 0
    assert again.read_bytes() == whole.read_bytes()


def test_encoding_in_parts(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", clip(24), codec="libx264", audio="aac")
    first = encode(source, tmp_path / "1.stp", end=0.33)
    second = encode(source, tmp_path / "2.stp", start=0.33)
    assert run("concat", first, second, "-o", tmp_path / "all.stp").returncode == 0
    (_, one), (_, two) = decoded(first), decoded(second)
    times, pictures = decoded(tmp_path / "all.stp")
    assert (len(one), len(two)) == (9, 15)
    assert [np.array_equal(a, b) for a, b in zip(pictures, one + two, strict=True)] == [True] * 24
    steps = {b - a for a, b in pairwise(times)}
    assert len(steps) == 1
    with av.open(str(source)) as container:
        sent = [bytes(p) for p in container.demux(audio=0) if p.size]
    _, packets = items(tmp_path / "all.stp")
    starts = [p.pts for p in packets]
    # Nothing of the sound is lost or comes twice where the parts meet.
    assert [p.data for p in packets] == sent[1:]  # the first one lies before the first picture
    assert max(abs(b - a - 1024) for a, b in pairwise(starts)) < 0.01 * 48000


def test_uneven_times_and_gaps_survive(tmp_path: Path) -> None:
    times = [100 + 40 * i + (i % 3) + 5000 * (i >= 128) for i in range(140)]
    make_video(
        tmp_path / "a.mkv",
        width=32,
        height=16,
        frames=140,
        pts=lambda i: times[i],
        time_base=Fraction(1, 1000),
    )
    whole, again = encode(tmp_path / "a.mkv", tmp_path / "a.stp"), tmp_path / "again.stp"
    assert run("split", whole, "-o", tmp_path / "p%d.stp", "--every", "0:02").returncode == 0
    parts = sorted(tmp_path.glob("p?.stp"))
    assert [len(decoded(p)[0]) for p in parts] == [128, 12]
    assert run("concat", *parts, "-o", again).returncode == 0
    assert same_pictures(again, whole)


def test_files_that_do_not_fit_are_refused(clip_mp4: Path, clip_stp: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", frames=2)
    make_video(tmp_path / "wide.mkv", width=80, frames=2)
    make_video(tmp_path / "deep.mkv", frames=2, pix_fmt="yuv420p10le")
    make_video(
        tmp_path / "base.mp4",
        frames=2,
        codec="libx264",
        time_base=Fraction(1, 90000),
        pts=lambda i: 3600 * i,
    )
    first = encode(tmp_path / "a.mkv", tmp_path / "a.stp")
    still = encode(clip_mp4, tmp_path / "silent.stp", audio="none")
    other = encode(tmp_path / "a.mkv", tmp_path / "other.stp", model="stc-1")
    shades = write_clip(tmp_path / "c.mkv", clip(2), colorspace=5)
    pairs = [
        (first, encode(tmp_path / "wide.mkv", tmp_path / "wide.stp"), "picture sizes"),
        (first, encode(tmp_path / "deep.mkv", tmp_path / "deep.stp"), "bit depths"),
        (first, encode(tmp_path / "base.mp4", tmp_path / "base.stp"), "time bases"),
        (first, other, "models"),
        (first, encode(shades, tmp_path / "c.stp"), "colours"),
        (clip_stp, still, "carried streams"),
    ]
    for a, b, what in pairs:
        done = run("concat", a, b, "-o", tmp_path / "x.stp")
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert what in done.stderr
    assert not (tmp_path / "x.stp").exists()


def test_existing_outputs_and_inputs_are_kept(clip_stp: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.stp"
    source.write_bytes(clip_stp.read_bytes())
    assert run("concat", source, clip_stp, "-o", source, "-y").returncode == 2
    (tmp_path / "p1.stp").write_bytes(b"precious")
    assert run("concat", clip_stp, "-o", tmp_path / "p1.stp").returncode == 4
    assert run("concat", clip_stp, clip_stp, "-o", source, "-y").returncode == 0
    assert run("split", source, "-o", tmp_path / "p%d.stp", "--every", "0.1").returncode == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.stp", "p1.stp"]
    assert run("split", source, "-o", tmp_path / "p%d.stp", "--every", "0.1", "-y").returncode == 0
    assert (tmp_path / "p1.stp").read_bytes() != b"precious"


@pytest.mark.parametrize("pattern", ["x.stp", "%d%d.stp", "%s.stp", "%d%.stp"])
def test_bad_patterns(pattern: str, clip_stp: Path, tmp_path: Path) -> None:
    done = run("split", clip_stp, "-o", pattern, "--every", 1, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not list(tmp_path.iterdir())


def test_damaged_files_leave_no_output(clip_stp: Path, tmp_path: Path) -> None:
    cut, flipped = tmp_path / "cut.stp", tmp_path / "flipped.stp"
    whole = bytearray(clip_stp.read_bytes())
    cut.write_bytes(whole[:-100])
    whole[len(whole) // 2] ^= 1
    flipped.write_bytes(whole)
    for bad in (cut, flipped, tmp_path / "missing.stp"):
        for command in (("concat", clip_stp, bad, "-o"), ("split", bad, "--every", 1, "-o")):
            done = run(*command, tmp_path / "x%d.stp")
            assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
            assert str(bad) in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.stp", "flipped.stp"]


def test_nothing_heavy_is_imported(clip_stp: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from stcodec.terminal import cli\n"
        "try: cli.main()\n"
        "finally: assert not {'torch', 'av'} & set(sys.modules)\n"
    )
    for arguments in (
        ["concat", clip_stp, clip_stp, "-o", tmp_path / "a.stp"],
        ["split", tmp_path / "a.stp", "-o", tmp_path / "%d.stp", "--every", 1],
    ):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
