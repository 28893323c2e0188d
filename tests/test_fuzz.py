"""A little of `make fuzz`, and files that once did harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import run
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import DATA, TARGETS, seeds

_EXAMPLES = {"chunks": 20, "models": 30}
HOSTILE = sorted((DATA / "hostile").glob("*.stp"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_little_of_each(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)

    @settings(max_examples=_EXAMPLES.get(name, 100))
    @given(st.one_of(mutated(seeds(name)), st.binary(max_size=200)))
    def changed(data: bytes) -> None:
        TARGETS[name](data)

    changed()


@pytest.mark.parametrize("path", HOSTILE, ids=lambda p: p.stem)
def test_hostile_files_are_refused_in_a_line(path: Path, tmp_path: Path) -> None:
    for arguments in (["verify", path], ["decode", "--salvage", path, tmp_path / "out.y4m"]):
        done = run(*arguments)
        assert done.returncode in (1, 3), done.stderr
        assert "Traceback" not in done.stderr and "unexpected" not in done.stderr
        assert len(done.stderr) < 2000 and str(path) in done.stderr
        assert "format version" not in done.stderr, "a file of this version has to be hostile"
    assert len(HOSTILE) > 5
