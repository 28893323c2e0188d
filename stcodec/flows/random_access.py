"""Random access to the decoded chunks of a `.stp` file: found by the index, decoded from their
segment on, kept in a cache."""

from __future__ import annotations

import bisect
import contextlib
import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stcodec.codec.model_files import load_model
from stcodec.codec.patches import integers_from_frames
from stcodec.codec.symbols import ChunkSymbols
from stcodec.common.arithmetic import Arithmetic, flush_denormals
from stcodec.common.devices import choose_device
from stcodec.common.files import input_size, is_standard_stream, named, open_input
from stcodec.common.shape import Box
from stcodec.common.threads import run_ahead
from stcodec.container.extras import video_info
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader
from stcodec.errors import DamagedFileError, UsageError
from stcodec.flows.budget import check_pixels
from stcodec.flows.compiling import compile_decoder
from stcodec.flows.cropping import cropped
from stcodec.flows.reading import Chunk, new_decoder
from stcodec.options import AUTO_DEVICE

_IMPORTED_BY = os.getpid()
_LEFT_BEHIND: list[object] = []
"""What a forked process got from its parent and cannot use: threads that are not there, a file
position that is shared."""

load_model_once = functools.lru_cache(maxsize=4)(load_model)


@dataclass(frozen=True)
class DecodedChunk:
    """Pictures from number `first` on: y [n, 1, H, W], u and v of half the size, samples in uint8
    (10 bits: int16), on the device; pts and duration of each in the time base of the file."""

    first: int
    planes: tuple[Tensor, Tensor, Tensor]
    pts: tuple[int, ...]
    durations: tuple[int, ...]

    @property
    def end(self) -> int:
        """The number after the last picture."""
        return self.first + len(self.pts)

    @property
    def bytes(self) -> int:
        """What its planes take in memory."""
        return sum(plane.numel() * plane.element_size() for plane in self.planes)


