"""Points and curves of rate and distortion, BD-rate, and the tables of them. No torch, no codecs.

BD-rate (Bjontegaard, VCEG-M33, 2001) is by the package `bjontegaard` with Akima interpolation: the
mean difference of the logarithm of the rate over the range of quality that both curves cover.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stcodec.bench.peers import ANCHOR

LEAST_OVERLAP = 0.25
"""Share of the anchor's range of quality that a curve must cover for a BD-rate."""


@dataclass(frozen=True)
class Point:
    """One encode of a clip: its setting (quality or CRF), bytes, and quality of the decoded
    pictures.

    bytes: of the whole file; stream_bytes: of the coded video alone. PSNR in dB; ms_ssim in
    0..1, vmaf in 0..100 and xpsnr of the luma in dB, None where not measured.
    """

    setting: int
    bytes: int
    stream_bytes: int
    psnr_611: float
    psnr_y: float
    psnr_u: float
    psnr_v: float
    ms_ssim: float | None = None
    vmaf: float | None = None
    xpsnr: float | None = None


@dataclass(frozen=True)
class Curve:
    """All encodes of a clip by one codec; BD-rate against the anchor in percent per key of
    `BD_RATES` (None: no overlap)."""

    clip: str
    kind: str
    codec: str
    settings: str
    points: list[Point]
    bd_rate: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Curve:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "points": [Point(**p) for p in values["points"]]})


@dataclass(frozen=True)
class Comparison:
    """What a BD-rate compares: a name, a quality (None where it was not measured) and a rate."""

    label: str
    quality: Callable[[Point], float | None]
    rate: Callable[[Point], int] = lambda p: p.bytes


def ms_ssim_db(value: float | None) -> float | None:
    """MS-SSIM on a logarithmic scale, on which curves are smooth: -10 log10(1 - x) dB, at most
    60."""
    return None if value is None else -10 * math.log10(max(1 - value, 1e-6))


BD_RATES = {
    "psnr": Comparison("PSNR 6:1:1", lambda p: p.psnr_611),
    "ms-ssim": Comparison("MS-SSIM", lambda p: ms_ssim_db(p.ms_ssim)),
    "vmaf": Comparison("VMAF", lambda p: p.vmaf),
    "xpsnr": Comparison("XPSNR Y", lambda p: p.xpsnr),
    "psnr-y": Comparison("PSNR Y", lambda p: p.psnr_y),
    "psnr-u": Comparison("PSNR U", lambda p: p.psnr_u),
    "psnr-v": Comparison("PSNR V", lambda p: p.psnr_v),
    "psnr-streams": Comparison(
        "PSNR 6:1:1, coded video alone", lambda p: p.psnr_611, lambda p: p.stream_bytes
    ),
}


def bd_rate(anchor: Sequence[Point], tested: Sequence[Point], key: str = "psnr") -> float | None:
    """BD-rate in percent for a key of `BD_RATES`.

    None where the quality was not measured, does not rise with the rate, or hardly overlaps (see
    `LEAST_OVERLAP`).
    """
    compare = BD_RATES[key]
    axes = []
    for points in (anchor, tested):
        pairs = sorted(
            (compare.rate(p), q) for p in points if (q := compare.quality(p)) is not None
        )
        rates, values = ([float(pair[i]) for pair in pairs] for i in (0, 1))
        if len(values) < max(2, len(points)) or any(b <= a for a, b in itertools.pairwise(values)):
            return None
        axes.append((rates, values))
    (rate_a, dist_a), (rate_b, dist_b) = axes
    low, high = max(dist_a[0], dist_b[0]), min(dist_a[-1], dist_b[-1])
    if high - low < LEAST_OVERLAP * (dist_a[-1] - dist_a[0]):
        return None
    import bjontegaard

    value = bjontegaard.bd_rate(
        rate_a, dist_a, rate_b, dist_b, method="akima", require_matching_points=False, min_overlap=0
    )
    return float(value)


def with_bd_rates(curves: Sequence[Curve]) -> list[Curve]:
    """The curves of one clip, with BD-rates against that of the anchor."""
    anchor = next(c for c in curves if c.codec == ANCHOR).points
    return [
        Curve(
            c.clip,
            c.kind,
            c.codec,
            c.settings,
            c.points,
            {key: bd_rate(anchor, c.points, key) for key in BD_RATES},
        )
        for c in curves
    ]


def percent(value: float | None) -> str:
    """+1.2 %, or n/a."""
    return "n/a" if value is None else f"{value:+.1f} %"


def measured(curves: Sequence[Curve], keys: Sequence[str] = tuple(BD_RATES)) -> list[str]:
    """Those keys of `BD_RATES` for which any curve but the anchor's has a value."""
    others = [c for c in curves if c.codec != ANCHOR]
    return [key for key in keys if any(c.bd_rate.get(key) is not None for c in others)]


def clip_table(curves: Sequence[Curve]) -> list[str]:
    """The curves of one clip: a row per codec, with every BD-rate that there is."""
    keys = measured(curves)
    lines = [f"| BD-rate against {ANCHOR} | " + " | ".join(BD_RATES[k].label for k in keys) + " |"]
    lines.append("|---|" + "---:|" * len(keys))
    for c in curves:
        if c.codec != ANCHOR:
            lines.append(
                f"| {c.codec} | " + " | ".join(percent(c.bd_rate.get(k)) for k in keys) + " |"
            )
    return lines


def summary(curves: Sequence[Curve], key: str = "psnr") -> list[str]:
    """Lines of a table: BD-rate per clip, per kind of content and on average, a column per
    codec."""
    codecs = _codecs(curves)
    clips = list(dict.fromkeys((curve.clip, curve.kind) for curve in curves))
    lines = [f"| {BD_RATES[key].label}: BD-rate against {ANCHOR} | " + " | ".join(codecs) + " |"]
    lines.append("|---|" + "---:|" * len(codecs))
    for name, kind in clips:
        own = [c for c in curves if c.clip == name]
        lines.append(_row(f"{name} ({kind})", own, codecs, key))
    kinds = list(dict.fromkeys(kind for _, kind in clips))
    for kind in kinds if len(clips) > len(kinds) > 1 else []:
        own = [c for c in curves if c.kind == kind]
        lines.append(_row(f"*{kind}, mean of {len({c.clip for c in own})}*", own, codecs, key))
    lines.append(_row(f"**mean of {len(clips)}**", curves, codecs, key))
    return lines


def overview(curves: Sequence[Curve]) -> list[str]:
    """Lines of a table: the mean BD-rate over all clips, a row per comparison, a column per
    codec."""
    codecs = _codecs(curves)
    lines = [
        f"| mean BD-rate against {ANCHOR} | " + " | ".join(codecs) + " |",
        "|---|" + "---:|" * len(codecs),
    ]
    return lines + [_row(BD_RATES[key].label, curves, codecs, key) for key in measured(curves)]


def _codecs(curves: Sequence[Curve]) -> list[str]:
    return [c for c in dict.fromkeys(curve.codec for curve in curves) if c != ANCHOR]


def _row(label: str, curves: Sequence[Curve], codecs: Sequence[str], key: str) -> str:
    """Means over the curves; where some have no value, it is said how many do."""
    cells = []
    for codec in codecs:
        values = [c.bd_rate.get(key) for c in curves if c.codec == codec]
        known = [v for v in values if v is not None]
        few = f" ({len(known)} of {len(values)})" if 0 < len(known) < len(values) else ""
        cells.append(percent(float(np.mean(known)) if known else None) + few)
    return f"| {label} | " + " | ".join(cells) + " |"
