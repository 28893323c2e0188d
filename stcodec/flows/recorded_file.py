"""A recording while it is being written: readable at any time, complete when it is closed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from stcodec.common.files import is_special
from stcodec.common.leftovers import is_claimed
from stcodec.common.values import Packet, StreamInfo
from stcodec.container import records, stp
from stcodec.container.finishing import finish
from stcodec.errors import OutputExistsError, StcodecError
from stcodec.flows.proof import read_back


class RecordedFile:
    """A `.stp` file under its own name from the start, which has all chunks that were written; with
    index and footer, whatever ends the block. OutputExistsError where there is such a file already,
    StcodecError where it cannot be written, or another process is writing it.

    replace: whether it may take the place of what is there. A context manager. frames, end:
    pictures, and the pts at which they end; offset: bytes.
    """

    def __init__(
        self,
        path: Path,
        replace: bool,
        header: records.Header,
        streams: Sequence[StreamInfo],
        metadata: Mapping[str, str],
        blobs: Mapping[str, bytes],
    ) -> None:
        self.path, self.frames, self.end = path, 0, 0
        try:
            self._stream = _opened(path, replace)
            self._writer = stp.Writer(self._stream, header, streams, metadata, blobs)
            self._stream.flush()
        except FileExistsError:
            raise OutputExistsError(f"{path}: already exists (-y overwrites)") from None
        except OSError as error:
            raise self._failure(error) from error

    @property
    def offset(self) -> int:
        """Bytes that were written."""
        return self._writer.offset

    def __enter__(self) -> RecordedFile:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream.closed:
            return
        try:
            self._close()
        except OSError:
            self._mend()

    def write(self, item: records.VideoChunk | Packet) -> None:
        """Append it; from then on it is in the file, whatever becomes of this process."""
        try:
            if isinstance(item, Packet):
                self._writer.write_packet(item)
                return
            if item.first and self.frames:
                self._flush()
            self._writer.write_chunk(item)
            self._stream.flush()
        except OSError as error:
            self._mend()
            raise self._failure(error) from error
        self.frames += len(item.pts)
        self.end = item.pts[-1] + item.durations[-1]

    def close(self) -> None:
        """Complete it, and read it again."""
        try:
            self._close()
        except OSError as error:
            self._mend()
            raise self._failure(error) from error

    def _close(self) -> None:
        self._writer.close()
        self._flush()
        read_back(self._stream)
        self._stream.close()

    def _flush(self) -> None:
        """Have the disk hold what was written, if it is one."""
        self._stream.flush()
        if not is_special(self.path):
            os.fsync(self._stream.fileno())

    def _mend(self) -> None:
        """Make it complete up to what is whole of it."""
        with contextlib.suppress(OSError):  # what could not be written is lost
            self._stream.close()
        with contextlib.suppress(OSError, StcodecError):  # or what is in it can be salvaged
            self.frames = finish(self.path)

    def _failure(self, error: OSError) -> StcodecError:
        return StcodecError(f"{self.path}: cannot be written ({error.strerror or error})")


def _opened(path: Path, replace: bool) -> BinaryIO:
    """The file, empty. Nobody removes, mends or replaces it while it is claimed; closing it gives
    it back. OSError."""
    if is_special(path):
        return open(path, "wb")
    there = os.O_CREAT if replace else os.O_CREAT | os.O_EXCL

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | there, 0o666)

    stream = open(path, "r+b", opener=opener)  # noqa: SIM115
    if is_claimed(stream.fileno()):
        stream.close()
        raise OSError(errno.EBUSY, "another process is writing it")
    stream.truncate()
    return stream
