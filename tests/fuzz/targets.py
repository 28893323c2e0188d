"""What is fuzzed: each target takes any bytes, and fails where anything but a clean refusal comes
of them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import zstandard

from stcodec.codec import symbols as chunk_module
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.entropy import SymbolReader, Tables
from stcodec.codec.model_files import Model, find_model, load_model
from stcodec.container import records, stp
from stcodec.container.extras import unpack_extras, video_info
from stcodec.container.records import SECTION, Footer
from stcodec.container.salvage import Break, Salvage
from stcodec.errors import DamagedFileError, StcodecError

DATA = Path(__file__).parent.parent / "data"
WIDTH, HEIGHT = 48, 32
PACKED = (stp.STREAMS, stp.META, stp.INDEX)
_LARGEST = 1 << 20


def sections_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Tags and bodies, whatever their checksums; the last one may be cut off."""
    at = len(stp.SIGNATURE)
    while at + SECTION.size <= len(data):
        tag, size, _ = SECTION.unpack_from(data, at)
        yield tag, data[at + SECTION.size : at + SECTION.size + size]
        at += SECTION.size + size


def joined(sections: Iterator[tuple[bytes, bytes]]) -> bytes:
    """A file of these sections, with checksums that are right."""
    parts = [stp.SIGNATURE]
    for tag, body in sections:
        parts.append(SECTION.pack(tag, len(body), zlib.crc32(body, zlib.crc32(tag))) + body)
    return b"".join(parts)


def packed(tag: bytes, body: bytes) -> bytes:
    """A body as it stands in a file; the fuzzer changes the text that is packed there."""
    if tag in PACKED:
        return zstandard.ZstdCompressor().compress(body)
    if tag == stp.BLOB and body:
        name = 1 + body[0]
        return body[:name] + zstandard.ZstdCompressor().compress(body[name:])
    return body


def unpacked(tag: bytes, body: bytes) -> bytes:
    """The inverse, for seeds."""
    with contextlib.suppress(DamagedFileError):
        if tag in PACKED:
            return records.unpack_zstd(body)
        if tag == stp.BLOB:
            name = 1 + body[0]
            return body[:name] + records.unpack_zstd(body[name:])
    return body


def _read(data: bytes) -> None:
    with contextlib.suppress(StcodecError):
        reader = stp.Reader(io.BytesIO(data))
        with contextlib.suppress(StcodecError):
            reader.read_index()
        with contextlib.suppress(StcodecError):
            video_info(reader.header, reader.blobs)
            unpack_extras(reader.blobs)
        frames = sum(len(i.pts) for i in reader if isinstance(i, records.VideoChunk))
        index = stp.Reader(io.BytesIO(data)).read_index()
        assert reader.complete and index is not None and index.footer.frames == frames
    with contextlib.suppress(StcodecError):
        left = Salvage(io.BytesIO(data))
        shown: int | None = None
        for item in left:
            if isinstance(item, records.VideoChunk):
                assert shown is None or item.pts[0] >= shown
                shown = item.pts[-1] + item.durations[-1]
            assert isinstance(item, (Break, records.VideoChunk)) or item.stream < len(
                left.reader.streams
            )


def container(data: bytes) -> None:
    """A file, as it comes."""
    _read(data)


def sections(data: bytes) -> None:
    """A file whose checksums are right, whatever is in it."""
    _read(joined((tag, packed(tag, body)) for tag, body in sections_of(data)))


def bodies(data: bytes) -> None:
    """Bodies of sections by themselves."""
    kind, body = data[:1], data[1:]
    with contextlib.suppress(DamagedFileError):
        if kind < b"\x40":
            made = records.unpack_chunk(body)
            assert records.unpack_chunk(records.pack_chunk(made)) == made
        elif kind < b"\x80":
            packet = records.unpack_packet(body)
            again = records.unpack_packet(records.pack_packet(packet))
            assert again == packet
        elif kind < b"\xc0":
            footer = Footer(1 << 20, 1 << 10, 1 << 8, 1 << 19)
            records.unpack_index(zstandard.ZstdCompressor().compress(body), footer, 1)
        else:
            records.stream_from_json(records.unpack_json(zstandard.ZstdCompressor().compress(body)))


