"""What is in a `.stp` file (`info`, from headers alone), and whether it is intact (`verify`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from stcodec.common.files import named, open_input
from stcodec.common.values import VideoInfo
from stcodec.container import records, stp
from stcodec.container.extras import unpack_extras, video_info
from stcodec.errors import DamagedFileError

PathLike = str | os.PathLike[str]


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


def info(path: PathLike) -> FileInfo:
    """Read the headers of a file (of one that is cut off, what is left of its packets). InputError,
    DamagedFileError."""
    with open_input(path) as stream, named(path):
        reader = stp.Reader(stream)
        video, extras = video_info(reader.header, reader.blobs), unpack_extras(reader.blobs)
        index = reader.read_index() if stream.seekable() else None
        header = reader.header
        base = header.time_base_num / header.time_base_den
        first = last = None
        frames = chunks = video_bytes = segments = 0
        sizes = [0] * len(reader.streams)
        if index is not None:
            reader_pts = index.segments[-1][0] if index.segments else None
            frames, chunks, video_bytes = (
                index.footer.frames,
                index.footer.chunks,
                index.footer.video_bytes,
            )
            sizes, segments = list(index.stream_bytes), len(index.segments)
            first = index.segments[0][1] if index.segments else None
            if reader_pts is not None:
                reader.seek(reader_pts)
        try:
            for item in reader:
                if isinstance(item, records.VideoChunk):
                    last = item.pts[-1] + item.durations[-1]
                    if index is None:
                        first = item.pts[0] if first is None else first
                        frames, chunks, segments = (
                            frames + len(item.pts),
                            chunks + 1,
                            segments + item.first,
                        )
                        video_bytes += len(item.payload)
                elif index is None:
                    sizes[item.stream] += len(item.data)
        except DamagedFileError:
            pass
        size = stream.seek(0, 2) if stream.seekable() else reader.offset
        complete = index is not None or reader.complete
    duration = (last - first) * base if first is not None and last is not None else 0.0
    rate = header.frame_rate_num / header.frame_rate_den
    samples = header.width * header.height + 2 * ((header.width + 1) // 2) * (
        (header.height + 1) // 2
    )
    raw = samples * frames * (1 if header.bit_depth == 8 else 2)
    return FileInfo(
        os.fspath(path),
        header.width,
        header.height,
        frames,
        duration,
        rate,
        header.bit_depth,
        {
            "range": header.color_range,
            "primaries": header.color_primaries,
            "transfer": header.color_transfer,
            "matrix": header.color_matrix,
        },
        header.rotation,
        f"{header.sample_aspect_num}:{header.sample_aspect_den}",
        header.model_id,
        header.model_sha256.hex(),
        header.quality,
        chunks,
        segments,
        complete,
        size,
        video_bytes,
        [
            {
                "kind": s.kind,
                "codec": s.codec,
                "bytes": n,
                "metadata": s.metadata,
                "disposition": s.disposition,
                **s.parameters,
            }
            for s, n in zip(reader.streams, sizes, strict=True)
        ],
        reader.metadata,
        8 * size / duration if duration else 0.0,
        raw / max(1, size),
        [
            {"start": float(c.start), "end": float(c.end), "metadata": dict(c.metadata)}
            for c in extras.chapters
        ],
        [
            {"name": a.name, "mimetype": a.mimetype, "bytes": len(a.data), "cover": a.cover}
            for a in extras.attachments
        ],
        video.field_order,
        _hdr(video),
    )


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


def verify(path: PathLike, deep: bool = False) -> Iterator[ChunkReport]:
    """Check every CRC and decode every symbol; with `deep`, decode the pictures too. Yields a
    report per chunk.

    After a chunk whose symbols are wrong it goes on with the next segment. Raises DamagedFileError
    where the container itself is damaged or cut off, since nothing after that can be trusted to be
    found.
    """
    from stcodec.codec.decoder import ChunkDecoder
    from stcodec.codec.model_files import load_model
    from stcodec.common.devices import choose_device

    with open_input(path) as stream, named(path):
        reader = stp.Reader(stream)
        header = reader.header
        device = choose_device("cpu", 0)
        model = load_model(header.model_id, device, header.model_sha256)
        decoder = ChunkDecoder(model, header.width, header.height, header.bit_depth, device)
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
