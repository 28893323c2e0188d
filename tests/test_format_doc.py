"""docs/format.md says what the code does."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

from stcodec.codec import (
    candidate_kernels,
    entropy,
    range_kernels,
    scales,
    tree,
    vector_kernels,
    vectors,
)
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import load_model
from stcodec.container import records, stp
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "format.md").read_text()


def test_the_dump_is_a_file_that_decodes() -> None:
    block = re.search(r"```hex\n(.*?)```", PAGE, re.S)
    assert block is not None
    data = b""
    for line in block[1].splitlines():
        assert int(line[:6], 16) == len(data)
        data += bytes.fromhex(line[8:55])
    reader = Reader(io.BytesIO(data))
    chunks = [item for item in reader if isinstance(item, VideoChunk)]
    assert reader.complete
    assert sum(len(c.pts) for c in chunks) == 2
    header = reader.header
    model = load_model(header.model_id, header.model_sha256)
    decoder = ChunkDecoder(model, header.width, header.height, header.bit_depth)
    first, second = decoder.decode(chunks[0].payload, True)
    assert abs(int(first[0][6, 5]) - 180) < 20
    assert abs(int(second[0][6, 3]) - 96) < 20


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    source = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert source is not None and source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def test_tables_and_dump_are_what_the_script_makes_of_the_code() -> None:
    assert script("make_format_dump").render(PAGE) == PAGE, "run python docs/make_format_dump.py"


def test_the_script_renews_every_part() -> None:
    """What stands in the generated parts does not matter; all around them stays."""
    emptied = re.sub(r"(<!-- [a-z ]+ -->).*?(?=\n\n#|\Z)", r"\1\nold", PAGE, flags=re.S)
    assert emptied.count("\nold") == 3
    assert script("make_format_dump").render(emptied) == PAGE


def test_every_constant_of_the_page_is_that_of_the_code() -> None:
    """Numbers that the page repeats from the code, where a file seldom goes that far."""
    limit, contexts = candidate_kernels.LIMIT, vector_kernels.CONTEXTS
    assert f"within -{limit}..{limit}" in PAGE
    assert f"int32 [{vectors.SETS}, {contexts}]" in PAGE and f"numbered 0..{contexts - 1}" in PAGE
    least, most = range_kernels.LEAST, range_kernels.ONE - range_kernels.LEAST
    assert f"p = clamp(p, {least}, {most})" in PAGE and f"must be {least}..{most}" in PAGE
    assert f"n = min(n + 1, {range_kernels.PATIENCE})" in PAGE
    assert f"must be 0..{range_kernels.PATIENCE} |" in PAGE
    assert f"int32 [{scales.SCALE_COUNT - 1}]" in PAGE
    assert f"min(|symbol|, {scales.LARGEST_MAGNITUDE})" in PAGE
    assert f"at most 2^{entropy.MAX_SYMBOL.bit_length() - 1}" in PAGE
    assert f"at most 2^{stp.MAX_SECTION.bit_length() - 1}" in PAGE
    assert f"at most {records.MAX_UNPACKED >> 20} MiB" in PAGE


def rows(first: str) -> list[list[str]]:
    """The cells of the table of the page whose head begins with these cells."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_trees_and_cascades_of_the_page_are_those_of_the_code() -> None:
    for number, *cells in rows("tree | kind 1"):
        steps = iter(tree.TREES[int(number)])
        for kind, cell in enumerate(cells, 1):
            for part in cell.split(" then ") if cell else ():
                step = next(steps)
                pairs = (("." if r is None else str(r) for r in p) for p in step.references)
                frames = [f"{f}({', '.join(p)})" for f, p in zip(step.frames, pairs, strict=True)]
                assert (step.of_kind, " ".join(frames)) == (kind, part)
                assert step.finer == (-2 if step.frames == (3, 11) else 0)
        assert next(steps, None) is None
    found = [tuple(map(int, offsets)) for _, *offsets in rows("cascade | kind 0")]
    assert tuple(found) == tree.CASCADES


def test_contexts_of_the_page_are_those_of_the_code() -> None:
    table = [(int(first), int(count)) for first, count, _ in rows("from | count")]
    names = "SPLIT MERGE WHICH BOTH SECOND PREDICTOR PARTS SIDE SAME OTHER ZERO LENGTH HIGH"
    starts = [getattr(vector_kernels, f"_{name}") for name in names.split()]
    assert [first for first, _ in table] == starts
    ends = [*starts[1:], vector_kernels.CONTEXTS]
    assert [first + count for first, count in table] == ends


def test_the_page_of_commands_is_what_help_prints() -> None:
    assert (DOCS / "cli.md").read_text() == script("make_cli").page(), "run python docs/make_cli.py"
