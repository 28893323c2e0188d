"""Much at once, long, large: `python -m tests.load [NAME ...]`, in the root of the repository.

Each prints a line with what it came to, and fails where something is not as it should be. Figures
are kept in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.media import clip, frame_of, write_clip

DATA = Path(__file__).parent / "data"
# As the command does; what is forked has loaded libraries that ask for it already.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
FAST = ("--model", "dct", "--effort", "0", "--quiet")
_MEGABYTE = 1 << 20


class Command:
    """A command that runs, and the memory of its processes from second to second."""

    def __init__(self, *arguments: object) -> None:
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stcodec", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.memory: list[int] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.memory.append(sum(map(_resident, _family(self.process.pid))))
            time.sleep(1)

    def end(self, code: int = 0) -> float:
        """Wait for it; seconds that it took. AssertionError where it ends otherwise."""
        said = self.process.communicate()[1]
        assert self.process.returncode == code, (self.process.args, said)
        return time.monotonic() - self.begun


def _family(number: int) -> list[int]:
    """A process, and those that it has started."""
    found = [number]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:
                continue
    return found


def _resident(number: int) -> int:
    """Bytes of memory, 0 where the process has ended."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def encodes(folder: Path) -> str:
    """Eight encodes at once, of the same video: the same bytes as those of one."""
    Command("encode", *FAST, DATA / "butterfly.mp4", folder / "alone.stp").end()
    begun = time.monotonic()
    running = [
        Command("encode", *FAST, DATA / "butterfly.mp4", folder / f"{n}.stp") for n in range(8)
    ]
    for command in running:
        command.end()
    took, alone = time.monotonic() - begun, (folder / "alone.stp").read_bytes()
    assert all((folder / f"{n}.stp").read_bytes() == alone for n in range(8))
    assert len(os.listdir(folder)) == 9
    most = max(max(c.memory) for c in running) // _MEGABYTE
    return f"8 encodes at once: {took:.0f} s, at most {most} MB each, the same bytes"


def batch(folder: Path, count: int = 1000) -> str:
    """A batch of a thousand tiny files, there, back, and once more with nothing to do."""
    (folder / "in").mkdir()
    first = write_clip(folder / "in" / "0000.mkv", clip(2, 32, 32))
    for number in range(1, count):
        (folder / "in" / f"{number:04}.mkv").write_bytes(first.read_bytes())
    there = Command("batch", folder / "in", "-o", folder / "out", "--jobs", "2", *FAST)
    seconds = there.end()
    coded = sorted((folder / "out").glob("*.stp"))
    assert len(coded) == count and len({p.read_bytes() for p in coded}) == 1
    again = Command("batch", folder / "in", "-o", folder / "out", "--jobs", "2", *FAST).end()
    most = [_at(there.memory, share) for share in (0.25, 0.95)]
    return (
        f"{count} files of 2 pictures: {seconds:.0f} s ({1000 * seconds / count:.0f} ms each), "
        f"memory at a quarter {most[0]} MB, at the end {most[1]} MB "
        f"(3 processes); once more, all done already: {again:.1f} s"
    )


def _at(memory: Sequence[int], share: float) -> int:
    return memory[min(len(memory) - 1, int(share * len(memory)))] // _MEGABYTE


def _repeated(path: Path, frames: int, width: int = 64, height: int = 48, rate: int = 25) -> Path:
    """A video of so many pictures: the packets of a clip with a change of scene, again and again,
    and sound."""
    with av.open(str(_period(path.with_name("period.mkv"), width, height, rate))) as period:
        packets = [p for p in period.demux() if p.size]
        streams = {s.index: s for s in period.streams}
        with av.open(str(path), "w") as out:
            copies = {i: out.add_stream_from_template(s) for i, s in streams.items()}
            for begin in range(0, frames, _PERIOD):
                for packet in packets:
                    unit = streams[packet.stream_index].time_base
                    first = round(packet.pts * unit * rate)
                    if packet.dts is None or begin + first >= frames:
                        continue
                    copy: Any = av.Packet(bytes(packet))
                    copy.time_base, copy.is_keyframe = unit, packet.is_keyframe
                    moved = round(Fraction(begin, rate) / unit)
                    copy.pts, copy.dts = packet.pts + moved, packet.dts + moved
                    copy.duration, copy.stream = packet.duration, copies[packet.stream_index]
                    out.mux(copy)
    path.with_name("period.mkv").unlink()
    return path


_PERIOD = 128  # pictures; their sound is a whole number of packets


