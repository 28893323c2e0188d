"""`stcodec compare`: scores checked by other means, pairing, what is refused, memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stcodec
from stcodec.quality import vmaf, xpsnr
from stcodec.terminal.cli import main
from tests import forked
from tests.media import frame_of, moving_planes, write_clip

HAS_VMAF = vmaf.available() is not None


def invoke(*arguments: object) -> tuple[int, str, str]:
    """The command's exit code and what it prints, in this process: importing torch anew takes
    longer than most comparisons."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["stcodec", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return code, out.getvalue(), err.getvalue()


def compared(*arguments: object) -> dict[str, Any]:
    code, out, err = invoke("compare", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def planes_with_error(number: int, error: int) -> Any:
    y, u, v = moving_planes(96, 64, number)
    sign = np.where(np.indices(y.shape).sum(0) % 2, 1, -1)
    return (y + sign * error).clip(0, 255).astype(np.uint8), u, v


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[int]]:
    """Two clips of 24 pictures; the luma of the second is off by 1 to 5 in all places."""
    folder = tmp_path_factory.mktemp("pair")
    errors = [1 + i % 5 for i in range(24)]
    a = write_clip(folder / "a.mkv", [frame_of(planes_with_error(i, 0)) for i in range(24)])
    b = write_clip(
        folder / "b.mkv", [frame_of(planes_with_error(i, e)) for i, e in enumerate(errors)]
    )
    return a, b, errors


def test_scores_of_known_errors(pair: tuple[Path, Path, list[int]]) -> None:
    a, b, errors = pair
    found = compared(a, b)
    assert (found["frames"], found["matched_by"], found["width"], found["bit_depth"]) == (
        24,
        "time",
        96,
        8,
    )
    wanted = [20 * np.log10(255 / e) for e in errors]
    assert found["scores"]["psnr_y"] == pytest.approx(wanted, abs=1e-6)
    assert found["scores"]["psnr_u"] == found["scores"]["psnr_v"] == [100] * 24
    assert found["scores"]["psnr_611"] == pytest.approx([(6 * w + 200) / 8 for w in wanted])
    summary = found["summary"]["psnr_y"]
    assert summary["mean"] == pytest.approx(np.mean(wanted))
    assert summary["min"] == summary["p1"] == summary["p5"] == pytest.approx(min(wanted))
    assert summary["worst"] == 4
    for name in ("ssim", "ms_ssim"):
        scores = found["scores"][name]
        assert all(x > y for i, (x, y) in enumerate(itertools.pairwise(scores)) if i % 5 < 4)
    assert found["times"] == pytest.approx([i / 25 for i in range(24)])
    assert found["distorted"]["bytes"] == b.stat().st_size
    assert found["distorted"]["bit_rate"] == pytest.approx(8 * b.stat().st_size / (24 / 25))
    assert found["bits_per_pixel"] == pytest.approx(8 * b.stat().st_size / (24 * 96 * 64))