class ChunkAccess:
    """Decodes the chunks of one file in any order. Safe to share between threads, to pickle and to
    inherit by a fork: each process opens the file for itself, when it first decodes.

    A chunk that is neither cached (`cache` bytes, the last chunk always) nor ahead of the last one
    in its segment costs the decoding of its segment up to it. Torch's own settings (threads,
    denormals, TF32) are left as they were. crop: W:H:X:Y, the part of pictures that is made, of
    which `info` is. Raises InputError and its kinds, UsageError; ModelError when decoding.
    """

    def __init__(
        self,
        path: str,
        device: str,
        threads: int,
        cache: int,
        max_pixels: int | None = None,
        crop: str | None = None,
    ) -> None:
        self._decoding: _Decoding | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        if is_standard_stream(path):
            raise UsageError("a pipe cannot be read here and there: name a file")
        self.path = path
        self._arguments = (path, device, threads, cache, max_pixels, crop)
        self._device, self._threads, self._cache_bytes = device, threads, cache
        with open_input(path) as stream, named(self.path):
            reader = Reader(stream)
            self.header, self.streams, self.blobs = reader.header, reader.streams, reader.blobs
            whole = video_info(reader.header, reader.blobs)
            self._crop, self.info = cropped(whole, crop, path)
            self.index = reader.read_index()
            starts = self.index.segments if self.index else ((reader.first_packet, 0, 0),)
        self._offsets = [offset for offset, _, _ in starts]
        self.starts = [number for _, _, number in starts]
        self._stamps: dict[int, tuple[list[int], list[int]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkAccess, self._arguments

    def __del__(self) -> None:
        self.close()

    @property
    def frames(self) -> int:
        """The number of pictures. DamagedFileError for a file without its end, which does not
        say."""
        if self.index is None:
            raise DamagedFileError(
                f"{self.path}: is not complete: its pictures can be read one after another only"
            )
        return self.index.footer.frames

    def segment_of(self, number: int) -> int:
        """The segment that holds picture `number`."""
        return bisect.bisect_right(self.starts, number) - 1

    def stamps(self, segment: int) -> tuple[list[int], list[int]]:
        """The pts and the durations of a segment's pictures, without decoding them."""
        if segment not in self._stamps:
            pts: list[int] = []
            durations: list[int] = []
            with open_input(self.path) as stream, named(self.path):
                reader = Reader(stream)
                reader.seek(self._offsets[segment])
                for item in reader:
                    if isinstance(item, VideoChunk):
                        if item.first and pts:
                            break
                        pts += item.pts
                        durations += item.durations
            self._stamps[segment] = pts, durations
        return self._stamps[segment]

    def chunk(self, number: int) -> DecodedChunk:
        """The chunk that holds picture `number`, 0 <= number < frames."""
        found = self._find(number, run_on=False)
        if found is None:
            raise DamagedFileError(f"{self.path}: picture {number} is not where the index says")
        return found

    def chunks(self, first: int = 0, last: int | None = None) -> Iterator[DecodedChunk]:
        """The chunks of pictures `first` to `last` (None: to the end) in order, the symbols of the
        next one being decoded ahead.

        Needs no index if `first` is 0.
        """
        number = first
        while last is None or number <= last:
            found = self._find(number, run_on=True)
            if found is None:
                return
            yield found
            number = found.end

    def _find(self, number: int, run_on: bool) -> DecodedChunk | None:
        if self._process != os.getpid():
            _LEFT_BEHIND.append(self._decoding)
            self._process, self._decoding, self._lock = os.getpid(), None, threading.RLock()
        with self._lock, named(self.path):
            if self.index is not None and number >= self.index.footer.frames:
                return None
            if self._decoding is None:
                self._decoding = _Decoding(*self._arguments[:-1], self._crop)
            segment = self.segment_of(number)
            try:
                return self._decoding.find(
                    number, self.starts[segment], self._offsets[segment], run_on
                )
            except BaseException:
                self._decoding.stop()
                raise

    def close(self) -> None:
        """Close the file and forget what is cached; what is asked for next opens it again."""
        if self._process == os.getpid() and self._decoding is not None:
            with self._lock:
                self._decoding.close()
                self._decoding = None


class _Decoding:
    """The open file, the decoder with its place in the file, and the cache: what a process cannot
    hand to another one."""

    def __init__(
        self,
        path: str,
        device: str,
        threads: int,
        cache: int,
        max_pixels: int | None,
        crop: Box | None,
    ) -> None:
        self._opened = contextlib.ExitStack()
        self._stream = self._opened.enter_context(open_input(path))
        try:
            self._reader = Reader(self._stream)
            check_pixels(self._reader.header, input_size(path), max_pixels)
            self._reader.read_index()  # what is read of a segment is compared with it
            self._work = _arithmetic(device, threads)
            compile_decoder()
            self._decoder = new_decoder(self._reader.header, self._work, load_model_once, crop)
        except BaseException:
            self._opened.close()
            raise
        self._run_on = False
        self._source: Iterator[DecodedChunk] | None = None
        self._next = 0
        self._most = cache
        self._held = 0
        self._cache: OrderedDict[int, DecodedChunk] = OrderedDict()
        self._chunk_of: dict[int, int] = {}

    def find(self, number: int, start: int, offset: int, run_on: bool) -> DecodedChunk | None:
        """The chunk that holds picture `number`, of the segment that starts with picture `start` at
        byte `offset`."""
        if number in self._chunk_of:
            first = self._chunk_of[number]
            self._cache.move_to_end(first)
            return self._cache[first]
        self._run_on = run_on
        if not start <= self._next <= number:
            self.stop()
        fresh = False
        while True:
            if self._source is None:
                self._source, self._next, fresh = self._decode(start, offset), start, True
            with self._work:
                chunk = next(self._source, None)
            if chunk is None:
                self.stop()
                # The source may have ended with the segment before; one that starts has a picture.
                if self._next != start or fresh:
                    return None
                continue
            fresh, self._next = False, chunk.end
            self._keep(chunk)
            if chunk.first <= number < chunk.end:
                return chunk
            if chunk.first > number:
                return None

    def stop(self) -> None:
        """Leave the place in the file."""
        source, self._source = self._source, None
        if source is not None:
            source.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the file."""
        self.stop()
        self._opened.close()

    def _keep(self, chunk: DecodedChunk) -> None:
        self._cache[chunk.first] = chunk
        self._chunk_of.update(dict.fromkeys(range(chunk.first, chunk.end), chunk.first))
        self._held += chunk.bytes
        while self._held > self._most and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._held -= old.bytes
            for number in range(old.first, old.end):
                del self._chunk_of[number]

    def _chunks(self, number: int) -> Iterator[tuple[int, VideoChunk]]:
        """What the file holds from here on; up to the end of the segment only unless the reading
        goes on."""
        begun = False
        for item in self._reader:
            if isinstance(item, VideoChunk):
                if item.first and begun and not self._run_on:
                    return
                begun = True
                yield number, item
                number += len(item.pts)

    def _decode(self, start: int, offset: int) -> Iterator[DecodedChunk]:
        self._reader.seek(offset)
        decoder = self._decoder

        def read(item: tuple[int, VideoChunk]) -> Callable[[], ChunkSymbols]:
            first, chunk = item
            placed = Chunk(f"the chunk of picture {first}", chunk)
            return lambda: placed.symbols(decoder)

        for (first, chunk), symbols in run_ahead(self._chunks(start), read, flush_denormals):
            assert symbols is not None
            planes = integers_from_frames(
                decoder.frames(symbols), decoder.height, decoder.width, decoder.bit_depth
            )
            yield DecodedChunk(first, planes, chunk.pts, chunk.durations)


def _arithmetic(device: str, threads: int) -> Arithmetic:
    """A process that is forked must not use the threads of an operation, which are not there, nor
    CUDA; a worker of a DataLoader shares the cores with others."""
    forked = os.getpid() != _IMPORTED_BY
    in_worker = torch.utils.data.get_worker_info() is not None
    if forked and device == AUTO_DEVICE:
        device = "cpu"
    if forked and device.startswith("cuda"):
        raise UsageError(f"{device} cannot be used in a forked process: start workers with 'spawn'")
    alone = forked or (in_worker and not threads)
    return Arithmetic(choose_device(device), 1 if alone else threads)
