"""The only printer but for progress: summaries, JSON, errors. People read stderr; stdout is for
what was asked for."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from stcodec.container.joining import Joined, Part
    from stcodec.flows.compare import Comparison, Side
    from stcodec.flows.decode import DecodeResult
    from stcodec.flows.encode import EncodeResult
    from stcodec.flows.inspect import ChunkReport, FileInfo
    from stcodec.flows.sampling import Survey, Trial

EVENTS_VERSION = 1
"""Version of every JSON object, as docs/cli.md promises."""


def human_size(size: float) -> str:
    """1234567 -> '1.23 MB' (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def error(message: str) -> None:
    """One line on stderr."""
    print(f"stcodec: {message}", file=sys.stderr)


def tell(text: str) -> None:
    """Lines for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def note(message: str, quiet: bool = False) -> None:
    """Something a user should know, on stderr."""
    if not quiet:
        print(f"stcodec: note: {message}", file=sys.stderr)


def say(text: str) -> None:
    """Lines on stdout, at once: what a measurement found."""
    print(text, flush=True)


_for_json: list[TextIO] = []
_as_json = False


def speak_json(wanted: bool) -> None:
    """Whether the command's progress and failure are events on stdout, too."""
    global _as_json
    _as_json = wanted


def speaks_json() -> bool:
    """Whether they are."""
    return _as_json


def failed(message: str, code: int) -> None:
    """What ended the command."""
    error(message)
    if _as_json:
        print_json("error", message=message, exit_code=code)


@contextlib.contextmanager
def stdout_for_json_alone() -> Iterator[None]:
    """Within the block, what libraries print goes to stderr, and `print_json` still to stdout."""
    _for_json.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _for_json.pop()


def versioned(event: str, /, **values: object) -> dict[str, object]:
    """An object of any command's JSON: what it is, the version of its fields, and these."""
    return {"event": event, "version": EVENTS_VERSION, **values}


def print_json(event: str, /, **values: object) -> None:
    """One object as a line of JSON on stdout."""
    line = json.dumps(versioned(event, **values), ensure_ascii=False)
    print(line, file=_for_json[-1] if _for_json else None, flush=True)


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


def encoded(source: str, target: str, result: EncodeResult, quiet: bool, as_json: bool) -> None:
    """What an encode came to."""
    if as_json:
        print_json(
            "encoded",
            **_made(source, target, result),
            duration=result.duration,
            output_bytes=result.output_bytes,
        )
    if quiet or as_json:
        return
    rate = 8 * result.output_bytes / result.duration / 1000 if result.duration else 0.0
    ratio = (
        f", {result.ratio:.2f}x smaller than the input"
        if result.ratio and result.ratio >= 1
        else ""
    )
    speed = result.frames / result.seconds if result.seconds else 0.0
    size = human_size(result.output_bytes)
    tell(
        f"{target}: {result.frames} frames, {size} ({rate:.0f} kbit/s{ratio}), {speed:.1f} frames/s"
    )


def tried(trial: Trial, quiet: bool) -> None:
    """One step of a search."""
    if quiet:
        return
    if _as_json:
        scores = {"psnr": trial.psnr, "ms_ssim": trial.ms_ssim, "vmaf": trial.vmaf}
        print_json("tried", quality=trial.quality, output_bytes=trial.bytes, **scores)
    values = [f"about {human_size(trial.bytes)}"]
    if trial.psnr is not None and trial.ms_ssim is None:
        values.append(f"PSNR {trial.psnr:.2f} dB")
    if trial.ms_ssim is not None:
        values.append(f"MS-SSIM {trial.ms_ssim:.4f}")
    if trial.vmaf is not None:
        values.append(f"VMAF {trial.vmaf:.2f}")
    print(
        f"stcodec: tried quality {trial.quality}: {', '.join(values)}", file=sys.stderr, flush=True
    )


def sampled(source: str, trial: Trial, seen: Survey, as_json: bool) -> None:
    """A prediction, for people or as JSON."""
    if not as_json:
        print(
            f"{source}: at quality {trial.quality} about {trial.bytes / 1000:.1f} kB ({trial.bit_rate / 1000:.0f} kbit/s), "
            f"PSNR {trial.psnr:.2f} dB, MS-SSIM {trial.ms_ssim:.4f}; from {trial.frames} of {seen.frames} frames"
        )
        return
    print_json(
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


def decoded(source: str, target: str, result: DecodeResult, quiet: bool, as_json: bool) -> None:
    """What a decode came to."""
    if as_json:
        print_json("decoded", **_made(source, target, result))
    elif not quiet:
        speed = result.frames / result.seconds if result.seconds else 0.0
        print(f"{target}: {result.frames} frames, {speed:.1f} frames/s", file=sys.stderr)


def joined(sources: Sequence[str], target: str, result: Joined, quiet: bool, as_json: bool) -> None:
    """What a concat came to."""
    if as_json:
        print_json(
            "joined",
            inputs=list(sources),
            output=target,
            frames=result.frames,
            output_bytes=result.output_bytes,
            notes=list(result.notes),
        )
    elif not quiet:
        print(
            f"{target}: {result.frames} frames, {human_size(result.output_bytes)}", file=sys.stderr
        )


def part(source: str, part: Part, quiet: bool, as_json: bool) -> None:
    """A part of a split."""
    if as_json:
        print_json(
            "part",
            input=source,
            output=part.target,
            frames=part.frames,
            start=part.start,
            output_bytes=part.output_bytes,
        )
    elif not quiet:
        print(f"{part.target}: {part.frames} frames from {part.start:.3f} s on", file=sys.stderr)


def serving(source: str, url: str) -> None:
    """Where a page plays a file."""
    print(f"{source}: {url} (Ctrl-C ends it)", flush=True)


def file_info(info: FileInfo, as_json: bool) -> None:
    """`stcodec info`, for people or as JSON."""
    if as_json:
        print_json("info", **info.as_dict())
        return
    rows = [
        ("file", f"{info.path} ({human_size(info.bytes)}{'' if info.complete else ', cut off'})"),
        (
            "picture",
            f"{info.width} x {info.height}, {info.bit_depth} bit 4:2:0, pixel aspect {info.sample_aspect_ratio}",
        ),
        (
            "frames",
            f"{info.frames} in {info.duration:.3f} s, nominally {info.frame_rate:.3f} frames/s",
        ),
        ("colour", ", ".join(f"{k} {v}" for k, v in info.color.items())),
        ("rotation", f"{info.rotation} degrees"),
        ("model", f"{info.model} (sha256 {info.model_sha256[:16]}...), quality {info.quality}"),
        (
            "video",
            f"{human_size(info.video_bytes)}, {info.chunks} chunks in {info.segments} segments",
        ),
    ]
    if info.hdr:
        rows.append(("HDR", ", ".join(f"{k} {v}" for k, v in info.hdr.items())))
    if info.field_order != "progressive":
        rows.append(("fields", f"interlaced ({info.field_order})"))
    for s in info.streams:
        said = [str(s["metadata"][k]) for k in ("language", "title") if k in s["metadata"]]
        rows.append(
            (s["kind"], ", ".join([s["codec"], human_size(s["bytes"]), *said, *s["disposition"]]))
        )
    for chapter in info.chapters:
        rows.append(
            (
                "chapter",
                f"{chapter['start']:.3f} to {chapter['end']:.3f} s {chapter['metadata'].get('title', '')}",
            )
        )
    for a in info.attachments:
        rows.append(
            (
                "cover" if a["cover"] else "attachment",
                f"{a['name']} ({a['mimetype']}, {human_size(a['bytes'])})",
            )
        )
    rows += [(f"  {key}", value) for key, value in info.metadata.items()]
    rows.append(
        (
            "ratio",
            f"{info.ratio:.1f} against raw pictures, {info.bit_rate / 1000:.1f} kbit/s in all",
        )
    )
    for name, value in rows:
        print(f"{name:<10} {value}")


def chunk_problem(path: str, report: ChunkReport) -> None:
    """A damaged chunk, on stderr."""
    error(f"{path}: chunk {report.chunk}: {report.problem}")


def verified(
    path: str, chunks: int, frames: int, damaged: Sequence[ChunkReport], quiet: bool, as_json: bool
) -> None:
    """Summary of what was looked at, for people or as JSON; people have heard of the damaged
    chunks."""
    if as_json:
        problems = [{"chunk": c.chunk, "message": c.problem} for c in damaged]
        print_json(
            "verified",
            input=path,
            intact=not damaged,
            chunks=chunks,
            frames=frames,
            damaged=problems,
        )
    elif not quiet and not damaged:
        print(f"{path}: intact, {frames} frames in {chunks} chunks")


_SCORES = {
    "psnr_y": ("PSNR Y", 2),
    "psnr_u": ("PSNR U", 2),
    "psnr_v": ("PSNR V", 2),
    "psnr_611": ("PSNR 6:1:1", 2),
    "ssim": ("SSIM", 4),
    "ms_ssim": ("MS-SSIM", 4),
    "vmaf": ("VMAF", 2),
}


def compared(result: Comparison, as_json: bool) -> None:
    """A comparison, for people or as JSON."""
    summaries = {name: result.summary(name) for name in _SCORES if name in result.scores}
    if as_json:
        print_json(
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
        print(f"{label}  {side.name}: {side.frames} pictures{size}{rate}")
    dense = "" if result.bits_per_pixel is None else f", {result.bits_per_pixel:.4f} bits per pixel"
    print(f"compared   {result.frames} pairs of {result.width}x{result.height}{dense}")
    print(f"{'':<11}{'mean':>9}{'lowest':>9}{'1 % <=':>9}{'5 % <=':>9}   worst picture")
    for name, s in summaries.items():
        label, digits = _SCORES[name]
        values = "".join(f"{value:>9.{digits}f}" for value in (s.mean, s.min, *s.percentiles))
        print(f"{label:<11}{values}   {result.numbers[s.worst]} at {result.times[s.worst]:.3f} s")


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