@pytest.mark.skipif(not HAS_VMAF, reason="no ffmpeg with libvmaf (pip install 'stcodec[bench]')")
def test_ssim_and_vmaf_are_those_of_ffmpeg(
    pair: tuple[Path, Path, list[int]], tmp_path: Path
) -> None:
    a, b, _ = pair
    found = compared(a, b)
    ffmpeg = vmaf.available()
    assert ffmpeg is not None
    lavfi = "[0:v][1:v]libvmaf=log_fmt=json:log_path=v.json:feature=name=float_ssim"
    command = [
        ffmpeg,
        "-v",
        "error",
        "-i",
        str(b),
        "-i",
        str(a),
        "-lavfi",
        lavfi,
        "-f",
        "null",
        "-",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    theirs = [frame["metrics"] for frame in json.loads((tmp_path / "v.json").read_text())["frames"]]
    assert found["scores"]["vmaf"] == pytest.approx([t["vmaf"] for t in theirs], abs=1e-3)
    assert found["scores"]["ssim"] == pytest.approx([t["float_ssim"] for t in theirs], abs=0.01)


def test_an_stp_file_on_either_side(bee: Path, bee_stp: Path, tmp_path: Path) -> None:
    stcodec.decode(bee_stp, tmp_path / "back.y4m")
    ours = compared(bee, bee_stp, "--metrics", "psnr")
    theirs = compared(bee, tmp_path / "back.y4m", "--metrics", "psnr")
    assert ours["scores"] == theirs["scores"]
    assert (ours["matched_by"], theirs["matched_by"]) == ("time", "number")
    assert 30 < ours["summary"]["psnr_611"]["mean"] < 60
    assert ours["distorted"]["bytes"] == bee_stp.stat().st_size
    with open(bee_stp, "rb") as stream:
        command = ["compare", "-", bee_stp, "--metrics", "psnr,ssim"]
        piped = forked.finish(command, stdin=stream, text=True)
    assert piped.returncode == 0, piped.stderr
    assert re.search(r"^PSNR Y +100\.00 +100\.00", piped.stdout, re.MULTILINE)
    assert re.search(r"^SSIM +1\.0000", piped.stdout, re.MULTILINE)
    assert "VMAF" not in piped.stdout


def test_pairs_by_time_and_by_number(tmp_path: Path) -> None:
    pictures = [moving_planes(96, 64, i) for i in range(20)]
    kept = [i for i in range(20) if i not in (3, 4, 11)]
    all_of_them = write_clip(tmp_path / "all.mkv", [frame_of(p) for p in pictures])
    # Other time base, other start.
    pts = [round((i / 25 + 0.4) * 1000) for i in kept]
    some = write_clip(
        tmp_path / "some.mkv",
        [frame_of(pictures[i]) for i in kept],
        pts=pts,
        time_base=Fraction(1, 1000),
    )
    found = compared(all_of_them, some, "--metrics", "psnr")
    assert found["numbers"] == kept
    assert found["scores"]["psnr_y"] == [100] * 17
    assert (found["reference"]["unmatched"], found["distorted"]["unmatched"]) == (3, 0)
    assert any("3 of 20 pictures of" in note and "all.mkv" in note for note in found["notes"])

    by_number = compared(some, all_of_them, "--metrics", "psnr", "--match", "number")
    assert by_number["frames"] == 17 and by_number["distorted"]["unmatched"] == 3
    assert by_number["scores"]["psnr_y"][:3] == [100] * 3
    assert max(by_number["scores"]["psnr_y"][3:]) < 100


def test_ten_bits_against_eight(tmp_path: Path) -> None:
    eight = [moving_planes(96, 64, i) for i in range(6)]
    ten = [[np.left_shift(p.astype(np.uint16), 2) + 1 for p in planes] for planes in eight]
    a = write_clip(tmp_path / "a.mkv", [frame_of(p) for p in eight])
    b = write_clip(tmp_path / "b.mkv", [frame_of(p, "yuv420p10le") for p in ten])
    found = compared(a, b)
    assert found["bit_depth"] == 10
    assert found["scores"]["psnr_v"] == pytest.approx([20 * np.log10(1023)] * 6)
    assert any("bit depths differ" in note for note in found["notes"])


def test_a_plot_and_the_table(pair: tuple[Path, Path, list[int]], tmp_path: Path) -> None:
    target = tmp_path / "scores.png"
    code, out, err = invoke("compare", *pair[:2], "--plot", target, "--metrics", "psnr,ms-ssim")
    assert (code, err) == (0, "")
    with Image.open(target) as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 20
    assert "24 pairs of 96x64" in out
    assert re.search(r"^PSNR 6:1:1 +\d+\.\d\d +\d+\.\d\d .* 4 at 0\.160 s$", out, re.MULTILINE)
    assert invoke("compare", *pair[:2], "--plot", target, "-n")[0] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["scores.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("a", "small"), 2, "small.mkv is 64x48 and .*a.mkv is 96x64"),
        (("a", "missing"), 3, "missing.mkv: no such file"),
        (("a", "b", "--plot", "x.txt"), 2, "ending of a plot"),
        (("a", "b", "--plot", "/nowhere/x.png"), 1, "folder /nowhere does not exist"),
        (("a", "b", "--metrics", "psnr,beauty"), 2, "unknown metric 'beauty'"),
        (("-", "-"), 2, "only one"),
    ],
)
def test_what_is_refused(
    pair: tuple[Path, Path, list[int]],
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    write_clip(tmp_path / "small.mkv", [frame_of(moving_planes(64, 48, 0))])
    names = {
        "a": pair[0],
        "b": pair[1],
        "small": tmp_path / "small.mkv",
        "missing": tmp_path / "missing.mkv",
    }
    got, out, err = invoke("compare", *(names.get(a, a) for a in arguments))
    assert (got, out) == (code, "")
    assert re.search(text, err) and err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["small.mkv"]


def test_without_vmaf(pair: tuple[Path, Path, list[int]], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "imageio_ffmpeg", None)  # cannot be imported
        patch.setenv("PATH", str(tmp_path))
        vmaf.available.cache_clear()
        xpsnr.available.cache_clear()
        code, out, err = invoke("compare", *pair[:2])
        assert code == 0
        assert "VMAF is left out" in err and "VMAF" not in out
        code, out, err = invoke("compare", *pair[:2], "--metrics", "vmaf")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "stcodec[bench]" in err
    vmaf.available.cache_clear()
    xpsnr.available.cache_clear()


@pytest.mark.skipif(not HAS_VMAF, reason="no ffmpeg with libvmaf (pip install 'stcodec[bench]')")
def test_an_interrupt_leaves_nothing(pair: tuple[Path, Path, list[int]], tmp_path: Path) -> None:
    a = pair[0]
    os.mkfifo(tmp_path / "pipe.y4m")
    command = ["compare", a, tmp_path / "pipe.y4m", "--plot", "x.png"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = forked.popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    # A video that stops coming after a few pictures.
    with open(tmp_path / "pipe.y4m", "wb") as pipe:
        pipe.write(
            b"YUV4MPEG2 W96 H64 F25:1 Ip A1:1 C420jpeg\n"
            + (b"FRAME\n" + bytes(96 * 64 * 3 // 2)) * 12
        )
        pipe.flush()
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("stcodec-meter-*/errors")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["pipe.y4m"]


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    program = (
        "import sys, resource\n"
        "from stcodec.terminal.cli import commands\n"
        "commands.main(sys.argv[1:], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for frames in (24, 224):
        source = tmp_path / f"{frames}.mkv"
        planes = moving_planes(320, 192, 0)
        write_clip(source, [frame_of(planes)] * frames)

        command = [
            sys.executable,
            "-c",
            program,
            "compare",
            source,
            source,
            "--metrics",
            "psnr,vmaf" if HAS_VMAF else "psnr",
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    # 200 more pictures are 18 MB of samples, twice.
    assert peaks[1] - peaks[0] < 12_000


@pytest.mark.skipif(xpsnr.available() is None, reason="no ffmpeg with the filter xpsnr")
def test_xpsnr_is_that_of_ffmpeg_and_is_drawn(
    pair: tuple[Path, Path, list[int]], tmp_path: Path
) -> None:
    a, b, _ = pair
    code, out, err = invoke(
        *("compare", a, b, "--metrics", "xpsnr,psnr", "--plot", tmp_path / "x.svg", "--json")
    )
    assert code == 0, err
    scores = json.loads(out)["scores"]
    graph = "[0:v][1:v]xpsnr=stats_file=x.log"
    inputs = ("-i", str(b), "-i", str(a))
    command = [str(xpsnr.available()), "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(command, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    lines = [line for line in (tmp_path / "x.log").read_text().splitlines() if line[:2] == "n:"]
    for plane in "yuv":
        found = [re.search(rf"XPSNR {plane}: +(\S+)", line) for line in lines]
        theirs = [min(100.0, float(f[1])) for f in found if f]
        assert scores[f"xpsnr_{plane}"] == pytest.approx(theirs, abs=1e-3)
    assert "xpsnr_y" in (tmp_path / "x.svg").read_text()
    assert (tmp_path / "x.svg").read_text() != ""
    same = compared(a, a, "--metrics", "xpsnr")
    assert set(same["scores"]["xpsnr_y"]) == {100.0}
