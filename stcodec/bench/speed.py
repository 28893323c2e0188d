"""Speed: frames per second of encode and decode, where the time goes, memory, and how much
arithmetic it takes.

Every encode and decode runs in a process of its own, one after another, so that its peak memory is
its own.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stcodec.bench import peers as peer_codecs
from stcodec.bench.peers import Peer
from stcodec.bench.sources import Clip, first_info, pictures, prepare, to_y4m
from stcodec.common.files import Overwrite
from stcodec.common.timing import STAGES
from stcodec.options import EncodeOptions


@dataclass(frozen=True)
class Run:
    """One encode or decode: seconds of wall clock and of all threads' CPU time, of which
    `kernel_seconds` in the kernel, start-up excluded; peak resident memory of its process, of which
    `start_megabytes` before it began; seconds by stage where they are known (threads overlap).

    On a GPU: how often the host waited for it, and the peak of its memory."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    start_megabytes: float
    stages: dict[str, float] = field(default_factory=dict)
    kernel_seconds: float = math.nan
    waits: int | None = None
    device_megabytes: float | None = None


@dataclass(frozen=True)
class Speed:
    """A codec at a size. bytes: of the file; networks: frames per second of the networks alone
    on a CPU (None for other codecs, and on other devices)."""

    codec: str
    settings: str
    size: str
    width: int
    height: int
    frames: int
    bytes: int
    encode: Run
    decode: Run
    networks: float | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Speed:
        """The inverse of `dataclasses.asdict`."""
        return cls(
            **{**values, "encode": Run(**values["encode"]), "decode": Run(**values["decode"])}
        )


def measure(
    source: Path,
    sizes: Sequence[str],
    frames: int,
    options: EncodeOptions,
    peers: dict[str, Peer],
    log: Callable[[str], None],
    threads: Sequence[int] = (0,),
) -> Iterator[Speed]:
    """Encode and decode `source`, scaled to every size (such as "720p"), with every codec and
    number of threads (0: each codec's default), all in one run."""
    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as name:
        for size in sizes:
            clip = prepare(
                source,
                Path(name),
                {},
                int(size.removesuffix("p")) / first_info(source).height,
                frames,
            )
            found: list[Speed] = []
            for count in threads:
                own = _own(clip, size, replace(options, threads=count), Path(name))
                log(line(own))
                if found:
                    log(_gain(found[0], own))
                found.append(own)
                yield own
                for label, peer in peers.items():
                    other = _peer(clip, size, label, peer, count, Path(name))
                    log(line(other))
                    log(beside(own, other))
                    yield other
            clip.path.unlink()


