"""Rate and distortion: whole files and real decodes, of `.stp` at several qualities and of the
peers at several CRFs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import stcodec
from stcodec.bench import curves as tables
from stcodec.bench import peers as peer_codecs
from stcodec.bench import plots, results
from stcodec.bench.cache import ResultCache, file_digest
from stcodec.bench.curves import Curve, Point, percent, with_bd_rates
from stcodec.bench.peers import ANCHOR, Peer
from stcodec.bench.sources import Clip, Table, pictures, prepare, to_y4m
from stcodec.codec.model_files import load_model
from stcodec.flows import inspect
from stcodec.quality import vmaf, xpsnr
from stcodec.quality.metrics import QualityMeter

METRICS = ("psnr", "ms-ssim", "vmaf", "xpsnr")
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What to measure. table: of `sources.read_table`; scale None: the table's; frames 0: all;
    cache: a folder for peers' results."""

    clips: Sequence[Path]
    table: Table = field(default_factory=dict)
    scale: float | None = None
    frames: int = 0
    models: Sequence[str] = ("stc-1",)
    motions: Sequence[str] = ("mctf",)
    effort: int = 1
    qualities: Sequence[int] = (0, 10, 20, 30, 40, 50)
    peers: dict[str, Peer] = field(default_factory=dict)
    metrics: Sequence[str] = ("psnr",)
    cache: Path | None = None


def measure(plan: Plan, log: Callable[[str], None]) -> Iterator[tuple[Clip, list[Curve]]]:
    """Measure clip after clip with every codec; yields it and its curves, the anchor's first. Its
    file is gone by then."""
    wanted = {ANCHOR: peer_codecs.find_peer(ANCHOR), **plan.peers}
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as name:
        for number, source in enumerate(plan.clips, 1):
            clip = prepare(source, Path(name), plan.table, plan.scale, plan.frames)
            log(
                f"{clip.name} ({number} of {len(plan.clips)}): {clip.width}x{clip.height}, "
                f"{clip.frames} frames, {clip.kind}"
            )
            bench = _ClipBench(plan, clip, Path(name))
            found = []
            for peer_name, peer in wanted.items():
                found.append(bench.peer(peer_name, peer))
                log(line(found[-1]))
            for model in plan.models:
                for motion in plan.motions:
                    found.append(bench.own(model, motion))
                    log(line(found[-1]))
            clip.path.unlink()
            yield clip, with_bd_rates(found)


def run(
    plan: Plan, json_path: Path | None, plot_path: Path | None, say: Callable[[str], None]
) -> None:
    """Measure and say all that is found; write it as JSON after each clip, and plots at the end."""
    curves: list[Curve] = []
    clips = []
    for clip, found in measure(plan, say):
        clips.append(clip.description())
        curves += found
        say("\n".join(["", *tables.clip_table(found), ""]))
        if json_path is not None:
            content = {"clips": clips, "curves": [asdict(c) for c in curves]}
            results.write(json_path, "rate_distortion", content)
    for c in curves:
        if c.clip == curves[0].clip:
            say(f"{c.codec}: {c.settings}")
    if len(clips) > 1:
        for key in tables.measured(curves, METRICS):
            say("\n".join(["", *tables.summary(curves, key)]))
        say("\n".join(["", *tables.overview(curves)]))
    if plot_path is not None:
        plots.plot(curves, plot_path)


def line(curve: Curve) -> str:
    """One line for people."""
    points = "  ".join(
        f"{p.setting}: {p.bytes / 1000:.1f} kB {p.psnr_611:.2f} dB" for p in curve.points
    )
    rate = f" {percent(curve.bd_rate.get('psnr')):>8}" if curve.bd_rate else ""
    return f"  {curve.codec:<18}{rate}  {points}"


class _ClipBench:
    """The encodes of one clip; files are made in `folder` and overwritten by the next."""

    def __init__(self, plan: Plan, clip: Clip, folder: Path) -> None:
        self._plan, self._clip, self._folder = plan, clip, folder
        self._digest = file_digest(clip.path)

    def own(self, model: str, motion: str) -> Curve:
        """The curve of a model."""
        coded, back = self._folder / "own.stp", self._folder / "own.y4m"
        points = []
        for quality in self._plan.qualities:
            stcodec.encode(
                self._clip.path,
                coded,
                quality=quality,
                model=model,
                motion=motion,
                effort=self._plan.effort,
                overwrite=True,
            )
            stcodec.decode(coded, back, overwrite=True)
            points.append(
                self._point(quality, coded.stat().st_size, inspect.info(coded).video_bytes, back)
            )
        loaded = load_model(model)
        label = f"stp:{loaded.id}" + ("" if motion == "mctf" else f":{motion}")
        qualities = " ".join(map(str, self._plan.qualities))
        settings = (
            f"stcodec {stcodec.__version__}, model {loaded.id} "
            f"(sha256 {loaded.sha256.hex()[:16]}), motion {motion}, "
            f"effort {self._plan.effort}, quality {qualities}"
        )
        return Curve(self._clip.name, self._clip.kind, label, settings, points)

    def peer(self, name: str, peer: Peer) -> Curve:
        """The curve of a peer. One thread: then files do not depend on the number of cores."""
        points, said, cached = [], "", 0
        cache = ResultCache(self._plan.cache)
        for crf in peer.crfs:
            key = self._key(peer, crf)
            known = cache.get(key)
            if known is None:
                known = self._encode(peer, crf)
                cache.put(key, known)
            else:
                cached += 1
            points.append(Point(**known["point"]))
            said = known["version"]
        settings = f"{peer.settings()}, one thread, MP4" + (f"; {said}" if said else "")
        settings += " (from the cache)" if cached == len(peer.crfs) else ""
        return Curve(self._clip.name, self._clip.kind, name, settings, points)

    def _encode(self, peer: Peer, crf: int) -> dict[str, Any]:
        coded, back = self._folder / "peer.mp4", self._folder / "peer.y4m"
        peer_codecs.encode(self._clip, peer, crf, coded, threads=1)
        to_y4m(coded, back)
        point = self._point(crf, coded.stat().st_size, peer_codecs.coded_bytes(coded), back)
        return {"version": peer_codecs.version(coded), "point": asdict(point)}

    def _key(self, peer: Peer, crf: int) -> tuple[object, ...]:
        """All that a peer's result depends on."""
        import av

        wanted = [m for m in METRICS if m in self._plan.metrics]
        tool = Path(vmaf.available() or "").name if "vmaf" in wanted else ""
        if "xpsnr" in wanted:
            tool += Path(xpsnr.available() or "").name
        libraries = av.__version__, av.library_versions
        return _CACHE_VERSION, self._digest, peer, crf, wanted, tool, *libraries

    def _point(self, setting: int, size: int, stream: int, decoded: Path) -> Point:
        wanted = self._plan.metrics
        meter = QualityMeter(8, ("psnr", "ms-ssim") if "ms-ssim" in wanted else ("psnr",))
        for a, b in zip(pictures(self._clip.path), pictures(decoded), strict=True):
            meter.add(a, b)
        q = meter.result()
        scores: dict[str, float] = {}
        if "vmaf" in wanted:
            scores["vmaf"] = statistics.fmean(vmaf.vmaf(self._clip.path, decoded))
        if "xpsnr" in wanted:
            scores["xpsnr"] = statistics.fmean(xpsnr.xpsnr(self._clip.path, decoded))
        psnrs = q.psnr_611, q.psnr_y, q.psnr_u, q.psnr_v
        return Point(setting, size, stream, *psnrs, q.ms_ssim, **scores)
