"""Tables of what `payloads` measured: a row per clip, BD-rates against a saved run and against
other codecs, and where the bytes are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stcodec.bench.curves import BD_RATES, Point, bd_rate, percent
from stcodec.bench.payloads import Plan, Results, label_of, measure
from stcodec.bench.results import read, write
from stcodec.errors import InputError, UsageError

_SCREEN = "screen"
_KEYS = ("psnr", "ms-ssim")
_PARTS = ("vectors", "intra", "key", "level 1", "level 2", "leaves")
_MEANS: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "worst": max,
}


@dataclass(frozen=True)
class Reference:
    """What BD-rates are against: a name, and points by clip."""

    label: str
    curves: dict[str, list[Point]]


@dataclass(frozen=True)
class Column:
    """A column of the table of a codec: its head, and a value by clip in its own format. Only of
    BD-rates is the highest the worst."""

    head: str
    values: dict[str, float | None]
    bd_rate: bool

    def show(self, value: float | None) -> str:
        """A value as text."""
        if self.bd_rate:
            return percent(value)
        return "" if value is None else f"{value:.2f}"


def saved_run(path: Path, saved: dict[str, Any], measured: Results, codec: str) -> Reference:
    """The curves of an earlier run that a codec is compared with: its own, or else those of the
    only model there. InputError where the file holds no such run or other clips of these names."""
    try:
        earlier = Results.from_json(saved)
        own = earlier.codecs(own=True)
        clips = {c["name"]: (c["sha256"], c["scale"]) for c in earlier.clips}
        chosen = codec if codec in own else own[0] if len(own) == 1 else None
        curves = {
            clip: _points(found[chosen])
            for clip, found in earlier.curves.items()
            if chosen is not None and chosen in found
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a result of this version ({error!r})") from error
    if chosen is None:
        raise UsageError(f"{path}: {codec} is not there, but {', '.join(own) or 'no model'}")
    if earlier.frames != measured.frames:
        raise UsageError(f"{path}: measured with --frames {earlier.frames}")
    for clip in measured.clips:
        if clips.get(clip["name"], (clip["sha256"], clip["scale"])) != (
            clip["sha256"],
            clip["scale"],
        ):
            raise InputError(f"{path}: {clip['name']} was another clip, or of another scale")
    return Reference(f"{path.stem} ({chosen})", curves)


def references(results: Results) -> list[Reference]:
    """The other codecs that were measured."""
    return [
        Reference(name, {clip: _points(c[name]) for clip, c in results.curves.items() if name in c})
        for name in results.codecs(own=False)
    ]


def summary(results: Results, codec: str, against: Sequence[Reference]) -> list[str]:
    """Lines of the table of a codec: a row per clip, then mean, median and worst of all but
    screens, and screens below."""
    columns = [_bd_column(results, codec, ref, key) for ref in against for key in _KEYS]
    columns += [
        _mean_column(results, codec, head, name)
        for head, name in (
            ("evenness, dB", "evenness"),
            ("keys above leaves, dB", "key_gap"),
            ("encode, CPU s/frame", "encode_seconds"),
            ("decode, CPU s/frame", "decode_seconds"),
        )
    ]
    lines = [
        f"| {codec} | " + " | ".join(c.head for c in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    kinds = {clip["name"]: clip["kind"] for clip in results.clips}
    screens = [name for name, kind in kinds.items() if kind == _SCREEN]
    others = [name for name in kinds if name not in screens]
    for name in others:
        lines.append(_row(f"{name} ({_shape(results, codec, name)})", columns, name))
    if len(others) > 1:
        lines += [_summary_row(label, others, columns) for label in _MEANS]
    for name in screens:
        label = f"{name} ({_shape(results, codec, name)}; screen, not in the mean)"
        lines.append(_row(label, columns, name))
    return lines


def side_by_side(results: Results, sizes: dict[str, int]) -> list[str]:
    """Lines of a table: a row per model. BD-rates are against the first one, over all clips but
    screens; CPU times are means over the same. sizes: of the models' files in bytes, by codec."""
    first, *others = results.codecs(own=True)
    curves = {clip: _points(found[first]) for clip, found in results.curves.items()}
    base = Reference(first, curves)
    kinds = {clip["name"]: clip["kind"] for clip in results.clips}
    measured = [name for name, kind in kinds.items() if kind != _SCREEN] or list(kinds)
    heads = ["model", "MB", f"{BD_RATES['psnr'].label} against {first}", "best", "worst"]
    heads += [BD_RATES["ms-ssim"].label, "encode, CPU s/frame", "decode, CPU s/frame"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for codec in (first, *others):
        rates = {key: _bd_column(results, codec, base, key).values for key in _KEYS}
        psnr, ssim = (
            [v for clip in measured if (v := values[clip]) is not None] for values in rates.values()
        )
        cells = [codec.removeprefix("stp:"), f"{sizes[codec] / 1e6:.2f}"]
        if codec == first or not psnr or not ssim:
            cells += [""] * 4
        else:
            means = statistics.fmean(psnr), min(psnr), max(psnr), statistics.fmean(ssim)
            cells += [percent(value) for value in means]
        for name in ("encode_seconds", "decode_seconds"):
            seconds = _mean_column(results, codec, "", name).values
            known = [v for clip in measured if (v := seconds[clip]) is not None]
            cells.append(f"{statistics.fmean(known):.3f}" if known else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def clips(results: Results) -> list[str]:
    """Lines of a table: where each clip comes from, and its SHA-256."""
    lines = ["| clip | content | scale | source | SHA-256 |", "|---|---|---:|---|---|"]
    for c in results.clips:
        source = c["source"] or "not known"
        cells = [c["path"], c["kind"], f"{c['scale']:g}", source, f"`{c['sha256']}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def details(results: Results, codec: str) -> list[str]:
    """Lines of a table: bytes by part and quality, a row per clip and setting."""
    heads = ["clip", "quality", "bytes", *(f"{part}, %" for part in _PARTS)]
    heads += ["PSNR 6:1:1", "Y", "U", "V", "MS-SSIM"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for clip, curves in results.curves.items():
        for point in curves.get(codec, []):
            parts = [f"{100 * point['parts'].get(p, 0) / point['bytes']:.1f}" for p in _PARTS]
            cells = [clip, str(point["setting"]), str(point["bytes"]), *parts]
            cells += [f"{point[f'psnr_{plane}']:.2f}" for plane in ("611", "y", "u", "v")]
            cells.append(f"{point['ms_ssim']:.4f}")
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _points(measured: Sequence[dict[str, Any]]) -> list[Point]:
    names = ("psnr_611", "psnr_y", "psnr_u", "psnr_v", "ms_ssim")
    return [
        Point(m["setting"], m["bytes"], m["bytes"], **{n: m[n] for n in names}) for m in measured
    ]


def _bd_column(results: Results, codec: str, ref: Reference, key: str) -> Column:
    values = {
        clip: bd_rate(ref.curves[clip], _points(curves[codec]), key) if clip in ref.curves else None
        for clip, curves in results.curves.items()
    }
    return Column(f"{BD_RATES[key].label} against {ref.label}", values, True)


def _mean_column(results: Results, codec: str, head: str, name: str) -> Column:
    """The mean over all settings."""
    values: dict[str, float | None] = {}
    for clip, curves in results.curves.items():
        known = [p[name] for p in curves[codec] if p[name] is not None]
        values[clip] = statistics.fmean(known) if known else None
    return Column(head, values, False)


def _shape(results: Results, codec: str, clip: str) -> str:
    point = results.curves[clip][codec][0]
    return f"{point['width']}x{point['height']}, {point['frames']} frames"


def _row(label: str, columns: Sequence[Column], clip: str) -> str:
    return f"| {label} | " + " | ".join(c.show(c.values[clip]) for c in columns) + " |"


def _summary_row(label: str, clips: Sequence[str], columns: Sequence[Column]) -> str:
    cells = []
    for column in columns:
        known = [v for clip in clips if (v := column.values[clip]) is not None]
        if not known or (label == "worst" and not column.bd_rate):
            cells.append("")
            continue
        few = f" ({len(known)} of {len(clips)})" if len(known) < len(clips) else ""
        cells.append(column.show(_MEANS[label](known)) + few)
    return f"| **{label}** | " + " | ".join(cells) + " |"


def run(
    plan: Plan,
    against: Path | None,
    json_path: Path | None,
    verbose: bool,
    say: Callable[[str], None],
    log: Callable[[str], None],
) -> None:
    """Measure, write it as JSON, and say it in tables; `log` takes progress."""
    saved = None if against is None else read([against])[0]
    results = measure(plan, log)
    if json_path is not None:
        write(json_path, "payloads", asdict(results))
    for codec in results.codecs(own=True):
        compared = references(results)
        if against is not None and saved is not None:
            compared.insert(0, saved_run(against, saved, results, codec))
        say("\n".join(["", *summary(results, codec, compared)]))
        if verbose:
            say("\n".join(["", *details(results, codec)]))
    if len(results.codecs(own=True)) > 1:
        from stcodec.codec.model_files import find_model

        sizes = {label_of(model): find_model(model).stat().st_size for model in plan.models}
        say("\n".join(["", *side_by_side(results, sizes)]))
