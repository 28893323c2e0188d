"""The tables of docs/architecture.md are the order in which folders and files import each other."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from stcodec.common import timing

ROOT = Path(__file__).parent.parent
PAGE = (
    (ROOT / "docs" / "architecture.md").read_text().split("## Rooms")[1].split("## Interfaces")[0]
)
PACKAGE = ROOT / "stcodec"
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p.stem != "__init__")
BELOW_ALL = ("errors", "options")


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


ROOMS, *SHELVES = re.split(r"^### ", PAGE, flags=re.M)
FOLDERS = [cells[0].strip("`/") for cells in rows(ROOMS)]
OUTSIDE = {cells[0].strip("`/"): set(re.findall(r"`(\w+)`", cells[2])) for cells in rows(ROOMS)}
FILES = {
    s.split("/")[0]: [cells[0].strip("`").removesuffix(".py") for cells in rows(s)] for s in SHELVES
}


def imported(source: Path) -> set[str]:
    """Dotted names of all modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and node.level == 0, f"{source}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(name: str) -> tuple[int, int]:
    """Where a module of the package stands: its folder's number (-1: below all), and its own."""
    parts = name.split(".")[1:]
    if parts[0] not in FOLDERS:
        return (-1, BELOW_ALL.index(parts[0])) if parts[0] in BELOW_ALL else (len(FOLDERS), 0)
    return FOLDERS.index(parts[0]), FILES[parts[0]].index(parts[1])


def test_tables_list_what_there_is() -> None:
    there = {
        p.parent.name: {q.stem for q in p.parent.glob("*.py")} - {"__init__"}
        for p in PACKAGE.glob("*/__init__.py")
    }
    assert {folder: set(files) for folder, files in FILES.items()} == there
    assert set(FOLDERS) == set(FILES)


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if s.parent != PACKAGE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_files_import_only_from_above(source: Path) -> None:
    own = place(f"stcodec.{source.parent.name}.{source.stem}")
    names = [
        n
        for n in imported(source)
        if n.startswith("stcodec.") and n.split(".")[1] in (*FOLDERS, *BELOW_ALL)
    ]
    assert [name for name in names if place(name) >= own] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_the_libraries_of_their_row(folder: str) -> None:
    names = {
        n.split(".")[0] for source in (PACKAGE / folder).glob("*.py") for n in imported(source)
    }
    assert names - set(sys.stdlib_module_names) - {"stcodec"} == OUTSIDE[folder]


def test_packages_are_empty() -> None:
    assert [p for p in PACKAGE.glob("*/__init__.py") if p.read_text()] == []


def test_no_file_is_long() -> None:
    for source in [*ROOT.glob("stcodec/**/*.py"), *ROOT.glob("tests/*.py")]:
        assert len(source.read_text().splitlines()) <= 400, source


def test_stages_have_names_that_are_known() -> None:
    """What is measured under another name nobody is told."""
    used = {
        name
        for file in PACKAGE.rglob("*.py")
        for name in re.findall(r'\bstage\("(\w+)"\)', file.read_text())
    }
    assert used == set(timing.STAGES)