def _period(path: Path, width: int, height: int, rate: int) -> Path:
    pictures = [p.to_ndarray() for p in clip(_PERIOD, width, height)]
    half = _PERIOD // 2
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=rate, options={"qscale": "2", "bf": "0"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"
        for number, picture in enumerate(pictures):
            samples = picture if number < half else 255 - picture
            frame = av.VideoFrame.from_ndarray(samples, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(video.encode(frame))
            length = 8000 // rate
            tone = av.AudioFrame(format="s16", layout="mono", samples=length)
            tone.planes[0].update((np.arange(length) % 40 * 50).astype(np.int16).tobytes())
            tone.sample_rate, tone.pts, tone.time_base = 8000, number * length, Fraction(1, 8000)
            out.mux(sound.encode(tone))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def long(folder: Path, frames: int = 180_000) -> str:
    """Two hours of video: memory does not grow with them."""
    rate = max(1, round(frames / 7200))
    source = _repeated(folder / "in.mkv", frames, rate=rate)
    coded, back = folder / "out.stp", folder / "back.mkv"
    encode = Command("encode", *FAST, source, coded)
    encoding = encode.end()
    verify = Command("verify", "--quiet", coded)
    verifying = verify.end()
    decode = Command("decode", "--quiet", "--crf", "30", coded, back)
    decoding = decode.end()
    with av.open(str(back)) as video:
        assert sum(p.size > 0 for p in video.demux(video=0)) == frames
    hours = frames / rate / 3600
    lines = [f"{hours:.2g} h: {frames} pictures of 64x48 with sound, {coded.stat().st_size} bytes"]
    for name, command, seconds in (
        ("encode", encode, encoding),
        ("verify", verify, verifying),
        ("decode", decode, decoding),
    ):
        shown = ", ".join(f"{_at(command.memory, s)}" for s in (0.1, 0.25, 0.5, 0.75, 0.98))
        lines.append(f"{name} {seconds:.0f} s, memory at 10, 25, 50, 75, 98 %: {shown} MB")
    return "; ".join(lines)


def large(folder: Path) -> str:
    """The widest picture there is."""
    rng = np.random.default_rng(1)
    width, height = 65_535, 16
    luma = np.cumsum(rng.integers(-2, 3, (height, width)), axis=1).clip(-99, 99) + 120
    chroma = np.full((height // 2, (width + 1) // 2), 128, np.uint8)
    frames = [
        frame_of([np.roll(luma, 3 * n, 1).astype(np.uint8), chroma, chroma]) for n in range(3)
    ]
    source = write_clip(folder / "in.mkv", frames, codec="ffv1")
    coding = Command("encode", *FAST, source, folder / "out.stp")
    there = coding.end()
    decoding = Command("decode", "--quiet", folder / "out.stp", folder / "back.y4m")
    back = decoding.end()
    size = (folder / "back.y4m").stat().st_size
    assert size > 3 * width * height * 3 // 2
    most = [max(c.memory) // _MEGABYTE for c in (coding, decoding)]
    return f"3 pictures of {width}x{height}: encode {there:.0f} s, {most[0]} MB; decode " + (
        f"{back:.0f} s, {most[1]} MB"
    )


def index(folder: Path) -> str:
    """An index of a million pictures, built and not encoded: opening, and finding a picture."""
    import stcodec
    from stcodec.container import records, stp
    from tests.test_container import HEADER

    said = []
    for length in (128, 16):
        data = io.BytesIO()
        writer = stp.Writer(data, HEADER)
        for number in range(0, 10**6, 16):
            times = tuple(range(number, number + 16))
            chunk = records.VideoChunk(number % length == 0, times, (1,) * 16, b"")
            writer.write_chunk(chunk)
        writer.close()
        path = folder / f"{length}.stp"
        path.write_bytes(data.getvalue())
        stcodec.open(DATA.parent / "golden" / "dct-8bit.stp").close()  # what is imported for it
        begun = time.process_time()
        video = stcodec.open(path)
        opened = time.process_time()
        access = video._access
        pts = access.stamps(access.segment_of(765_432))[0]
        found = time.process_time()
        assert 765_432 in pts
        spent = [1000 * t for t in (opened - begun, found - opened)]
        said.append(
            f"10^6 pictures, a segment for every {length}: open {spent[0]:.1f} ms of CPU time, "
            f"find one {spent[1]:.2f} ms"
        )
        video.close()
    return "; ".join(said)


def _resumed(source: Path, target: Path) -> None:
    import stcodec

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        stcodec.encode(source, target, model="dct", threads=1, resume=True)


def kills(folder: Path, count: int = 20, seed: int = 1) -> str:
    """`resume`, with encodes that are killed at random moments: the bytes of an unbroken one."""
    from stcodec.encoder import choice

    choice.warm_up()  # once, before the processes that are forked
    source = _repeated(folder / "in.mkv", 200)
    begun = time.monotonic()
    _resumed(source, folder / "whole.stp")
    seconds, right = time.monotonic() - begun, (folder / "whole.stp").read_bytes()
    rng, target, context = random.Random(seed), folder / "out.stp", get_context("fork")
    killed = done = 0
    while killed < count:
        process = context.Process(target=_resumed, args=(source, target))
        process.start()
        process.join(rng.uniform(0.02, 0.6) * seconds)
        if process.exitcode is None:
            assert process.pid is not None
            os.kill(process.pid, rng.choice([signal.SIGINT, signal.SIGKILL, signal.SIGKILL]))
            process.join()
        assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
        if target.exists():
            assert target.read_bytes() == right
            target.unlink()
            done += 1
        else:
            killed += 1
    _resumed(source, target)
    assert target.read_bytes() == right
    assert sorted(os.listdir(folder)) == ["in.mkv", "out.stp", "whole.stp"]
    return (
        f"{killed} encodes of {seconds:.0f} s broken off at random moments (seed {seed}), "
        f"{done + 1} came to their end: the bytes of the unbroken one each time, nothing left"
    )


def signals(folder: Path, count: int = 320) -> str:
    """Every command that takes its time, interrupted at random moments."""
    from tests import signals

    source = _repeated(folder / "in.mkv", 48)
    return signals.signals(folder, source, signals.prepared(folder, source), count)


LOADS: dict[str, Callable[..., str]] = {
    one.__name__: one for one in (encodes, batch, long, large, index, kills, signals)
}


def main() -> None:
    """Those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *LOADS])
    parser.add_argument("--count", type=int, help="files, pictures or kills, instead of the usual")
    chosen = parser.parse_args()
    for name in chosen.names or LOADS:
        with tempfile.TemporaryDirectory() as folder:
            more = [] if chosen.count is None else [chosen.count]
            print(f"{name}: {LOADS[name](Path(folder), *more)}", flush=True)


if __name__ == "__main__":
    main()