@functools.cache
def dct() -> Model:
    """The model without networks."""
    return load_model("dct")


@functools.cache
def _tables() -> Tables:
    return dct().tables


def entropy(data: bytes) -> None:
    """Words under any indices."""
    count = min(len(data), 64)
    index = np.frombuffer(data[:count], np.uint8) % len(_tables())
    with contextlib.suppress(DamagedFileError):
        reader = SymbolReader(data[count:])
        for _ in range(4):
            symbols = reader.code(None, index, _tables())
            assert symbols.shape == index.shape and not symbols[index == 0].any()
        reader.finish()


class _Believing(SymbolReader):
    """Takes whatever it reads for what was written: checksums and the end of the words."""

    crc = property(lambda self: _Always(), lambda self, value: None)  # type: ignore[assignment]

    def finish(self) -> None:
        """Leave the rest."""


class _Always(int):
    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@torch.no_grad()
def chunks(data: bytes) -> None:
    """Payloads whose checksum is right, two in a row: symbols, vectors, pictures."""
    half = len(data) // 2
    decoder = ChunkDecoder(dct(), WIDTH, HEIGHT, 8)
    with mock.patch.object(chunk_module, "SymbolReader", _Believing):
        for number, payload in enumerate((data[:half], data[half:])):
            words = len(payload) - (len(payload) - 7) % 4
            with contextlib.suppress(DamagedFileError):
                planes = decoder.decode(payload[: max(0, words)], number == 0)
                assert 1 <= len(planes) <= 16
                assert {p[0].shape for p in planes} == {(HEIGHT, WIDTH)}


def models(data: bytes) -> None:
    """The head of a model file, before the tables of the model without networks."""
    whole = _model_bytes()
    size = int.from_bytes(whole[:8], "little")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.safetensors")
        Path(path).write_bytes(len(data).to_bytes(8, "little") + data + whole[8 + size :])
        with contextlib.suppress(StcodecError):
            load_model(path)


@functools.cache
def _model_bytes() -> bytes:
    return find_model("dct").read_bytes()


def _example() -> bytes:
    """A small file with everything in it."""
    from tests.test_container import write

    return write()


@functools.cache
def _payloads(drawn: bool) -> bytes:
    from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
    from tests.conftest import moving_picture
    from tests.drawn import pages

    encoder = ChunkEncoder(dct(), WIDTH, HEIGHT, 8, CodecSettings(12))
    moving = [moving_picture(t, WIDTH, HEIGHT) for t in range(16)]
    scrolled = pages(16, lambda t: 2 * t, HEIGHT, WIDTH)
    pictures = [tuple(planes) for planes in (scrolled if drawn else moving)]
    made = [encoder.encode(pictures[i : i + 8], i == 0).payload for i in (0, 8)]  # type: ignore[arg-type]
    # Both halves have the same length, so that the target cuts them apart where they meet.
    longest = max(map(len, made))
    return b"".join(p + bytes(longest - len(p)) for p in made)


def seeds(name: str) -> list[bytes]:
    """Where the fuzzer begins."""
    files = [_example(), *(p.read_bytes() for p in sorted((DATA / "hostile").glob("*.stp")))]
    if name == "container":
        return files
    if name == "sections":
        plain = [joined((tag, unpacked(tag, body)) for tag, body in sections_of(f)) for f in files]
        return [p for p in plain if len(p) < _LARGEST]
    if name == "bodies":
        found = [(t, unpacked(t, b)) for f in files[:1] for t, b in sections_of(f)]
        first = {stp.CHUNK: b"\0", stp.PACKET: b"\x50", stp.INDEX: b"\x90"}
        stream = json.loads(next(b for t, b in found if t == stp.STREAMS))[0]
        return [
            *(first[t] + b for t, b in found if t in first),
            b"\xd0" + json.dumps(stream).encode(),
        ]
    if name == "models":
        whole = _model_bytes()
        return [whole[8 : 8 + int.from_bytes(whole[:8], "little")]]
    # The last: a chunk that follows on a damaged first one.
    return [_payloads(drawn=False), _payloads(drawn=True), b"\6" + b"\1" * 34]


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (container, sections, bodies, entropy, chunks, models)
}
