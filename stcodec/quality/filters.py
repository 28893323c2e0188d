"""Metrics that FFmpeg has as filters, of pictures as they come."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from stcodec.common.values import Picture, Planes, VideoInfo
from stcodec.errors import StcodecError
from stcodec.media.y4m import Y4MWriter

# FFmpeg takes a picture or two of its first input before it opens the second.
_WAITING_PICTURES = 4
_SECONDS_TO_END = 60

Self = TypeVar("Self", bound="Meter")


def ffmpeg_with(filter: str) -> str | None:
    """The path of an FFmpeg that has a filter, None where there is none: the one on PATH, else that
    of the package imageio-ffmpeg (in the extra `bench`)."""
    candidates = [shutil.which("ffmpeg")]
    with contextlib.suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        candidates.append(imageio_ffmpeg.get_ffmpeg_exe())
    for path in candidates:
        if path is None:
            continue
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            # A program that was found on PATH or belongs to a package, and no shell.
            done = subprocess.run(  # noqa: S603
                [path, "-hide_banner", "-filters"],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )
            if f" {filter} ".encode() in done.stdout:
                return path
    return None


def command(ffmpeg: str, inputs: Sequence[str], measure: str) -> list[str]:
    """That measures the first input (distorted) against the second by a filter. Pictures meet by
    number: of time stamps the two may have their own."""
    numbered = "".join(f"[{i}:v]settb=1/25,setpts=N[n{i}];" for i in range(2))
    sources = [argument for name in inputs for argument in ("-i", name)]
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", *sources),
        *("-lavfi", f"{numbered}[n0][n1]{measure}"),
        *("-fps_mode", "passthrough", "-f", "null", "-"),
    ]


def check_ended(name: str, code: int, errors: bytes) -> None:
    """StcodecError where FFmpeg failed."""
    if code:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise StcodecError(f"{name}: ffmpeg failed ({lines[0]})")


def of_files(
    name: str,
    ffmpeg: str,
    measure: str,
    read: Callable[[Path], list[float]],
    reference: str | os.PathLike[str],
    distorted: str | os.PathLike[str],
) -> list[float]:
    """What `read` finds of two files that FFmpeg reads; the other arguments are those of `Meter`.
    StcodecError where FFmpeg fails."""
    inputs = [f"file:{os.path.abspath(path)}" for path in (distorted, reference)]
    with tempfile.TemporaryDirectory(prefix="stcodec-meter-") as folder:
        # Names of files are whole, and FFmpeg is told that they are files.
        done = subprocess.run(  # noqa: S603
            command(ffmpeg, inputs, measure),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        check_ended(name, done.returncode, done.stderr)
        return read(Path(folder))


class Meter:
    """A metric of pictures as they come; holds a few of them, so that memory and disk do not grow
    with the length.

    name: for messages; measure: the filter with its options, which writes its scores into a file;
    read: those of a folder with that file. `info` describes both videos: width, height, bit_depth,
    and color_range. A context manager: leaving it ends FFmpeg, whatever happened. Needs a system
    with inheritable pipes (not Windows).
    """

    def __init__(
        self,
        name: str,
        ffmpeg: str,
        measure: str,
        read: Callable[[Path], list[float]],
        info: VideoInfo,
    ) -> None:
        self._name, self._read = name, read
        if os.name == "nt":
            raise StcodecError(
                f"{name} of pictures as they come needs pipes that this system does not have"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="stcodec-meter-")
        pipes = [os.pipe(), os.pipe()]  # distorted, reference
        try:
            with open(os.path.join(self._folder.name, "errors"), "wb") as errors:
                self._process = subprocess.Popen(  # noqa: S603 (numbers of pipes alone)
                    command(ffmpeg, [f"pipe:{end}" for end, _ in pipes], measure),
                    cwd=self._folder.name,
                    pass_fds=[end for end, _ in pipes],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
        except OSError as error:
            for _, write in pipes:
                os.close(write)
            self._folder.cleanup()
            raise StcodecError(f"{ffmpeg}: {error.strerror}") from error
        finally:
            for end, _ in pipes:
                os.close(end)
        self._feeds = [_Feed(os.fdopen(write, "wb"), info) for _, write in pipes]

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for feed in self._feeds:
            feed.close()
        self._folder.cleanup()

    def add(self, reference: Planes, distorted: Planes) -> None:
        """Take one pair of pictures of the size and depth of `info`."""
        for feed, planes in zip(self._feeds, (distorted, reference), strict=True):
            feed.put(planes)

    def result(self) -> list[float]:
        """The score of each pair; nothing can be added after that. StcodecError where FFmpeg
        failed."""
        for feed in self._feeds:
            feed.close()
        self._process.wait()
        folder = Path(self._folder.name)
        check_ended(self._name, self._process.returncode, (folder / "errors").read_bytes())
        return self._read(folder)


class _Feed:
    """Writes one video into a pipe, in a thread of its own: FFmpeg reads its inputs in an order of
    its own."""

    def __init__(self, stream: BinaryIO, info: VideoInfo) -> None:
        self._waiting: queue.Queue[Planes | None] = queue.Queue(_WAITING_PICTURES)
        self._thread = threading.Thread(target=self._write, args=(stream, info), daemon=True)
        self._thread.start()

    def put(self, planes: Planes) -> None:
        self._waiting.put(planes)

    def close(self) -> None:
        """Write what waits, then close the pipe. May be called again."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(_SECONDS_TO_END)

    def _write(self, stream: BinaryIO, info: VideoInfo) -> None:
        planes: Planes | None = None
        # A reader that has gone says why on its own.
        with contextlib.suppress(BrokenPipeError), stream:
            writer = Y4MWriter(stream, info)
            while (planes := self._waiting.get()) is not None:
                writer.write(Picture(planes, 0, 1))
        # Nobody waits for ever to put what comes after that.
        while planes is not None:
            planes = self._waiting.get()
