"""What commands come to, for people and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stcodec.common.leftovers import is_in_use
from stcodec.common.words import colour_in_words, field_order_in_words
from stcodec.terminal.report import Reporter, error, human_size, say, tell
from stcodec.terminal.streams import printable

if TYPE_CHECKING:
    from stcodec.container.joining import Joined, Part
    from stcodec.flows.compare import Comparison, Side
    from stcodec.flows.decode import DecodeResult
    from stcodec.flows.encode import EncodeResult
    from stcodec.flows.inspect import ChunkReport, FileInfo
    from stcodec.flows.salvage import Lost
    from stcodec.flows.sampling import Survey, Trial


def _made(source: str, target: str, result: EncodeResult | DecodeResult) -> dict[str, object]:
    """What the events of both directions have in common."""
    return {
        "input": source,
        "output": target,
        "frames": result.frames,
        "width": result.width,
        "height": result.height,
        "input_bytes": result.input_bytes,
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
    }


def encoded(said: Reporter, source: str, target: str, result: EncodeResult) -> None:
    """What an encode came to."""
    said.event(
        "encoded",
        **_made(source, target, result),
        duration=result.duration,
        output_bytes=result.output_bytes,
        untouched=result.untouched,
        removed=result.removed,
    )
    rate = 8 * result.output_bytes / result.duration / 1000 if result.duration else 0.0
    ratio = ""
    if result.ratio and result.ratio >= 1:
        ratio = f", {result.ratio:.2f}x smaller than the input"
    said.result(
        f"{printable(target)}: {result.frames} frames, {human_size(result.output_bytes)} "
        f"({rate:.0f} kbit/s{ratio}), {_speed(result):.1f} frames/s"
    )


def _speed(result: EncodeResult | DecodeResult) -> float:
    return result.frames / result.seconds if result.seconds else 0.0


def tried(said: Reporter, trial: Trial) -> None:
    """One step of a search."""
    if said.quiet:
        return
    scores = {name: getattr(trial, name) for name in ("psnr", "ms_ssim", "vmaf", "xpsnr")}
    said.event("tried", quality=trial.quality, output_bytes=trial.bytes, **scores)
    values = [f"about {human_size(trial.bytes)}"]
    if trial.psnr is not None and trial.ms_ssim is None:
        values.append(f"PSNR {trial.psnr:.2f} dB")
    if trial.ms_ssim is not None:
        values.append(f"MS-SSIM {trial.ms_ssim:.4f}")
    if trial.vmaf is not None:
        values.append(f"VMAF {trial.vmaf:.2f}")
    if trial.xpsnr is not None:
        values.append(f"XPSNR {trial.xpsnr:.2f} dB")
    tell(f"stcodec: tried quality {trial.quality}: {', '.join(values)}")


def sampled(said: Reporter, source: str, trial: Trial, seen: Survey) -> None:
    """A prediction."""
    if not said.as_json:
        say(
            f"{printable(source)}: at quality {trial.quality} about {trial.bytes / 1000:.1f} kB "
            f"({trial.bit_rate / 1000:.0f} kbit/s), PSNR {trial.psnr:.2f} dB, "
            f"MS-SSIM {trial.ms_ssim:.4f}; from {trial.frames} of {seen.frames} frames"
        )
    said.event(
        "sampled",
        input=source,
        quality=trial.quality,
        output_bytes=trial.bytes,
        bit_rate=round(trial.bit_rate),
        psnr=trial.psnr,
        ms_ssim=trial.ms_ssim,
        sampled_frames=trial.frames,
        frames=seen.frames,
        duration=seen.duration,
    )


def decoded(said: Reporter, source: str, target: str, result: DecodeResult) -> None:
    """What a decode came to."""
    lost = [dataclasses.asdict(one) for one in result.lost]
    said.event("decoded", **_made(source, target, result), lost=lost)
    said.result(f"{printable(target)}: {result.frames} frames, {_speed(result):.1f} frames/s")


def lost(path: str, ranges: Sequence[Lost]) -> None:
    """What is lost of a damaged file, on stderr."""
    for one in ranges:
        error(f"{path}: {one}")


def joined(said: Reporter, sources: Sequence[str], target: str, result: Joined) -> None:
    """What a concat came to."""
    said.event(
        "joined",
        inputs=list(sources),
        output=target,
        frames=result.frames,
        output_bytes=result.output_bytes,
        notes=list(result.notes),
    )
    size = human_size(result.output_bytes)
    said.result(f"{printable(target)}: {result.frames} frames, {size}")


def part(said: Reporter, source: str, part: Part) -> None:
    """A part of a split."""
    said.event(
        "part",
        input=source,
        output=part.target,
        frames=part.frames,
        start=part.start,
        output_bytes=part.output_bytes,
    )
    said.result(f"{printable(part.target)}: {part.frames} frames from {part.start:.3f} s on")


def serving(source: str, url: str) -> None:
    """Where a page plays a file."""
    say(f"{printable(source)}: {url} (Ctrl-C ends it)")


def file_info(said: Reporter, info: FileInfo) -> None:
    """What is in a file."""
    if said.as_json:
        said.event("info", **info.as_dict())
        return
    rows = [*_rows_of_pictures(info), *_rows_of_the_rest(info)]
    ratio = f"{info.ratio:.1f} against raw pictures, {info.bit_rate / 1000:.1f} kbit/s in all"
    rows += [(f"  {key}", value) for key, value in info.metadata.items()]
    for name, value in [*rows, ("ratio", ratio)]:
        say(f"{printable(name):<10} {printable(value)}")


def _unless_complete(info: FileInfo) -> str:
    if info.complete:
        return ""
    return ", still being written" if is_in_use(Path(info.path)) else ", cut off"


_COLOUR = ("range", "primaries", "transfer", "matrix")


def _rows_of_pictures(info: FileInfo) -> list[tuple[str, str]]:
    size = f"{info.width} x {info.height}, {info.bit_depth} bit 4:2:0"
    rate = f"nominally {info.frame_rate:.3f} frames/s"
    parts = f"{info.chunks} chunks in {info.segments} segments"
    rows = [
        ("file", f"{info.path} ({human_size(info.bytes)}{_unless_complete(info)})"),
        ("picture", f"{size}, pixel aspect {info.sample_aspect_ratio}"),
        ("frames", f"{info.frames} in {info.duration:.3f} s, {rate}"),
        ("colour", colour_in_words(*(info.color[k] for k in _COLOUR))),
        ("rotation", f"{info.rotation} degrees"),
        ("model", f"{info.model} (sha256 {info.model_sha256[:16]}...), quality {info.quality}"),
        ("video", f"{human_size(info.video_bytes)}, {parts}"),
    ]
    if info.hdr:
        rows.append(("HDR", ", ".join(f"{k} {v}" for k, v in info.hdr.items())))
    if info.field_order != "progressive":
        rows.append(("fields", field_order_in_words(info.field_order)))
    return rows


def _rows_of_the_rest(info: FileInfo) -> list[tuple[str, str]]:
    """Streams, chapters and attachments."""
    rows = []
    for s in info.streams:
        known = [str(s["metadata"][k]) for k in ("language", "title") if k in s["metadata"]]
        about = [s["codec"], human_size(s["bytes"]), *known, *s["disposition"]]
        rows.append((s["kind"], ", ".join(about)))
    for c in info.chapters:
        title = c["metadata"].get("title", "")
        rows.append(("chapter", f"{c['start']:.3f} to {c['end']:.3f} s {title}"))
    for a in info.attachments:
        about_it = f"{a['name']} ({a['mimetype']}, {human_size(a['bytes'])})"
        rows.append(("cover" if a["cover"] else "attachment", about_it))
    return rows


def chunk_problem(path: str, found: ChunkReport) -> None:
    """A damaged chunk, on stderr."""
    error(f"{path}: chunk {found.chunk}: {found.problem}")


def verified(
    said: Reporter,
    path: str,
    chunks: int,
    frames: int,
    damaged: Sequence[ChunkReport],
    lost: Sequence[Lost],
    intact: bool,
) -> None:
    """Summary of what was looked at; people have heard of what is damaged."""
    said.event(
        "verified",
        input=path,
        intact=intact,
        chunks=chunks,
        frames=frames,
        damaged=[{"chunk": c.chunk, "message": c.problem} for c in damaged],
        lost=[dataclasses.asdict(one) for one in lost],
    )
    if intact and not (said.quiet or said.as_json):
        say(f"{printable(path)}: intact, {frames} frames in {chunks} chunks")


_SCORES = {
    "psnr_y": ("PSNR Y", 2),
    "psnr_u": ("PSNR U", 2),
    "psnr_v": ("PSNR V", 2),
    "psnr_611": ("PSNR 6:1:1", 2),
    "ssim": ("SSIM", 4),
    "ms_ssim": ("MS-SSIM", 4),
    "vmaf": ("VMAF", 2),
    "xpsnr_y": ("XPSNR Y", 2),
    "xpsnr_u": ("XPSNR U", 2),
    "xpsnr_v": ("XPSNR V", 2),
}


def compared(said: Reporter, result: Comparison) -> None:
    """A comparison."""
    summaries = {name: result.summary(name) for name in _SCORES if name in result.scores}
    if said.as_json:
        said.event(
            "compared",
            reference=_side(result.reference),
            distorted=_side(result.distorted),
            width=result.width,
            height=result.height,
            bit_depth=result.bit_depth,
            matched_by=result.matched_by,
            frames=result.frames,
            bits_per_pixel=result.bits_per_pixel,
            summary={name: _summary(result, name) for name in summaries},
            numbers=list(result.numbers),
            times=list(result.times),
            scores={name: list(values) for name, values in result.scores.items()},
            notes=list(result.notes),
        )
        return
    for label, side in (("reference", result.reference), ("distorted", result.distorted)):
        size = "" if side.bytes is None else f", {human_size(side.bytes)}"
        rate = "" if side.bit_rate is None else f", {side.bit_rate / 1000:.0f} kbit/s"
        say(f"{label}  {printable(side.name)}: {side.frames} pictures{size}{rate}")
    dense = "" if result.bits_per_pixel is None else f", {result.bits_per_pixel:.4f} bits per pixel"
    say(f"compared   {result.frames} pairs of {result.width}x{result.height}{dense}")
    say(f"{'':<11}{'mean':>9}{'lowest':>9}{'1 % <=':>9}{'5 % <=':>9}   worst picture")
    for name, s in summaries.items():
        label, digits = _SCORES[name]
        values = "".join(f"{value:>9.{digits}f}" for value in (s.mean, s.min, *s.percentiles))
        say(f"{label:<11}{values}   {result.numbers[s.worst]} at {result.times[s.worst]:.3f} s")


def _summary(result: Comparison, name: str) -> dict[str, Any]:
    summary = result.summary(name)
    one, five = summary.percentiles
    return {
        "mean": summary.mean,
        "min": summary.min,
        "p1": one,
        "p5": five,
        "worst": result.numbers[summary.worst],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "path": side.name,
        "frames": side.frames,
        "unmatched": side.unmatched,
        "bytes": side.bytes,
        "duration": side.duration,
        "bit_rate": side.bit_rate,
    }
