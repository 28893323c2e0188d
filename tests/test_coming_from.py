"""docs/coming_from.md: every command of ours is run, and its numbers are those of measurements."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import av

from stcodec.container.stp import SIGNATURE
from stcodec.options import EncodeOptions, default
from tests.conftest import run
from tests.media import clip, write_clip

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "coming_from.md").read_text()


def commands() -> list[str]:
    """The right column of the table."""
    return re.findall(r"^\|.*\| `(stcodec [^`]+)` \|$", PAGE, re.MULTILINE)


def test_every_command_does_what_it_says(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", clip(16), codec="libx264", audio="aac")
    for folder in ("films", "frames"):
        (tmp_path / folder).mkdir()
    shutil.copy(film, tmp_path / "films" / "a.mp4")
    assert len(commands()) >= 10
    for command in commands():
        done = run(*shlex.split(command)[1:], cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
        if command.endswith("film.mp4 film.stp"):
            shutil.copy(tmp_path / "film.stp", tmp_path / "other.stp")
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert {"back.mp4", "cut.mp4", "film.y4m", "frames/0016.png", "coded/a.stp"} <= made
    assert "film.mp4" not in made  # removed at last
    coded = list(tmp_path.glob("*.stp"))
    assert len(coded) == 7
    assert all(p.read_bytes().startswith(SIGNATURE) for p in coded)


def test_crf_is_explained_where_it_is_looked_for(tmp_path: Path) -> None:
    done = run("encode", "film.mp4", "--crf", 23, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "-q, from 0 to 63" in done.stderr and "docs/coming_from.md" in done.stderr
    assert "--crf" not in run("encode", "--help").stdout


def test_qualities_are_those_that_were_measured() -> None:
    spec = importlib.util.spec_from_file_location("make_crf", DOCS / "make_crf.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = module.qualities()
    line = f"| `-q` | {' | '.join(map(str, wanted))} |"
    assert line in PAGE, "take what python docs/make_crf.py prints"
    # A step is 0.25 dB or so; the encoder's prices move the place by less than one.
    assert abs(wanted[module.CRFS.index(23)] - default(EncodeOptions, "quality")) <= 1
    assert "\n".join(module.of_default()) in PAGE


def shown(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]


def test_ffv1_holds_the_pictures_exactly(bee_stp: Path, tmp_path: Path) -> None:
    for name in ("a.mkv", "a.y4m"):
        done = run("decode", bee_stp, tmp_path / name, "--codec", "ffv1")
        assert done.returncode == 0, done.stderr
    a, b = shown(tmp_path / "a.mkv"), shown(tmp_path / "a.y4m")
    assert len(a) == 20
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
