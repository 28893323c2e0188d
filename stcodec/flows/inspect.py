"""What is in a `.stp` file (`info`, from headers alone), and whether it is intact (`verify`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stcodec.common.files import input_size, is_standard_stream, named, open_input
from stcodec.common.sequences import find_sequence
from stcodec.common.values import Packet, PathLike, StreamInfo, VideoInfo
from stcodec.container import records, stp
from stcodec.container.extras import unpack_extras, video_info
from stcodec.errors import DamagedFileError, StcodecError
from stcodec.flows.budget import check_pixels

if TYPE_CHECKING:
    from stcodec.common.arithmetic import Arithmetic
    from stcodec.flows.salvage import Lost


@dataclass(frozen=True)
class FileInfo:
    """A file's properties. duration in seconds, frame_rate in Hz; ratio against raw 4:2:0 at the
    same bit depth."""

    path: str
    width: int
    height: int
    frames: int
    duration: float
    frame_rate: float
    bit_depth: int
    color: dict[str, int]
    rotation: int
    sample_aspect_ratio: str
    model: str
    model_sha256: str
    quality: int
    chunks: int
    segments: int
    complete: bool
    bytes: int
    video_bytes: int
    streams: list[dict[str, Any]]
    metadata: dict[str, str]
    bit_rate: float
    ratio: float
    chapters: list[dict[str, Any]]
    attachments: list[dict[str, Any]]
    field_order: str
    hdr: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass
class _Totals:
    """What a file holds of video, and its first and last moment (pts; None without a picture);
    stream_bytes: of the packets of each carried stream."""

    stream_bytes: list[int]
    frames: int = 0
    chunks: int = 0
    segments: int = 0
    video_bytes: int = 0
    first: int | None = None
    end: int | None = None

    @classmethod
    def by_index(cls, reader: stp.Reader, index: records.Index) -> _Totals:
        """Of a complete file: its index, and its last segment alone."""
        totals = cls(
            stream_bytes=list(index.stream_bytes),
            frames=index.footer.frames,
            chunks=index.footer.chunks,
            segments=len(index.segments),
            video_bytes=index.footer.video_bytes,
        )
        if index.segments:
            totals.first = index.segments[0][1]
            reader.seek(index.segments[-1][0])
            for item in reader:
                if isinstance(item, records.VideoChunk):
                    totals.end = item.pts[-1] + item.durations[-1]
        return totals

    @classmethod
    def by_reading(cls, reader: stp.Reader) -> _Totals:
        """Of a file that is cut off: what is left of it."""
        totals = cls(stream_bytes=[0] * len(reader.streams))
        for item in _readable(reader):
            if isinstance(item, Packet):
                totals.stream_bytes[item.stream] += len(item.data)
                continue
            totals.frames += len(item.pts)
            totals.chunks += 1
            totals.segments += item.first
            totals.video_bytes += len(item.payload)
            totals.first = item.pts[0] if totals.first is None else totals.first
            totals.end = item.pts[-1] + item.durations[-1]
        return totals


def _readable(reader: stp.Reader) -> Iterator[records.VideoChunk | Packet]:
    """What can be read of a file."""
    with contextlib.suppress(DamagedFileError):
        yield from reader


def is_stp(path: PathLike) -> bool:
    """Whether a file is to be taken for a `.stp` file: by its first bytes, or else by its name.
    InputError if it cannot be opened."""
    name = os.fspath(path)
    if is_standard_stream(path) or name.lower().endswith(".stp") or not os.path.isfile(path):
        return is_standard_stream(path) or find_sequence(path) is None
    with open_input(path) as stream:
        return stream.read(len(stp.SIGNATURE)) == stp.SIGNATURE


def info(path: PathLike) -> FileInfo:
    """Read the headers of a file, its index and its last segment; of one that is cut off, what is
    left of it. InputError; DamagedFileError where these contradict each other."""
    with open_input(path) as stream, named(path):
        reader = stp.Reader(stream)
        video, extras = video_info(reader.header, reader.blobs), unpack_extras(reader.blobs)
        index = reader.read_index() if stream.seekable() else None
        totals = _Totals.by_reading(reader) if index is None else _Totals.by_index(reader, index)
        size = stream.seek(0, 2) if stream.seekable() else reader.offset
        complete = index is not None or reader.complete
    header = reader.header
    duration = 0.0
    if totals.first is not None and totals.end is not None:
        duration = (totals.end - totals.first) * (header.time_base_num / header.time_base_den)
    return FileInfo(
        path=os.fspath(path),
        width=header.width,
        height=header.height,
        frames=totals.frames,
        duration=duration,
        frame_rate=header.frame_rate_num / header.frame_rate_den,
        bit_depth=header.bit_depth,
        color={
            "range": header.color_range,
            "primaries": header.color_primaries,
            "transfer": header.color_transfer,
            "matrix": header.color_matrix,
        },
        rotation=header.rotation,
        sample_aspect_ratio=f"{header.sample_aspect_num}:{header.sample_aspect_den}",
        model=header.model_id,
        model_sha256=header.model_sha256.hex(),
        quality=header.quality,
        chunks=totals.chunks,
        segments=totals.segments,
        complete=complete,
        bytes=size,
        video_bytes=totals.video_bytes,
        streams=[_stream(s, n) for s, n in zip(reader.streams, totals.stream_bytes, strict=True)],
        metadata=reader.metadata,
        bit_rate=8 * size / duration if duration else 0.0,
        ratio=totals.frames * _raw_bytes(header) / max(1, size),
        chapters=[
            {"start": float(c.start), "end": float(c.end), "metadata": dict(c.metadata)}
            for c in extras.chapters
        ],
        attachments=[
            {"name": a.name, "mimetype": a.mimetype, "bytes": len(a.data), "cover": a.cover}
            for a in extras.attachments
        ],
        field_order=video.field_order,
        hdr=_hdr(video),
    )


def _stream(stream: StreamInfo, size: int) -> dict[str, Any]:
    return {
        **stream.parameters,
        "kind": stream.kind,
        "codec": stream.codec,
        "bytes": size,
        "metadata": stream.metadata,
        "disposition": stream.disposition,
    }


def _raw_bytes(header: records.Header) -> int:
    """Bytes of one picture as planes of 4:2:0."""
    chroma = ((header.width + 1) // 2) * ((header.height + 1) // 2)
    samples = header.width * header.height + 2 * chroma
    return samples if header.bit_depth == 8 else 2 * samples


def _hdr(video: VideoInfo) -> dict[str, Any] | None:
    """Mastering display and light levels as plain numbers; None where nothing is said."""
    display, light = video.mastering_display, video.content_light
    found: dict[str, Any] = {}
    if display is not None:
        for name, values in (("primaries", display.primaries), ("luminance", display.luminance)):
            if values is not None:
                found[name] = [float(v) for v in values]
    if light is not None:
        found["max_content_light"], found["max_frame_average_light"] = light
    return found or None


@dataclass(frozen=True)
class ChunkReport:
    """One chunk: its number, frame count, and what is wrong with it (None: nothing)."""

    chunk: int
    frames: int
    problem: str | None


def verify(
    path: PathLike,
    deep: bool = False,
    max_pixels: int | None = None,
    lost: list[Lost] | None = None,
) -> Iterator[ChunkReport]:
    """Check every CRC and decode every symbol; with `deep`, decode the pictures too. Yields a
    report per chunk. max_pixels: of a picture, see `budget`.

    After a chunk whose symbols are wrong it goes on with the next segment. Raises DamagedFileError
    where the container itself is damaged or cut off. In both cases `lost` takes what is lost, for
    which the file is read a second time, unless it is a pipe.
    """
    from stcodec.common.arithmetic import Arithmetic
    from stcodec.common.devices import choose_device

    work = Arithmetic(choose_device("cpu"))
    checked = _verified(path, deep, max_pixels, work)
    if lost is not None:
        checked = _with_lost(path, checked, work, lost, max_pixels)
    return work.steps(checked)


def _with_lost(
    path: PathLike,
    checked: Iterator[ChunkReport],
    work: Arithmetic,
    lost: list[Lost],
    max_pixels: int | None,
) -> Iterator[ChunkReport]:
    """The same; `lost` takes what is lost."""
    damaged = False
    try:
        for report in checked:
            damaged = damaged or report.problem is not None
            yield report
    except DamagedFileError:
        _find_lost(path, work, lost, max_pixels)
        raise
    if damaged:
        _find_lost(path, work, lost, max_pixels)


def _find_lost(path: PathLike, work: Arithmetic, lost: list[Lost], max_pixels: int | None) -> None:
    from stcodec.flows.salvage import find_lost

    if not is_standard_stream(path):
        # Where not even the header is left, that has been said.
        with contextlib.suppress(StcodecError):
            lost.extend(find_lost(path, work, max_pixels))


def _verified(
    path: PathLike, deep: bool, max_pixels: int | None, work: Arithmetic
) -> Iterator[ChunkReport]:
    from stcodec.flows.compiling import compile_decoder
    from stcodec.flows.reading import new_decoder

    with open_input(path) as stream, named(path):
        reader = stp.Reader(stream)
        check_pixels(reader.header, input_size(path), max_pixels)
        compile_decoder()
        decoder = new_decoder(reader.header, work)
        usable = False
        for item in reader:
            if not isinstance(item, records.VideoChunk):
                continue
            usable = usable or item.first
            problem = None if usable else "its segment has a damaged chunk before it"
            frames = 0
            if usable:
                try:
                    run = decoder.decode(item.payload, item.first) if deep else None
                    frames = decoder.check(item.payload, item.first) if run is None else len(run)
                    if frames != len(item.pts):
                        problem = "wrong number of pictures"
                except DamagedFileError as error:
                    problem, usable = str(error), False
            yield ChunkReport(reader.chunks_read, frames, problem)
