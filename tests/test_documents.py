"""What a reader of the documents may expect of their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    p for folder in (".", "docs", "models", "tests/data") for p in ROOT.glob(f"{folder}/*.md")
]


def prose(document: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines that are neither code nor part of a table."""
    fenced = False
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "    ")):
            yield number, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_prose_has_at_most_100_columns(document: Path) -> None:
    assert [n for n, line in prose(document) if len(line) > 100] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for _, line in prose(document):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
            if not target.startswith(("http:", "https:")):
                assert (document.parent / target).exists(), target
