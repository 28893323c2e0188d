"""The Python interface, and memory that does not grow."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import stcodec
from tests.conftest import make_video


def test_encode_decode_open(bee: Path, tmp_path: Path) -> None:
    coded = tmp_path / "a.stp"
    progress = []
    result = stcodec.encode(bee, coded, quality=20, progress=progress.append)
    assert (result.frames, result.output_bytes) == (20, coded.stat().st_size)
    assert progress[-1].frames == 20
    with pytest.raises(stcodec.OutputExistsError):
        stcodec.encode(bee, coded)
    with pytest.raises(stcodec.UsageError):
        stcodec.encode(bee, tmp_path / "b.stp", quality=99)
    with pytest.raises(stcodec.UsageError, match="effort must be from 0 to 2, not 3"):
        stcodec.encode(bee, tmp_path / "b.stp", effort=3)
    for quality in (26.5, "26"):
        with pytest.raises(
            stcodec.UsageError, match=f"quality must be a whole number, not {quality!r}"
        ):
            stcodec.encode(bee, tmp_path / "b.stp", quality=quality)
    with pytest.raises(stcodec.UsageError, match="start must be a number, not '0:01'"):
        stcodec.decode(coded, tmp_path / "b.y4m", start="0:01")
    assert stcodec.decode(coded, tmp_path / "a.y4m").frames == 20
    with stcodec.open(coded) as video:
        pictures = list(video)
        assert (video.info.width, video.info.height) == (160, 90)
    assert [p.planes[0].shape for p in pictures] == [(90, 160)] * 20
    assert [p.pts for p in pictures] == sorted({p.pts for p in pictures})
    raw = (tmp_path / "a.y4m").read_bytes()
    assert raw.endswith(b"".join(p.tobytes() for p in pictures[-1].planes))


def test_files_do_not_depend_on_what_is_coded_at_the_same_time(
    bee: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(items: Iterable[Any], work: Callable[..., Any], _: object) -> Iterator[Any]:
        for item in items:
            call = work(item)
            yield item, None if call is None else call()

    stcodec.encode(bee, tmp_path / "beside.stp", quality=20)
    monkeypatch.setattr("stcodec.flows.coding.run_ahead", alone)
    stcodec.encode(bee, tmp_path / "alone.stp", quality=20)
    assert (tmp_path / "beside.stp").read_bytes() == (tmp_path / "alone.stp").read_bytes()


def _all_over_again(video: Path, coded: Path) -> None:
    assert len(stcodec.open(coded).to_numpy()) == 20
    stcodec.encode(video, coded.with_suffix(".new.stp"), model="dct", effort=0)
    stcodec.decode(coded, coded.with_suffix(".mkv"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_of_a_process_that_has_decoded(bee: Path, bee_stp: Path, tmp_path: Path) -> None:
    shutil.copy(bee_stp, tmp_path / "bee.stp")
    # From here on there are threads of torch, which the fork has not and must not wait for.
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stcodec.open(bee_stp, threads=2).to_numpy()
        fork = multiprocessing.get_context("fork").Process(
            target=_all_over_again, args=(bee, tmp_path / "bee.stp")
        )
        fork.start()
    finally:
        torch.set_num_threads(before)
    fork.join(60)
    fork.kill()
    assert fork.exitcode == 0
    assert {p.name for p in tmp_path.iterdir()} == {"bee.stp", "bee.new.stp", "bee.mkv"}


def test_decoding_needs_no_compiler(bee_stp: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['numba'] = None; import stcodec; stcodec.decode(*sys.argv[1:])"
    )
    subprocess.run([sys.executable, "-c", program, bee_stp, tmp_path / "bee.y4m"], check=True)


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    program = (
        "import sys, resource, stcodec\n"
        "stcodec.encode(sys.argv[1], sys.argv[2], quality=5, threads=1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for frames in (24, 200):
        source = tmp_path / f"{frames}.mkv"
        make_video(source, width=320, height=192, frames=frames)
        done = subprocess.run(
            [sys.executable, "-c", program, str(source), str(tmp_path / f"{frames}.stp")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    # 176 more pictures would be 16 MB raw, and 65 MB as floats.
    assert peaks[1] - peaks[0] < 40_000
