"""Encoding to a target: a size, a bitrate or a quality by a metric; and predicting what a quality
will come to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stcodec.codec.model_files import load_model
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.common.files import (
    check_input,
    check_output,
    input_size,
    is_standard_stream,
    open_input,
    open_output,
    temporary_folder,
)
from stcodec.common.signatures import Signature, signature
from stcodec.common.values import PathLike, Progress
from stcodec.errors import StcodecError, TargetError
from stcodec.flows import sources
from stcodec.flows.compiling import compile_once
from stcodec.flows.encode import EncodeResult, check_larger, encode_steps, opened_video
from stcodec.flows.forecast import Forecast
from stcodec.flows.rate_control import QUALITIES, Control
from stcodec.flows.sampling import Survey, Trial, survey, try_quality
from stcodec.options import TARGETS, EncodeOptions, flag

Step = Progress | Trial | EncodeResult

_NO_TARGET: dict[str, Any] = dict.fromkeys(TARGETS)
_TOLERANCE = 0.03
_MOST_PASSES = 4
_FIRST_GUESS = 32


class _Metric(NamedTuple):
    """An option that asks for a quality; what `try_quality` calls it, and the field of a trial that
    holds it."""

    option: str
    measured: str
    field: str
    label: str
    unit: str = ""


_METRICS = (
    _Metric("min_psnr", "psnr", "psnr", "PSNR", " dB"),
    _Metric("min_ssim", "ms-ssim", "ms_ssim", "MS-SSIM"),
    _Metric("min_vmaf", "vmaf", "vmaf", "VMAF"),
    _Metric("min_xpsnr", "xpsnr", "xpsnr", "XPSNR", " dB"),
)


def search_steps(
    source: PathLike,
    target: PathLike,
    options: EncodeOptions,
    notes: list[str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Generator[Step, None, None]:
    """Encode as `encode.encode_steps` does, but to the target that the options name, if any: also
    yields what was tried. `tell`: see `compile_once`. After that the input's times are kept, or it
    is removed, if the options ask for it.

    TargetError, and no output, where quality 0 is still too large or quality 63 not good enough.
    """
    check_input(source)
    check_output(target, options.overwrite, source)
    for name in ("keep_time", "remove_source"):
        if getattr(options, name):
            sources.check_plain(source, target, flag(name))
    compile_once(options, tell, lambda: _look(source, options))
    before = signature(source)
    forecast = Forecast(input_size(source), options.quality)
    for step in _steps(source, target, options, notes):
        if isinstance(step, EncodeResult):
            step = _ended(source, target, options, before, step)
        elif isinstance(step, Progress) and _has_no_target(options):
            line = forecast.hear(step)
            if tell is not None and line is not None:
                tell(f"{os.fspath(source)}: {line}")
        yield step


def _look(source: PathLike, options: EncodeOptions) -> None:
    """InputError where a file is no video: nobody should have to wait for that."""
    if not is_standard_stream(source) and input_size(source) is not None:
        with opened_video(source, options):
            pass


def _ended(
    source: PathLike,
    target: PathLike,
    options: EncodeOptions,
    before: Signature | None,
    result: EncodeResult,
) -> EncodeResult:
    """What is done once the output is complete."""
    if options.keep_time:
        sources.keep_time(source, target)
    if not options.remove_source:
        return result
    result = proved(source, target, options, result)
    why = sources.remove(source, before, result.untouched)
    more = () if why is None else (why,)
    return dataclasses.replace(result, removed=why is None, notes=(*result.notes, *more))


def proved(
    source: PathLike, target: PathLike, options: EncodeOptions, result: EncodeResult
) -> EncodeResult:
    """Decode all of an output, and all of its source again, for damage: a source that may be
    damaged is not untouched in it. StcodecError, see `sources.prove`."""
    sources.prove(target, result.frames)
    why = sources.doubt(source, options, result.frames) if result.untouched else None
    if why is None:
        return result
    notes = (*result.notes, f"the source may be damaged: {why}")
    return dataclasses.replace(result, untouched=False, notes=notes)


def _has_no_target(options: EncodeOptions) -> bool:
    return all(getattr(options, name) is None for name in TARGETS)


def _steps(
    source: PathLike, target: PathLike, options: EncodeOptions, notes: list[str] | None
) -> Iterator[Step]:
    if _has_no_target(options):
        yield from encode_steps(source, target, options, notes)
        return
    said = notes if notes is not None else []
    work = Arithmetic(choose_device(options.device), options.threads)
    by_size = options.target_size is not None or options.target_bitrate is not None
    search = _to_size if by_size else _to_quality
    with _rereadable(source) as again:
        yield from work.steps(search(again, os.fspath(source), target, options, said, work.device))


def sample(
    source: PathLike, options: EncodeOptions, tell: Callable[[str], None] | None = None
) -> tuple[Trial, Survey]:
    """What `source` will come to at `options.quality`, by samples. `tell`: see `compile_once`.
    InputError, ModelError, UsageError."""
    check_input(source)
    compile_once(options, tell, lambda: _look(source, options))
    device = choose_device(options.device)
    model = load_model(options.model)
    with _rereadable(source) as again, Arithmetic(device, options.threads):
        seen = survey(again, options, model)
        trial = try_quality(seen, model, device, options, options.quality, ("psnr", "ms-ssim"))
    return trial, seen


@contextlib.contextmanager
def _rereadable(source: PathLike) -> Iterator[Path]:
    """A path that can be read many times: `source`, or a temporary copy of a pipe."""
    if not is_standard_stream(source) and input_size(source) is not None:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="stcodec.") as folder:
        copy = Path(folder) / "input"
        with open_input(source) as stream:
            try:
                with open(copy, "wb") as out:
                    shutil.copyfileobj(stream, out)
            except OSError as error:
                raise StcodecError(
                    f"{folder}: cannot take the copy that is needed of a pipe ({error.strerror}; "
                    "TMPDIR names another folder)"
                ) from error
        yield copy


def _to_size(
    source: Path,
    name: str,
    target: PathLike,
    options: EncodeOptions,
    notes: list[str],
    device: torch.device,
) -> Iterator[Step]:
    model = load_model(options.model)
    seen = survey(source, options, model)
    wanted = options.target_size
    if wanted is None:
        assert options.target_bitrate is not None
        wanted = max(1, round(options.target_bitrate * seen.duration / 8))
    budget = wanted - seen.overhead
    if seen.overhead > wanted * (1 + _TOLERANCE):
        raise TargetError(
            f"{name}: {wanted} bytes are out of reach: "
            f"carried streams and headers alone have {seen.overhead} bytes"
        )
    quality = _FIRST_GUESS
    for _ in range(2):
        trial = try_quality(seen, model, device, options, quality)
        yield trial
        if (quality := Control(seen.rates.table(), budget).start) == trial.quality:
            break
    plain = dataclasses.replace(options, no_larger=False, **_NO_TARGET)
    beside = (
        None
        if is_standard_stream(target) or not Path(target).parent.is_dir()
        else Path(target).parent
    )
    if beside is not None and Path(target).exists() and not Path(target).is_file():
        beside = None  # a pipe or a device: its folder is no place for files
    with temporary_folder(beside) as folder:
        best: tuple[float, EncodeResult, Path, set[int]] | None = None
        tried: set[tuple[int, ...]] = set()
        for number in range(_MOST_PASSES):
            control = Control(seen.rates.table(), budget)
            path = folder / f"{number}.stp"
            result = None
            for step in encode_steps(
                source, path, dataclasses.replace(plain, quality=control.start), [], control
            ):
                if isinstance(step, Progress):
                    yield step
                elif isinstance(step, EncodeResult):
                    result = step
            assert result is not None
            done = tuple(control.qualities)
            off = result.output_bytes / wanted - 1
            if best is None or abs(off) < abs(best[0]):
                if best is not None:
                    best[2].unlink()
                best = (off, result, path, set(done))
            else:
                path.unlink()
            at_end = (off > 0 and set(done) == {0}) or (off < 0 and set(done) == {QUALITIES - 1})
            if abs(best[0]) <= _TOLERANCE or at_end or done in tried:
                break
            tried.add(done)
            seen.rates.add_pass(control.qualities, control.sizes)
        assert best is not None
        off, result, path, used = best
        size = result.output_bytes
        if off > _TOLERANCE and used == {0}:
            raise TargetError(
                f"{name}: {wanted} bytes are out of reach: "
                f"at quality 0 the output has {size} bytes, "
                f"{seen.overhead} of them carried streams and headers"
            )
        if abs(off) > _TOLERANCE:
            why = (
                "the highest quality needs no more"
                if used == {QUALITIES - 1}
                else "no quality comes closer"
            )
            side = "over" if off > 0 else "below"
            notes.append(
                f"the output has {size} bytes, {100 * abs(off):.1f} % {side} the target: {why}"
            )
        check_larger(name, options, result.output_bytes, result.input_bytes)
        with open(path, "rb") as coded, open_output(target, options.overwrite) as output:
            shutil.copyfileobj(coded, output)
    yield dataclasses.replace(result, notes=tuple(dict.fromkeys((*result.notes, *notes))))


def _to_quality(
    source: Path,
    name: str,
    target: PathLike,
    options: EncodeOptions,
    notes: list[str],
    device: torch.device,
) -> Iterator[Step]:
    model = load_model(options.model)
    seen = survey(source, options, model)
    metric = next(m for m in _METRICS if getattr(options, m.option) is not None)
    wanted = getattr(options, metric.option)

    low, high = 0, QUALITIES  # the lowest quality that will do is in low..high; 64: none
    while low < high:
        # The highest quality is tried only when all others have failed.
        middle = min((low + high) // 2, QUALITIES - 1)
        trial = try_quality(seen, model, device, options, middle, (metric.measured,))
        yield trial
        reached = getattr(trial, metric.field)
        if reached >= wanted:
            high = middle
        else:
            low = middle + 1
    if low == QUALITIES:
        raise TargetError(
            f"{name}: {metric.label} {wanted:g}{metric.unit} is out of reach: "
            f"quality 63 gives {reached:.4g}{metric.unit}"
        )
    if not seen.whole:
        notes.append(f"quality {low} was found on {trial.frames} of {seen.frames} frames")
    plain = dataclasses.replace(options, **_NO_TARGET)
    yield from encode_steps(source, target, dataclasses.replace(plain, quality=low), notes)
