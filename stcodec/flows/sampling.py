"""A few seconds of samples spread over a video, and what coding them at a quality says about the
whole."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import Model
from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.codec.tree import LONGEST
from stcodec.common.files import named
from stcodec.common.timeline import nothing_in
from stcodec.common.values import Packet, PathLike, VideoInfo
from stcodec.container import stp
from stcodec.container.extras import pack_extras
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.flows.coding import make_header
from stcodec.flows.encode import chosen_part, opened_video
from stcodec.flows.grouping import Cut, chunks
from stcodec.flows.rate_control import Rates
from stcodec.options import EncodeOptions
from stcodec.quality.filters import Meter
from stcodec.quality.metrics import Quality, QualityMeter
from stcodec.quality.vmaf import VmafMeter
from stcodec.quality.xpsnr import XpsnrMeter

# A sample is what starts a segment and what comes after that: 8 pictures and 16.
_RUN = 2
_MOST_RUNS, _FEWEST_RUNS = 8, 2
_MOST_BYTES = 400e6
_BY_FFMPEG: dict[str, Callable[[VideoInfo], Meter]] = {"vmaf": VmafMeter, "xpsnr": XpsnrMeter}


@dataclass
class Survey:
    """What one reading of a video shows. overhead: bytes of the output that are not payloads of
    video (carried streams, headers, index); duration in seconds; runs: the samples; whole: they are
    the whole video, as one run."""

    info: VideoInfo
    rates: Rates
    overhead: int
    duration: float
    runs: list[list[Cut]]
    whole: bool

    @property
    def frames(self) -> int:
        """Pictures of the whole video."""
        return sum(n for n, _ in self.rates.chunks)

    def size(self, quality: int) -> int:
        """Predicted bytes of the output at a constant quality that has been sampled."""
        return self.overhead + round(float(self.rates.table()[:, quality].sum()))


@dataclass(frozen=True)
class Trial:
    """What samples came to. quality 0..63; bytes of the whole output and its bits per second,
    predicted; psnr (6:1:1) in dB, ms_ssim and the means of vmaf (0..100) and of xpsnr (of the luma,
    in dB) where they were measured; frames: how many were sampled."""

    quality: int
    bytes: int
    bit_rate: float
    frames: int
    psnr: float | None = None
    ms_ssim: float | None = None
    vmaf: float | None = None
    xpsnr: float | None = None


def survey(source: PathLike, options: EncodeOptions, model: Model) -> Survey:
    """Read the video once and keep samples of it. InputError if it cannot be read; UsageError if
    the part is empty."""
    sink = io.BytesIO()
    runs: list[tuple[int, list[Cut]]] = []
    found: list[tuple[int, bool]] = []
    stride, begin, end, overhead = 1, 0, 0, 0
    with opened_video(source, options) as video:
        info = video.info
        part = chosen_part(video, options)
        blobs = pack_extras(info, part.extras)
        with named(video.name):
            header = make_header(info, model, 0)
        writer = stp.Writer(sink, header, part.streams, video.metadata, blobs)
        width, height = info.width, info.height
        run_bytes = (
            (CHUNK_FRAMES + LONGEST) * width * height * 1.5 * (2 if info.bit_depth > 8 else 1)
        )
        most = int(max(_FEWEST_RUNS, min(_MOST_RUNS, _MOST_BYTES / run_bytes)))
        for item in chunks(part.items):
            if isinstance(item, Packet):
                writer.write_packet(item)
            elif isinstance(item, Cut):
                # Everything but the payload: what it adds is known before any video is coded.
                chunk = item.chunk(b"")
                writer.write_chunk(chunk)
                begin = begin if found else chunk.pts[0]
                end = chunk.pts[-1] + chunk.durations[-1]
                unit, place = divmod(len(found), _RUN)
                found.append((len(chunk.pts), item.first))
                if place == 0 and unit % stride == 0:
                    runs.append((unit, [item]))
                elif place and runs and runs[-1][0] == unit:
                    runs[-1][1].append(item)
                if len(runs) > most:
                    stride *= 2
                    runs = [r for r in runs if r[0] % stride == 0]
            overhead += sink.tell()
            sink.seek(0)
            sink.truncate()
        if not found:
            raise nothing_in(os.fspath(source), info.duration)
        writer.close()
        overhead += sink.tell()
    kept = [cuts for _, cuts in runs]
    if stride == 1:
        kept = [[c for cuts in kept for c in cuts]]
    else:
        kept = [[dataclasses.replace(cuts[0], first=True), *cuts[1:]] for cuts in kept]
    return Survey(
        info, Rates(found), overhead, float((end - begin) * info.time_base), kept, stride == 1
    )


def try_quality(
    seen: Survey,
    model: Model,
    device: torch.device,
    options: EncodeOptions,
    quality: int,
    metrics: Collection[str] = (),
) -> Trial:
    """Code the samples at `quality`, note their sizes in the survey's rates, and measure `metrics`
    ("psnr", "ms-ssim", "vmaf", "xpsnr")."""
    info = seen.info
    shape = (model, info.width, info.height, info.bit_depth)
    settings = CodecSettings(
        quality, options.motion == "mctf", options.effort, options.tune == "ssim"
    )
    meter = QualityMeter(info.bit_depth, [m for m in metrics if m not in _BY_FFMPEG] or ["psnr"])
    sizes: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    order: list[int] = []
    with contextlib.ExitStack() as stack:
        meters: dict[str, Meter] = {
            name: stack.enter_context(make(info))
            for name, make in _BY_FFMPEG.items()
            if name in metrics
        }
        for run in seen.runs:
            encoder, decoder = ChunkEncoder(*shape, settings, device), ChunkDecoder(*shape, device)
            for part in run:
                planes = [p.planes for p in part.pictures]
                size = 0
                for chunk in part.prepare(encoder):
                    payload = encoder.encode_prepared(chunk).payload
                    size += len(payload)
                    decoded = decoder.decode(payload, chunk.first) if metrics else ()
                    for pair in zip(planes, decoded, strict=False):
                        meter.add(*pair)
                        for filtered in meters.values():
                            filtered.add(*pair)
                    planes = planes[chunk.count :]
                sizes[part.first].append((len(part.pictures), size))
                order.append(size)
        means = {name: statistics.fmean(m.result()) for name, m in meters.items()}
    for first, pairs in sizes.items():
        if pairs:
            seen.rates.kinds[first][quality] = sum(b for _, b in pairs) / sum(n for n, _ in pairs)
    if seen.whole:
        seen.rates.add_pass([quality] * len(order), order)
    size = seen.size(quality)
    measured: Quality | None = meter.result() if metrics else None
    return Trial(
        quality,
        size,
        8 * size / seen.duration if seen.duration else 0.0,
        sum(n for pairs in sizes.values() for n, _ in pairs),
        measured.psnr_611 if measured else None,
        measured.ms_ssim if measured else None,
        means.get("vmaf"),
        means.get("xpsnr"),
    )
