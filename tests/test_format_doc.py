"""docs/format.md says what the code does."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

from stcodec.codec import entropy, scales, vectors
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
    model = load_model(header.model_id, "cpu", header.model_sha256)
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
    assert f"within -{vectors.LIMIT}..{vectors.LIMIT}" in PAGE
    assert f"int32 [{vectors.TABLE_COUNT}]" in PAGE
    assert f"int32 [{scales.SCALE_COUNT - 1}]" in PAGE
    assert f"min(|symbol|, {scales.LARGEST_MAGNITUDE})" in PAGE
    assert f"at most 2^{entropy.MAX_SYMBOL.bit_length() - 1}" in PAGE
    assert f"at most 2^{stp.MAX_SECTION.bit_length() - 1}" in PAGE
    assert f"at most {records.MAX_UNPACKED >> 20} MiB" in PAGE


def test_the_page_of_commands_is_what_help_prints() -> None:
    assert (DOCS / "cli.md").read_text() == script("make_cli").page(), "run python docs/make_cli.py"
