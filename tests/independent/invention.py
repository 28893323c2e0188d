"""Files and models made up by chance, from docs/format.md alone.

Symbols are drawn instead of read, by the decoder's own walk through the syntax, and then written.
Such files hold what an encoder seldom or never does.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from safetensors.numpy import save_file

from .container import HEAD_LAYOUT, SIGNATURE, File
from .decoder import Decoder, Readers
from .entropy import Reader, Table
from .model import Model
from .prediction import Planes
from .ranges import CONTEXTS, SETS, Contexts, Decisions, RangeDecoder
from .samples import SampleReader

FILTER_INDEX, FILTER_WEIGHTS = 20, 108
QUIET = 0.8
Plan = tuple[bool, int, int, int, bool, int, bool]
"""Of a chunk: first of a segment, pictures, quality, tree, vectors are coded, cascade, samples are
coded."""


class Inventor(Reader):
    """Draws every symbol by the probabilities of its table, and remembers it. quiet: how many calls
    have only zeros, so that there are patches without symbols."""

    def __init__(self, rng: np.random.Generator, quiet: float) -> None:
        super().__init__(b"")
        self.rng, self.quiet = rng, quiet
        self.coded: list[tuple[int, int]] = []
        self.escapes = self.symbols = 0

    def _take(self, start: int, size: int) -> None:
        self.coded.append((start, size))

    def call(self, index: np.ndarray, among: list[Table | None]) -> np.ndarray:
        flat = index.reshape(-1)
        values = np.zeros(len(flat), np.int64)
        order = np.argsort(flat, kind="stable")
        order = order[flat[order] > 0]
        zeros = self.quiet > 0 and index.ndim == 2 and self.rng.random() < self.quiet
        for number in np.unique(flat[order]):
            table = among[int(number)]
            assert table is not None
            group = order[flat[order] == number]
            if zeros:
                pass
            elif number >= 64:
                values[group] = self.rng.integers(0, table.k + 1, len(group))
            elif index.shape == (1,) and number == FILTER_INDEX:
                values[group] = self.rng.integers(-1, 2, len(group))
            elif index.shape == (1,):
                values[group] = self.rng.integers(0, 2, len(group))
            else:
                longest = 2 if index.shape == (FILTER_WEIGHTS,) else 18
                values[group] = self._drawn(table, len(group), longest)
            letters = np.where(np.abs(values[group]) > table.k, table.k + 1, values[group])
            for letter in (letters + table.k).tolist():
                self._take(table.sums[letter], table.sums[letter + 1] - table.sums[letter])
            for value in values[group][np.abs(values[group]) > table.k].tolist():
                self._escape(value, table.k)
        self.symbols += len(order)
        self.crc = zlib.crc32(values[order].astype("<i4").tobytes(), self.crc)
        return values.reshape(index.shape)

    def _drawn(self, table: Table, count: int, longest: int) -> np.ndarray:
        """Values by their probabilities, and an escape here and there."""
        q = self.rng.integers(0, 1 << 24, count)
        values = np.searchsorted(table.sums, q, side="right") - 1 - table.k
        escaped = (values > table.k) | (self.rng.random(count) < 0.001)
        for at in np.flatnonzero(escaped):
            length = min(int(self.rng.geometric(0.4)) - 1, longest)
            size = table.k + (1 << length) + int(self.rng.integers(0, 1 << length))
            values[at] = size * self.rng.choice((-1, 1))
        return values

    def _escape(self, value: int, k: int) -> None:
        self.escapes += 1
        r = abs(value) - k
        n = r.bit_length() - 1
        self._raw(2 * n + (value < 0), 6)
        self._raw((r - (1 << n)) & 0xFFFF, min(n, 16))
        self._raw((r - (1 << n)) >> 16, max(0, n - 16))

    def _raw(self, value: int, bits: int) -> None:
        if bits:
            self._take(value << (24 - bits), 1 << (24 - bits))

    def written(self) -> bytes:
        """All that was drawn: a decoder's steps backwards, from the last to the first."""
        words, state = [], 0
        for start, size in reversed(self.coded):
            if state >= size << 40:
                words.append(state & 0xFFFFFFFF)
                state >>= 32
            state = (state // size << 24) + start + state % size
        while state:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        return np.array(words, "<u4").tobytes()


class Drawing(RangeDecoder):
    """Draws the outcome of every division, a 1 with the probability `odds`, and remembers it."""

    def draw(self, rng: np.random.Generator) -> None:
        """Begin, before anything is asked."""
        self.rng, self.count = rng, 0
        self.low, self.shifted = 0, 0
        self.odds = 0.5

    def divide(self, bound: int) -> int:
        """What a decoder does, backwards: the lower part of the range is that of a 1."""
        self.count += 1
        one = bool(self.rng.random() < self.odds)
        if one:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
        while self.range < 1 << 24:
            self.range, self.low = self.range * 256, self.low * 256
            self.shifted += 1
        return int(one)

    def written(self) -> bytes:
        """Of all numbers within the last range one that ends in zeros, which are left out."""
        size = 4 + self.shifted
        last = self.low + self.range - 1
        shift = next(n for n in range(8 * size, -1, -8) if last >> n << n >= self.low)
        return (last >> shift << shift).to_bytes(size, "big").rstrip(b"\0")


class Deciding(Drawing, Decisions):
    """Draws every decision by a probability between that of its context and one half. Only lengths
    of differences are drawn as they would be, so that vectors stay in range. whole: differences of
    vectors are whole samples."""

    def __init__(self, rng: np.random.Generator, contexts: Contexts, whole: bool) -> None:
        super().__init__(b"", contexts)
        self.whole = whole
        self.draw(rng)

    def bit(self, context: int) -> int:
        p = self.contexts.p[self.set][context] / 65536
        length = (context - 106) % 15 + 1 if 106 <= context < 196 else 0
        self.odds = min(p, 0.3) if length > 7 else 0.7 * p + 0.3 * 0.5
        if self.whole and 1 <= length < 4:
            self.odds = 1
        return super().bit(context)

    def raw(self, count: int) -> int:
        self.odds = 0.5
        if not self.whole or count == 1:
            return super().raw(count)
        value = super().raw(count - 2)
        self.odds = 0
        return 4 * value + super().raw(2)


class Telling(Drawing):
    """Draws decisions on samples: nearly as likely as they are thought to be."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(b"")
        self.draw(rng)

    def divide(self, bound: int) -> int:
        self.odds = 0.8 * bound / self.range + 0.2 * 0.5
        return super().divide(bound)

    def raw(self, count: int) -> int:
        """Mostly 1: there are palette patches, of 10 bits."""
        value = 0
        for _ in range(count):
            self.odds = 0.7
            value = 2 * value + super().divide(self.range >> 1)
        return value


def leb128(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number % 128 + 128]), number // 128
    return out + bytes([number])


def invent_file(
    path: Path, model_path: Path, size: tuple[int, int], bit_depth: int, plan: Sequence[Plan]
) -> tuple[list[Planes], list[Inventor], list[Deciding]]:
    """A file of made-up chunks, width and height given: its pictures, and what was drawn."""
    sha256 = hashlib.sha256(model_path.read_bytes()).digest()
    model = Model(model_path, sha256)
    head = {"width": size[0], "height": size[1], "bit_depth": bit_depth}
    decoder = Decoder(File(head, model_path.stem, [], {}, {}, [], 0, {}, {}), model)
    rng = np.random.default_rng(20)
    pictures, chunks, inventors, deciders = [], [], [], []
    quiet = QUIET if any(samples_coded for *_, samples_coded in plan) else 0
    for first, count, quality, tree, vectors_coded, cascade, samples_coded in plan:
        inventor = Inventor(rng, quiet)
        decoder.begin(first)
        deciding = Deciding(rng, decoder.contexts, samples_coded) if vectors_coded else None
        telling = Telling(rng) if samples_coded else None
        samples = None if telling is None else SampleReader(telling, decoder.mixer)
        frames = decoder.frames(Readers(inventor, deciding, samples), quality, tree, cascade)
        pictures += [decoder.values(planes) for planes in frames[:count]]
        how = tree + 8 * samples_coded + 16 * cascade + 128 * vectors_coded
        crc = inventor.crc ^ decoder.motion_crc ^ decoder.sample_crc
        payload = struct.pack("<BBBI", count, quality, how, crc)
        for drawing in (deciding, telling):
            if drawing is not None:
                coded = drawing.written()
                payload += leb128(len(coded)) + coded
        if deciding is not None:
            deciders.append(deciding)
        chunks.append((first, count, payload + inventor.written()))
        inventors.append(inventor)
    write_file(path, size, bit_depth, model_path.stem, sha256, model.w, chunks)
    return pictures, inventors, deciders


def section(tag: bytes, body: bytes) -> bytes:
    return struct.pack("<4sII", tag, len(body), zlib.crc32(tag + body)) + body


def packed(value: Any) -> bytes:
    return zstandard.ZstdCompressor().compress(json.dumps(value).encode())


def write_file(
    path: Path,
    size: tuple[int, int],
    bit_depth: int,
    model: str,
    sha256: bytes,
    patch_width: int,
    chunks: list[tuple[bool, int, bytes]],
) -> None:
    """A `.stp` file of chunks (first of a segment, pictures, payload), width and height given."""
    fields = (2, 0, bit_depth, *size, 1, 25, 25, 1, 1, 1, 0, 0, 2, 2, 2, 0, patch_width)
    data = SIGNATURE + section(b"HEAD", HEAD_LAYOUT.pack(*fields, sha256) + model.encode())
    data += section(b"meta", packed({"title": "made up"}))
    data += section(b"blob", b"\x07unknown" + zstandard.ZstdCompressor().compress(b"?"))
    segments, pts, video_bytes = [], 0, 0
    for number, (first, count, payload) in enumerate(chunks):
        if first:
            segments.append([len(data), pts, pts])
        if number % 2:
            head = struct.pack("<BBqI", 2 + first, count, pts, 1)
        else:  # times that are not uniform, as far as the syntax goes
            head = struct.pack("<BBq", first, count, pts) + b"\x01" * (2 * count - 1)
        body = section(b"CHNK", head + payload)
        data, pts, video_bytes = data + body, pts + count, video_bytes + len(body)
        data += section(b"xtra", b"skipped")
    at = len(data)
    data += section(b"indx", packed({"segments": segments, "streams": []}))
    data += section(b"foot", struct.pack("<QQQQ", at, pts, len(chunks), video_bytes))
    path.write_bytes(data)


def write_model(path: Path, config: dict[str, Any], seed: int) -> None:
    """A model of random weights with the tensors that docs/format.md lists."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    c = 3 * config["patch"]["h"] * config["patch"]["w"] // 2
    width, memory, wide = config["width"], config["memory"], config["intra_width"]
    ends = config["groups"]
    starts = [0, *ends[:-1]]

    def floats(name: str, *shape: int, size: float = 0.3, half: bool = True) -> None:
        values = rng.normal(0, size, shape).astype(np.float16 if half else np.float32)
        tensors[f"network.{name}"] = values

    def linear(name: str, outputs: int, inputs: int, conv: bool, size: float = 1.0) -> None:
        shape = (outputs, inputs, 1, 1) if conv else (outputs, inputs)
        floats(f"{name}.weight", *shape, size=size * inputs**-0.5)
        floats(f"{name}.bias", outputs)

    for kind, inputs, classes in (("intra", 5 * c + 20, 7), ("other", 3 * c + 28, 12)):
        hidden = config["intra_scale_hidden" if kind == "intra" else "scale_hidden"]
        for g, n in enumerate(np.subtract(ends, starts)):
            name = f"scales.{kind}.{g}"
            tensors[f"{name}.w1"] = rng.integers(-3, 4, (inputs, hidden)).astype(np.int8)
            tensors[f"{name}.b1"] = rng.integers(-999, 9999, (classes, hidden)).astype(np.int32)
            tensors[f"{name}.w2"] = rng.integers(-9, 10, (hidden, n)).astype(np.int8)
            tensors[f"{name}.b2"] = rng.integers(-999, 4999, (classes, n)).astype(np.int32)
    divisions, near = config.get("divisions", 1), config.get("predicted", 0) or c
    supports = [1 + 2 * i for i in range(63)]
    if divisions > 1:
        supports += [divisions - 1] * 6
    tensors |= _tables("tables", supports, rng)
    shape = SETS, CONTEXTS
    tensors["motion.probabilities"] = rng.integers(48, 65489, shape).astype(np.int32)
    tensors["motion.trust"] = rng.integers(0, 97, shape).astype(np.int32)
    if config.pop("filters", True):
        tensors["loop_filter.start"] = rng.normal(0, 8, (2, 3, 3, 9, 12)).astype(np.int16)
    floats("spatial", 14, 4 * near, near, size=0.3 * (4 * near) ** -0.5)
    floats("intra_mean", c, half=False)
    floats("step_gain", 5, c, half=False)
    floats("centroids", 64, 2, size=0.1, half=False)
    if width:
        for name, inputs, blocks in (
            ("prior", c + memory, config["prior_blocks"]),
            ("filter", 3 * c, config["filter_blocks"]),
        ):
            linear(f"{name}.enter", width, inputs, True)
            floats(f"{name}.condition.quality", 8, 2 * width)
            floats(f"{name}.condition.kind", 5, 2 * width)
            for b in range(blocks):
                first = "expand"
                if config.get("block") == "attention":
                    first = "look"
                    floats(f"{name}.blocks.{b}.place", math.gcd(width, 4), 25)
                else:
                    floats(f"{name}.blocks.{b}.depthwise.weight", width, 1, 3, 3)
                    floats(f"{name}.blocks.{b}.depthwise.bias", width)
                own = 3 if first == "look" else 1
                for part, outputs in ((first, own), ("project", 1), ("gate", 2), ("merge", 1)):
                    # Large scores make of rounding a difference.
                    small = 0.4 if part == "look" else 1.0
                    linear(f"{name}.blocks.{b}.{part}", outputs * width, width, True, small)
            linear(f"{name}_out", c, width, True)
        if memory:
            floats("memory.null", 1, memory, 1, 1)
            linear("memory.gate", 2 * memory, width + memory, True)
    if wide:
        name, half = "surroundings", wide // 2
        floats(f"{name}.quality", 8, 2 * wide)
        floats(f"{name}.lattice", 7, 2 * wide)
        for i in range(2):
            linear(f"{name}.enter.{i}", wide, 4 * c + 1, False)
        for i in range(4):
            linear(f"{name}.mix.{i}", wide, wide, False)
        for g, (start, end) in enumerate(zip(starts, ends, strict=True)):
            lower = 2 * start - 3 if start else 0
            linear(f"{name}.begin.{g}", half, wide + lower + 1, False)
            linear(f"{name}.middle.{g}", half, half, False)
            # What it says is multiplied by the size of errors: larger weights would not converge.
            linear(f"{name}.end.{g}", end - start, half, False, size=0.1)
    save_file(tensors, path, metadata={"config": json.dumps(config)})


def _tables(name: str, supports: list[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Tables that favour zero, with a little chance in each."""
    rows = []
    for k in supports:
        shape = 0.6 ** np.minimum(np.abs(np.arange(-k, k + 1)), 20) * rng.uniform(0.5, 1, 2 * k + 1)
        row = np.append(shape, 1e-4)
        counts = np.maximum(1, (row / row.sum() * 2**24).astype(np.int64))
        counts[k] += 2**24 - counts.sum()
        rows.append(counts.astype(np.int32))
    sizes = np.array([len(row) for row in rows], np.int32)
    return {f"{name}.sizes": sizes, f"{name}.counts": np.concatenate(rows)}
