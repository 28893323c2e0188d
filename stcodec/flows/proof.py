"""What an encoder made of a chunk is read again before it is kept: people delete the source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from stcodec.codec.chunk import ChunkRun
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model
from stcodec.codec.patches import planes_from_frames
from stcodec.common.leftovers import whereabouts
from stcodec.common.values import Planes
from stcodec.container import stp
from stcodec.encoder.encoder import ChunkEncoder, EncodedChunk
from stcodec.errors import DamagedFileError, StcodecError

# How decoders may round differently: in the last of 8 bits.
_ROUNDING = 1
# Reading all symbols of a file takes a fifth of the time of encoding it. The first chunk of a
# segment and the one after it have every kind of frame and of step.
_READ_OF_SEGMENT, _CHUNKS_BETWEEN = 2, 16


class Proof:
    """Checks the chunks of a video in order.

    The words of each chunk have been compared with its symbols already, under the tables that the
    writer chose. Here a reader, which has to find these tables itself, reads the first two chunks
    of a segment, unless some of the last 16 chunks have been read; with `pictures`, a decoder reads
    all chunks, and its pictures are compared with the writer's own.
    """

    def __init__(
        self,
        model: Model,
        size: tuple[int, int],
        bit_depth: int,
        device: torch.device,
        workers: int,
        pictures: bool,
    ) -> None:
        self._size, self._bit_depth, self._pictures = size, bit_depth, pictures
        self._decoder = ChunkDecoder(model, *size, bit_depth, device, workers)
        self._number, self._next, self._left = -1, 0, 0

    def finish(self, encoder: ChunkEncoder, run: ChunkRun) -> EncodedChunk:
        """Have the encoder finish the next chunk of the video. StcodecError where it is not read as
        it was written."""
        self._number += 1
        try:
            coded = encoder.finish(run)
            if self._pictures or self._due(run.plan.first):
                symbols = self._decoder.read(coded.payload, run.plan.first)
                if self._pictures:
                    self._compare(run, self._decoder.pictures(symbols))
        except DamagedFileError as error:
            raise StcodecError(
                f"chunk {self._number} cannot be decoded as it was encoded ({error}): "
                "a fault of the machine or of stcodec, please report it if it comes again"
            ) from error
        return coded

    def _due(self, first: bool) -> bool:
        if first:
            due = self._number >= self._next
            self._left = _READ_OF_SEGMENT if due else 0
            self._next = self._number + _CHUNKS_BETWEEN if due else self._next
        self._left -= 1
        return self._left >= 0

    def _compare(self, run: ChunkRun, pictures: list[Planes]) -> None:
        width, height = self._size
        most = _ROUNDING << (self._bit_depth - 8)
        for number, planes in enumerate(pictures):
            [meant] = planes_from_frames(run.pictures[number], height, width, self._bit_depth)
            for plane, own in zip(planes, meant, strict=True):
                off = int(np.abs(plane.astype(np.int32) - own).max())
                if off > most:
                    raise DamagedFileError(f"its picture {number} differs by up to {off}")


def read_back(output: BinaryIO) -> None:
    """Read a complete file again from its start, where it is a file: its checksums and totals.
    StcodecError."""
    output.flush()
    # What has been opened by its number, as standard output may have been, has that for a name.
    if not isinstance(output.name, str):
        return
    where = whereabouts(Path(output.name), output.fileno())
    if not where.is_file():
        return
    # By number: a reader that knows the name would say that the file is still being written.
    with open(os.open(where, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb") as stream:
        try:
            for _ in stp.Reader(stream):
                pass
        except DamagedFileError as error:
            raise StcodecError(f"what was written does not come back: {error}") from error
