"""Pictures and packets into chunks and packets: the part of an encode between the input and the
container."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import numpy as np

from stcodec.codec.model_files import Model
from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.common.arithmetic import Arithmetic, flush_denormals
from stcodec.common.threads import Ahead, run_ahead
from stcodec.common.values import Packet, Pause, Picture, VideoInfo
from stcodec.container import records
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings, EncodedChunk, PreparedChunk
from stcodec.errors import InputError
from stcodec.flows.grouping import Cut, chunks
from stcodec.flows.proof import Proof
from stcodec.options import EncodeOptions

_MOST_PIXELS = 3 << 20  # of the frames that are coded side by side; others are searched meanwhile


class QualityControl(Protocol):
    """Chooses the quality of each chunk, and is told its size in bytes."""

    def choose(self) -> int:
        """The quality, 0..63, of the next chunk."""

    def coded(self, quality: int, size: int) -> None:
        """The chunk has been coded."""


def coders(
    model: Model, info: VideoInfo, options: EncodeOptions, work: Arithmetic
) -> tuple[ChunkEncoder, Proof]:
    """What codes the chunks of a video, and what checks them."""
    settings = CodecSettings(
        options.quality, options.motion == "mctf", options.effort, options.tune == "ssim"
    )
    size, depth = (info.width, info.height), info.bit_depth
    workers = work.share(info.width * info.height, _MOST_PIXELS)
    common = work.device, workers
    encoder = ChunkEncoder(model, *size, depth, settings, *common, every_picture=options.verify)
    return encoder, Proof(model, size, depth, work.device, workers, options.verify)


def _prepared(
    items: Iterator[Cut | Packet | Pause], encoder: ChunkEncoder
) -> Iterator[tuple[Cut | Packet | Pause, PreparedChunk | None]]:
    """Prepare chunks in a thread, while those before are being coded."""

    def prepare(item: Cut | Packet | Pause) -> Callable[[], list[PreparedChunk]] | Ahead | None:
        if isinstance(item, Pause):
            return Ahead.DRAIN
        if isinstance(item, Packet):
            return None
        return functools.partial(item.prepare, encoder)

    for item, prepared in run_ahead(items, prepare, flush_denormals):
        if isinstance(item, (Packet, Pause)):
            yield item, None
        else:
            yield from item.parts(prepared or ())


def coded(
    items: Iterator[Cut | Packet | Pause],
    encoder: ChunkEncoder,
    proof: Proof,
    control: QualityControl | None,
) -> Iterator[Packet | Pause | records.VideoChunk]:
    """Code each chunk, and check that; its last frames in a thread, while the next chunk is
    started, unless `control` wants to know the size first. What comes before a pause is coded
    before it is passed on."""
    quality, size = None, 0

    def code(
        item: tuple[Cut | Packet | Pause, PreparedChunk | None],
    ) -> Callable[[], EncodedChunk] | Ahead | None:
        nonlocal quality, size
        cut, prepared = item
        if isinstance(cut, Pause):
            return Ahead.DRAIN
        if isinstance(cut, Packet) or prepared is None:
            return None
        if control is None:
            started = encoder.start(prepared)
            return lambda: proof.finish(encoder, started)
        if control is not None and quality is None:
            quality = control.choose()
        coded = proof.finish(encoder, encoder.start(prepared, quality))
        size += len(coded.payload)
        if control is not None and quality is not None and cut.last:
            control.coded(quality, size)
            quality, size = None, 0
        return lambda: coded

    for (item, _), coded in run_ahead(_prepared(items, encoder), code, flush_denormals):
        if isinstance(item, (Packet, Pause)):
            yield item
        elif coded is not None:
            yield item.chunk(coded.payload)


def warm_up(model: Model, options: EncodeOptions, work: Arithmetic) -> None:
    """Code a few small pictures, so that what is loaded on first use does not keep a camera
    waiting."""
    half = np.full((32, 32), 128, np.uint8)
    luma = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    info = VideoInfo(
        64, 64, 8, Fraction(1, 25), Fraction(25), Fraction(1), 0, 0, 2, 2, 2, 0, None, None
    )
    with work:
        pictures = [Picture((np.roll(luma, i), half, half), i, 1) for i in range(CHUNK_FRAMES + 1)]
        for _ in coded(chunks(pictures), *coders(model, info, options, work), None):
            pass


def make_header(info: VideoInfo, model: Model, quality: int) -> records.Header:
    """The container's header for a video. InputError for a video that the format cannot hold."""
    rate = info.frame_rate
    header = records.Header(
        version=records.VERSION,
        quality=quality,
        bit_depth=info.bit_depth,
        width=info.width,
        height=info.height,
        time_base_num=info.time_base.numerator,
        time_base_den=info.time_base.denominator,
        frame_rate_num=rate.numerator if rate else 0,
        frame_rate_den=rate.denominator if rate else 1,
        sample_aspect_num=info.sample_aspect_ratio.numerator,
        sample_aspect_den=info.sample_aspect_ratio.denominator,
        rotation=info.rotation,
        color_range=info.color_range,
        color_primaries=info.color_primaries,
        color_transfer=info.color_transfer,
        color_matrix=info.color_matrix,
        chroma_location=info.chroma_location,
        patch_width=model.config.patch.w,
        model_sha256=model.sha256,
        model_id=model.id,
    )
    try:
        records.pack_fields(header)
    except ValueError as error:
        raise InputError(f"cannot be coded: {error}") from error
    return header
