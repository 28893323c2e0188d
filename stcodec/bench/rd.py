"""Rate and distortion: whole files and real decodes, of `.stp` at several qualities and of the peers at several CRFs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import stcodec
from stcodec.bench import peers as peer_codecs
from stcodec.bench.peers import ANCHOR, Peer
from stcodec.bench.sources import Clip, pictures, prepare, read_table
from stcodec.errors import StcodecError
from stcodec.metrics import QualityMeter

DEFAULT_QUALITIES = (10, 20, 30, 40, 50)


@dataclass(frozen=True)
class Point:
    """One encode of a clip: its setting (quality or CRF), bytes of the whole file, and quality (dB; SSIM in 0..1)."""

    setting: int
    bytes: int
    psnr_611: float
    psnr_y: float
    psnr_u: float
    psnr_v: float
    ms_ssim: float | None


@dataclass(frozen=True)
class Curve:
    """All encodes of a clip by one codec; BD-rate against the anchor in percent (None: the curves do not overlap)."""

    clip: str
    kind: str
    codec: str
    points: list[Point]
    bd_rate: float | None = None


def bd_rate(anchor: Sequence[Point], tested: Sequence[Point]) -> float | None:
    """Bjontegaard delta rate in percent over the common range of PSNR 6:1:1, Akima interpolation; None without overlap."""
    import bjontegaard

    def axes(points: Sequence[Point]) -> tuple[list[int], list[float]]:
        ordered = sorted(points, key=lambda p: p.bytes)
        return [p.bytes for p in ordered], [p.psnr_611 for p in ordered]

    (rate_a, dist_a), (rate_b, dist_b) = axes(anchor), axes(tested)
    low, high = max(dist_a[0], dist_b[0]), min(dist_a[-1], dist_b[-1])
    if high - low < 0.25 * (dist_a[-1] - dist_a[0]):
        return None
    value = bjontegaard.bd_rate(
        rate_a, dist_a, rate_b, dist_b, method="akima", require_matching_points=False, min_overlap=0
    )
    return float(value)


def measure(
    sources: Sequence[Path],
    table: Path | None,
    scale: float | None,
    frames: int,
    models: Sequence[str],
    motions: Sequence[str],
    peers: dict[str, Peer],
    qualities: Sequence[int],
    with_ssim: bool,
    cache: Path | None,
    log: Callable[[str], None],
) -> list[Curve]:
    """Measure every clip with every codec; curves of the anchor come first for each clip."""
    rows = read_table(table)
    curves: list[Curve] = []
    wanted = {ANCHOR: peer_codecs.PEERS[ANCHOR], **peers}
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as name:
        for source in sources:
            clip = prepare(source, Path(name), rows, scale, frames)
            log(f"{clip.name}: {clip.width}x{clip.height}, {clip.frames} frames, {clip.kind}")
            found = []
            for peer_name, peer in wanted.items():
                points = [_peer_point(clip, peer, crf, Path(name), with_ssim, cache) for crf in peer.crfs]
                found.append(Curve(clip.name, clip.kind, peer_name, points))
            for model in models:
                for motion in motions:
                    label = f"stp:{model}" + ("" if motion == "mctf" else f":{motion}")
                    points = [_stp_point(clip, model, motion, q, Path(name), with_ssim) for q in qualities]
                    found.append(Curve(clip.name, clip.kind, label, points))
            anchor = found[0].points
            for curve in found:
                done = Curve(curve.clip, curve.kind, curve.codec, curve.points, bd_rate(anchor, curve.points))
                curves.append(done)
                log(_line(done))
            clip.path.unlink()
    return curves


def _line(curve: Curve) -> str:
    points = "  ".join(f"{p.setting}: {p.bytes / 1000:.1f} kB {p.psnr_611:.2f} dB" for p in curve.points)
    return f"  {curve.codec:<18} {_percent(curve.bd_rate):>8}  {points}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.1f} %"


def _quality(clip: Clip, decoded: Path, setting: int, size: int, with_ssim: bool) -> Point:
    meter = QualityMeter(8, ("psnr", "ms-ssim") if with_ssim else ("psnr",))
    for a, b in zip(pictures(clip.path), pictures(decoded), strict=True):
        meter.add(a, b)
    q = meter.result()
    return Point(setting, size, q.psnr_611, q.psnr_y, q.psnr_u, q.psnr_v, q.ms_ssim)


def _stp_point(clip: Clip, model: str, motion: str, quality: int, folder: Path, with_ssim: bool) -> Point:
    coded, back = folder / "a.stp", folder / "a.y4m"
    stcodec.encode(clip.path, coded, quality=quality, model=model, motion=motion, overwrite=True)
    stcodec.decode(coded, back, overwrite=True)
    return _quality(clip, back, quality, coded.stat().st_size, with_ssim)


def _peer_point(clip: Clip, peer: Peer, crf: int, folder: Path, with_ssim: bool, cache: Path | None) -> Point:
    import av

    kept = None
    if cache is not None:
        digest = hashlib.sha256(clip.path.read_bytes())
        digest.update(repr((peer, crf, with_ssim, av.__version__)).encode())
        kept = cache / f"{digest.hexdigest()[:32]}.json"
        if kept.is_file():
            return Point(**json.loads(kept.read_text()))
    target = folder / "peer.mp4"
    peer_codecs.encode(clip, peer, crf, target)
    point = _quality(clip, target, crf, target.stat().st_size, with_ssim)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(point)))
    return point


def summary(curves: Sequence[Curve]) -> list[str]:
    """Lines of a table: BD-rate per clip, per kind of content and on average, a column per codec."""
    codecs = [c for c in dict.fromkeys(curve.codec for curve in curves) if c != ANCHOR]
    clips = list(dict.fromkeys((curve.clip, curve.kind) for curve in curves))
    by = {(curve.clip, curve.codec): curve.bd_rate for curve in curves}

    def mean(names: Sequence[str], codec: str) -> float | None:
        values = [v for n in names if (v := by.get((n, codec))) is not None]
        return float(np.mean(values)) if values else None

    lines = [f"| BD-rate against {ANCHOR} | " + " | ".join(codecs) + " |", "|---|" + "---|" * len(codecs)]
    for name, kind in clips:
        lines.append(f"| {name} ({kind}) | " + " | ".join(_percent(by.get((name, c))) for c in codecs) + " |")
    for kind in dict.fromkeys(kind for _, kind in clips):
        names = [n for n, k in clips if k == kind]
        lines.append(f"| *{kind}* | " + " | ".join(_percent(mean(names, c)) for c in codecs) + " |")
    everything = [n for n, _ in clips]
    lines.append("| **mean** | " + " | ".join(f"**{_percent(mean(everything, c))}**" for c in codecs) + " |")
    return lines


def plot(curves: Sequence[Curve], path: Path) -> None:
    """Rate-distortion plots, one panel per clip, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    clips = list(dict.fromkeys(c.clip for c in curves))
    if not clips:
        raise StcodecError("there is nothing to plot")
    columns = min(3, len(clips))
    rows = -(-len(clips) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 4 * rows), squeeze=False)
    for number, name in enumerate(clips):
        axis = axes[number // columns][number % columns]
        for curve in (c for c in curves if c.clip == name):
            points = sorted(curve.points, key=lambda p: p.bytes)
            axis.plot([p.bytes / 1000 for p in points], [p.psnr_611 for p in points], marker="o", label=curve.codec)
        axis.set(title=name, xlabel="kB", ylabel="PSNR 6:1:1 (dB)", xscale="log")
        axis.grid(True, alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