def count(source: Path, model: str, quality: int) -> Any:
    """The `complexity.Complexity` of a model, counted on the first 16 pictures of `source` at 360
    rows (repeated if fewer)."""
    return in_child(_count, source, model, quality)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function(*arguments)` returns in a new process, which an interrupt of this one ends."""
    with multiprocessing.get_context("spawn").Pool(1, _leave_interrupts) as pool:
        return pool.apply(function, arguments)


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _own(clip: Clip, size: str, options: EncodeOptions, folder: Path) -> Speed:
    coded, back = folder / "own.stp", folder / "own.y4m"
    encode = in_child(_encode_own, clip.path, coded, options)
    decode, networks = in_child(_decode_own, coded, back, options, clip.height, clip.width)
    settings = f"quality {options.quality}, effort {options.effort}, {_words(options.threads)}"
    settings += "" if _on_cpu(options) else f", on {options.device}"
    shape = clip.width, clip.height, clip.frames
    return Speed(
        f"stp:{options.model}",
        settings,
        size,
        *shape,
        coded.stat().st_size,
        encode,
        decode,
        networks,
    )


def _peer(clip: Clip, size: str, label: str, peer: Peer, threads: int, folder: Path) -> Speed:
    coded, back = folder / "peer.mp4", folder / "peer.y4m"
    crf = peer.crfs[1]
    encode = in_child(_encode_peer, clip, peer, crf, coded, threads)
    decode = in_child(_decode_peer, coded, back)
    shape = clip.width, clip.height, clip.frames
    return Speed(
        label, f"CRF {crf}, {_words(threads)}", size, *shape, coded.stat().st_size, encode, decode
    )


def _words(threads: int) -> str:
    return f"{threads} threads" if threads else "default threads"


def _on_cpu(options: EncodeOptions) -> bool:
    return not options.device.startswith("cuda")


def _run_on_gpu(work: Callable[[], Any]) -> Run:
    """As `_run`, of the second of two runs. Stages are those of the first, which waits for the GPU
    at their borders."""
    import torch

    from stcodec.common.timing import collect

    with collect(torch.cuda.synchronize) as times:
        work()
    torch.cuda.reset_peak_memory_stats()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        run = _run(work)
        torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchronizing" in str(warning.message) for warning in said)
    most = torch.cuda.max_memory_allocated() / 1e6
    return replace(run, stages=dict(times.seconds), waits=waits, device_megabytes=most)


def _run(work: Callable[[], Any]) -> Run:
    from stcodec.common.timing import collect

    before = _peak_memory()
    with collect() as times:
        start, cpu, kernel = time.perf_counter(), time.process_time(), os.times().system
        work()
        seconds, spent = time.perf_counter() - start, time.process_time() - cpu
        kernel = os.times().system - kernel
    return Run(seconds, spent, _peak_memory(), before, dict(times.seconds), kernel)


def _encode_own(source: Path, coded: Path, options: EncodeOptions) -> Run:
    from stcodec.codec.model_files import load_model
    from stcodec.encoder import choice
    from stcodec.flows.encode import encode_steps

    load_model(options.model)  # imports, weights and compiled loops are start-up
    choice.warm_up()
    run = _run if _on_cpu(options) else _run_on_gpu
    options = replace(options, overwrite=Overwrite.YES)  # which a second run does
    return run(lambda: list(encode_steps(source, coded, options)))


def _decode_own(
    coded: Path, back: Path, options: EncodeOptions, height: int, width: int
) -> tuple[Run, float | None]:
    import torch

    import stcodec
    from stcodec.bench.complexity import networks_alone
    from stcodec.codec import kernels
    from stcodec.codec.model_files import load_model
    from stcodec.common.arithmetic import Arithmetic

    loaded = load_model(options.model)
    kernels.warm_up()

    def decode() -> None:
        threads, device = options.threads, options.device
        stcodec.decode(coded, back, threads=threads, device=device, overwrite=True)

    if not _on_cpu(options):
        return _run_on_gpu(decode), None
    run = _run(decode)
    with Arithmetic(torch.device("cpu"), options.threads):
        return run, networks_alone(loaded, height, width)


def _encode_peer(clip: Clip, peer: Peer, crf: int, coded: Path, threads: int) -> Run:
    return _run(lambda: peer_codecs.encode(clip, peer, crf, coded, threads))


def _decode_peer(coded: Path, back: Path) -> Run:
    return _run(lambda: to_y4m(coded, back))


def _count(source: Path, model: str, quality: int) -> Any:
    from stcodec.bench.complexity import complexity

    with tempfile.TemporaryDirectory(prefix="stcodec-bench-") as name:
        clip = prepare(source, Path(name), {}, min(1.0, 360 / first_info(source).height), 16)
        planes = list(pictures(clip.path))
    return complexity(model, (planes * 16)[:16], quality)


def _peak_memory() -> float:
    """Peak resident memory of this process so far, in MB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        # What `getrusage` says includes the process that this one was started from.
        peaks = [
            text.split()[1] for text in status.read_text().splitlines() if text.startswith("VmHWM:")
        ]
        if peaks:
            return int(peaks[0]) * 1024 / 1e6
    try:
        import resource  # not on Windows
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def stages_of(run: Run) -> dict[str, float]:
    """Seconds by stage, in the order of `timing.STAGES`."""
    return {name: run.stages[name] for name in STAGES if name in run.stages}


def _gain(few: Speed, many: Speed) -> str:
    """How much faster more threads are."""
    encode, decode = (
        getattr(few, way).seconds / getattr(many, way).seconds for way in ("encode", "decode")
    )
    return (
        f"{many.size}: encode {encode:.2f}, decode {decode:.2f} times as fast "
        f"({few.settings} -> {many.settings})"
    )


def beside(own: Speed, other: Speed) -> str:
    """How fast our encode and decode are beside another codec's encode, by wall clock and, in
    brackets, by CPU time."""
    parts = []
    for name, run in (("encode", own.encode), ("decode", own.decode)):
        wall = other.encode.seconds / run.seconds
        cpu = other.encode.cpu_seconds / run.cpu_seconds
        kernel = run.kernel_seconds / run.cpu_seconds
        parts.append(f"{name} {wall:.2f} ({cpu:.2f}) of its encode, {kernel:.0%} in the kernel")
    return f"{own.size} beside {other.codec}: {'; '.join(parts)}"


def line(speed: Speed) -> str:
    """What was measured of a codec at a size, for people."""
    rates = [f"{speed.frames / run.seconds:8.2f}" for run in (speed.encode, speed.decode)]
    text = (
        f"{speed.size:<6} {speed.codec:<18} encode {rates[0]} frames/s   decode {rates[1]} frames/s"
    )
    text += f"   peak {speed.encode.megabytes:.0f}, {speed.decode.megabytes:.0f} MB"
    if speed.networks is not None:
        text += f"   networks alone {speed.networks:.2f} frames/s"
    for label, run in (("encode", speed.encode), ("decode", speed.decode)):
        if run.waits is not None:
            waits = run.waits / speed.frames
            text += f"\n       {label}: the GPU waited for {waits:.1f} times a frame"
            text += f", {run.device_megabytes:.0f} MB of its memory"
        if stages := stages_of(run):
            total = sum(stages.values()) or 1.0
            shares = ", ".join(f"{k} {100 * v / total:.0f} %" for k, v in stages.items())
            text += f"\n       {label}: {shares}"
    return text
