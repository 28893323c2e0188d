"""Rate and distortion: whole files and real decodes, of `.stp` at several qualities and of the
peers at several CRFs."""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import stcodec
from stcodec.bench import peers as peer_codecs
from stcodec.bench.curves import Curve, Point, percent, with_bd_rates
from stcodec.bench.peers import ANCHOR, Peer
from stcodec.bench.sources import Clip, pictures, prepare, to_y4m
from stcodec.codec.model_files import load_model
from stcodec.common.files import temporary_output
from stcodec.flows import inspect
from stcodec.quality import vmaf
from stcodec.quality.metrics import QualityMeter

METRICS = ("psnr", "ms-ssim", "vmaf")
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What to measure. table: of `sources.read_table`; scale None: the table's; frames 0: all;
    cache: a folder for peers' results."""

    clips: Sequence[Path]
    table: dict[str, dict[str, str]] = field(default_factory=dict)
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
                f"{clip.name} ({number} of {len(plan.clips)}): {clip.width}x{clip.height}, {clip.frames} frames, {clip.kind}"
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
        self._digest = _digest(clip.path)

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
            f"stcodec {stcodec.__version__}, model {loaded.id} (sha256 {loaded.sha256.hex()[:16]}), motion {motion}, "
            f"effort {self._plan.effort}, quality {qualities}"
        )
        return Curve(self._clip.name, self._clip.kind, label, settings, points)

    def peer(self, name: str, peer: Peer) -> Curve:
        """The curve of a peer. One thread: then files do not depend on the number of cores."""
        points, said, cached = [], "", 0
        for crf in peer.crfs:
            kept = self._kept(peer, crf)
            if kept is not None and kept.is_file():
                known = json.loads(kept.read_text())
                cached += 1
            else:
                known = self._encode(peer, crf)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    with temporary_output(kept) as temporary:
                        temporary.write_text(json.dumps(known))
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

    def _kept(self, peer: Peer, crf: int) -> Path | None:
        if self._plan.cache is None:
            return None
        import av

        wanted = [m for m in METRICS if m in self._plan.metrics]
        tool = Path(vmaf.available() or "").name if "vmaf" in wanted else ""
        key = repr(
            (
                _CACHE_VERSION,
                self._digest,
                peer,
                crf,
                wanted,
                tool,
                av.__version__,
                av.library_versions,
            )
        )
        return self._plan.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _point(self, setting: int, size: int, stream: int, decoded: Path) -> Point:
        wanted = self._plan.metrics
        meter = QualityMeter(8, ("psnr", "ms-ssim") if "ms-ssim" in wanted else ("psnr",))
        for a, b in zip(pictures(self._clip.path), pictures(decoded), strict=True):
            meter.add(a, b)
        q = meter.result()
        score = None
        if "vmaf" in wanted:
            score = statistics.fmean(vmaf.vmaf(self._clip.path, decoded))
        return Point(
            setting, size, stream, q.psnr_611, q.psnr_y, q.psnr_u, q.psnr_v, q.ms_ssim, score
        )


def _digest(path: Path) -> str:
    """SHA-256 of a file of any length."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
