"""docs/format.md says what the code does."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path

from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import load_model
from stcodec.container.records import Footer, Header, VideoChunk, fixed_fields
from stcodec.container.stp import Reader

PAGE = (Path(__file__).parent.parent / "docs" / "format.md").read_text()


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


def test_every_field_is_in_the_tables() -> None:
    for record in (Header, Footer):
        for field in fixed_fields(record):
            assert re.search(rf"^\| {field.name} \|", PAGE, re.M), field.name


def test_the_page_of_commands_is_what_help_prints() -> None:
    folder = Path(__file__).parent.parent / "docs"
    source = importlib.util.spec_from_file_location("make_cli", folder / "make_cli.py")
    assert source is not None and source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    assert (folder / "cli.md").read_text() == module.page(), "run python docs/make_cli.py"
