"""VMAF, measured by an FFmpeg that was built with libvmaf: of two files, or of pictures as they
come.

The model is libvmaf's default, vmaf_v0.6.1: what a viewer sees of a 1080p picture from three
heights away. Scores of small pictures therefore compare only among themselves. FFmpeg is the one on
PATH, else that of the package imageio-ffmpeg (in the extra `bench`). VMAF: Li, Aaron,
Katsavounidis, Moorthy and Manohara, "Toward a practical perceptual video quality metric", 2016.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from stcodec.common.threads import cores
from stcodec.common.values import Picture, Planes, VideoInfo
from stcodec.errors import StcodecError
from stcodec.media.writer import Y4MWriter

MODEL = "vmaf_v0.6.1"
_LOG = "scores.json"
# FFmpeg takes a picture or two of its first input before it opens the second.
_WAITING_PICTURES = 4
_SECONDS_TO_END = 60


@functools.cache
def available() -> str | None:
    """The path of an FFmpeg with libvmaf, None where there is none."""
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
            if b" libvmaf " in done.stdout:
                return path
    return None


def vmaf(
    reference: str | os.PathLike[str],
    distorted: str | os.PathLike[str],
    *,
    threads: int | None = None,
) -> list[float]:
    """The VMAF of each picture, 0 ... 100: a list of as many numbers as the shorter of the two
    files has pictures.

    Both are files that FFmpeg reads (.y4m for exact planes) of one picture size; pictures are
    paired by number, whatever their time stamps. `threads` as in `VmafMeter`. Raises StcodecError
    where there is no FFmpeg with libvmaf or it fails.
    """
    ffmpeg = _required()
    inputs = [f"file:{os.path.abspath(path)}" for path in (distorted, reference)]
    with tempfile.TemporaryDirectory(prefix="stcodec-vmaf-") as folder:
        # Names of files are whole, and FFmpeg is told that they are files.
        done = subprocess.run(  # noqa: S603
            _command(ffmpeg, inputs, threads),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        return _scores(Path(folder), done.returncode, done.stderr)


class VmafMeter:
    """VMAF of pictures as they come; holds a few of them, so that memory and disk do not grow with
    the length.

    `info` describes both videos: width, height, bit_depth, and color_range. `threads` measure, by
    default one per core. A context manager: leaving it ends FFmpeg, whatever happened. Needs a
    system with inheritable pipes (not Windows). Raises StcodecError where there is no FFmpeg with
    libvmaf.
    """

    def __init__(self, info: VideoInfo, *, threads: int | None = None) -> None:
        ffmpeg = _required()
        if os.name == "nt":
            raise StcodecError(
                "VMAF of pictures as they come needs pipes that this system does not have"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="stcodec-vmaf-")
        pipes = [os.pipe(), os.pipe()]  # distorted, reference
        try:
            with open(os.path.join(self._folder.name, "errors"), "wb") as errors:
                self._process = subprocess.Popen(  # noqa: S603 (numbers of pipes alone)
                    _command(ffmpeg, [f"pipe:{read}" for read, _ in pipes], threads),
                    cwd=self._folder.name,
                    pass_fds=[read for read, _ in pipes],
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
            for read, _ in pipes:
                os.close(read)
        self._feeds = [_Feed(os.fdopen(write, "wb"), info) for _, write in pipes]

    def __enter__(self) -> VmafMeter:
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
        """The VMAF of each pair, 0 ... 100; nothing can be added after that. StcodecError where
        FFmpeg failed."""
        for feed in self._feeds:
            feed.close()
        self._process.wait()
        folder = Path(self._folder.name)
        return _scores(folder, self._process.returncode, (folder / "errors").read_bytes())


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


def _required() -> str:
    ffmpeg = available()
    if ffmpeg is None:
        raise StcodecError(
            "VMAF needs an ffmpeg with libvmaf on PATH, or: pip install 'stcodec[bench]'"
        )
    return ffmpeg


def _command(ffmpeg: str, inputs: Sequence[str], threads: int | None) -> list[str]:
    # Pictures meet by number: of time stamps the two files may have their own.
    numbered = "".join(f"[{i}:v]settb=1/25,setpts=N[n{i}];" for i in range(2))
    count = threads or cores()
    log = f"log_fmt=json:log_path={_LOG}"
    measure = f"[n0][n1]libvmaf=model=version={MODEL}:{log}:n_threads={count}:shortest=1"
    sources = [argument for name in inputs for argument in ("-i", name)]
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", *sources),
        *("-lavfi", numbered + measure, "-fps_mode", "passthrough", "-f", "null", "-"),
    ]


def _scores(folder: Path, code: int, errors: bytes) -> list[float]:
    """What FFmpeg left in `folder`."""
    try:
        if code == 0:
            log = json.loads((folder / _LOG).read_text())
            return [float(frame["metrics"]["vmaf"]) for frame in log["frames"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StcodecError(f"VMAF: ffmpeg's answer cannot be read ({error})") from error
    lines = errors.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
    raise StcodecError(f"VMAF: ffmpeg failed ({lines[0]})")
