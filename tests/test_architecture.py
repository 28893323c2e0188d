"""The module map of docs/architecture.md is the order in which files import each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "docs" / "architecture.md").read_text().split("## Modules")[1].split("## Interfaces")[0]
ROWS = [re.findall(r"`(\w+)(?:\.py|/)`", line.split("|")[1]) for line in TABLE.splitlines() if line.startswith("| `")]
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}
SOURCES = sorted(p for p in (ROOT / "stcodec").rglob("*.py") if p.parent.name != "stcodec" or p.stem != "__init__")


def imported(source: Path) -> set[str]:
    """Names of the modules and packages directly under stcodec that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("stcodec.")}
    return found & set(RANK)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_import_only_from_above(source: Path) -> None:
    own = source.stem if source.parent.name == "stcodec" else source.parent.name
    assert {name for name in imported(source) if RANK[name] > RANK[own]} == set()


def test_no_file_is_long() -> None:
    for source in [*ROOT.glob("stcodec/**/*.py"), *ROOT.glob("tests/*.py")]:
        assert len(source.read_text().splitlines()) <= 400, source
