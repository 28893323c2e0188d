"""How many of the events that were drawn into a clip are found, and how much is found that is
none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

import stcodec
from stcodec.common.values import Picture, VideoInfo
from stcodec.flows.events import Event, find
from stcodec.media.y4m import Y4MWriter

WIDTH, HEIGHT, RATE = 320, 192, 25
_SLACK = 8
"""Pictures by which an event may begin earlier or end later than the object is there: a chunk."""


@dataclass(frozen=True)
class Drawn:
    """An object of `size` (height, width) samples: in pictures `start` to `end`, from `at` (y, x)
    on by `step` (y, x) a picture; `contrast`: how much brighter than the ground."""

    start: int
    end: int
    at: tuple[float, float]
    size: tuple[int, int]
    step: tuple[float, float]
    contrast: float


@dataclass(frozen=True)
class Scene:
    """A clip that is made: what happens in it, and what does not count as happening."""

    name: str
    frames: int
    drawn: tuple[Drawn, ...]
    noise: float = 2.5
    flicker: float = 0.0
    lamp: int | None = None
    shake: float = 0.0


OBJECTS = (
    Drawn(40, 90, (60, 20), (24, 16), (0, 2), 70),
    Drawn(150, 190, (40, 200), (12, 12), (1, -1.5), 60),
    Drawn(260, 300, (140, 100), (20, 24), (-2, 0), -50),
)
FAINT = (
    Drawn(50, 100, (80, 30), (20, 20), (0.5, 1), 25),
    Drawn(180, 220, (30, 250), (14, 10), (0, -1), 30),
)
SCENES = (
    Scene("objects", 360, OBJECTS),
    Scene("faint, small or slow objects", 300, FAINT),
    Scene("objects in noise", 360, OBJECTS, noise=6),
    Scene("objects in flicker", 360, OBJECTS, flicker=0.04),
    Scene("objects, shaking camera", 360, OBJECTS, shake=2.0),
    Scene("nothing, noise", 240, (), noise=6),
    Scene("nothing, flicker", 240, (), flicker=0.08),
    Scene("nothing, a lamp", 240, (), lamp=117),
    Scene("nothing, shaking camera", 240, (), shake=3.0),
)


@dataclass(frozen=True)
class Outcome:
    """What was found in a scene: of the events found, how many are drawn; of those drawn, how many
    are found; pictures of events that nothing drawn explains; CPU seconds to find them, and seconds
    that the clip plays."""

    scene: str
    found: int
    right: int
    drawn: int
    seen: int
    false_pictures: int
    seconds: float
    playing: float


def pictures(scene: Scene, seed: int) -> Iterator[np.ndarray]:
    """The luma of each picture, uint8 [HEIGHT, WIDTH]."""
    rng = np.random.default_rng(seed)
    margin = 16
    ground = _texture(rng, HEIGHT + 2 * margin, WIDTH + 2 * margin)
    looks = [_texture(rng, *one.size) * 0.6 + 44 + one.contrast for one in scene.drawn]
    for t in range(scene.frames):
        dy, dx = (margin + round(scene.shake * wave) for wave in (np.sin(1.1 * t), np.cos(0.7 * t)))
        view = ground[dy : dy + HEIGHT, dx : dx + WIDTH].copy()
        if scene.lamp is not None and t >= scene.lamp:
            view = view * 1.3 + 15
        view *= 1 + scene.flicker * np.sin(2.1 * t)
        for one, look in zip(scene.drawn, looks, strict=True):
            if one.start <= t < one.end:
                _place(view, look, one, t - one.start)
        view += rng.normal(0, scene.noise, view.shape)
        yield np.clip(np.round(view), 0, 255).astype(np.uint8)


def _place(view: np.ndarray, look: np.ndarray, one: Drawn, age: int) -> None:
    """Put an object into a picture, where it is after so many pictures; what is outside is cut
    off."""
    y, x = (round(p + s * age) for p, s in zip(one.at, one.step, strict=True))
    top, left = max(-y, 0), max(-x, 0)
    if y + one.size[0] > 0 and x + one.size[1] > 0:
        seen = look[top : max(HEIGHT - y, 0), left : max(WIDTH - x, 0)]
        view[y + top : y + top + seen.shape[0], x + left : x + left + seen.shape[1]] = seen


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A ground with edges and slopes, float [height, width]."""
    coarse = np.kron(rng.normal(size=(height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))
    y, x = np.mgrid[0:height, 0:width]
    kernel = np.ones(5) / 5
    for axis in (0, 1):
        coarse = np.apply_along_axis(np.convolve, axis, coarse, kernel, "same")
    return 110 + 25 * coarse[:height, :width] + 20 * np.sin(x / 17) * np.cos(y / 11)


def measure(scene: Scene, seed: int = 1, quality: int = 32, model: str = "dct") -> Outcome:
    """Draw a scene, encode it, and look for events."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded = Path(folder) / "scene.y4m", Path(folder) / "scene.stp"
        write(source, scene, seed)
        stcodec.encode(source, coded, quality=quality, model=model, effort=0)
        start = time.process_time()
        found = [one for one in find(coded) if isinstance(one, Event)]
        seconds = time.process_time() - start
    return compared(scene, found, seconds)


def write(path: Path, scene: Scene, seed: int) -> None:
    """Draw a scene into a YUV4MPEG2 file."""
    rate, one = Fraction(RATE), Fraction(1)
    info = VideoInfo(WIDTH, HEIGHT, 8, 1 / rate, rate, one, 0, 1, 2, 2, 2, 1, scene.frames, None)
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    with open(path, "wb") as stream:
        writer = Y4MWriter(stream, info)
        for i, luma in enumerate(pictures(scene, seed)):
            writer.write(Picture((luma, grey, grey), i, 1))


def compared(scene: Scene, found: list[Event], seconds: float) -> Outcome:
    """Found events against drawn ones: one explains the other where they have time in common and
    the box touches the way of the object."""
    spans = [(round(one.start * RATE), round(one.end * RATE)) for one in found]
    right = [
        any(_alike(event, span, one) for one in scene.drawn)
        for event, span in zip(found, spans, strict=True)
    ]
    seen = [
        any(_alike(event, span, one) for event, span in zip(found, spans, strict=True))
        for one in scene.drawn
    ]
    explained = {t for one in scene.drawn for t in range(one.start - _SLACK, one.end + _SLACK)}
    false = sum(t not in explained for a, b in spans for t in range(a, b))
    playing = scene.frames / RATE
    return Outcome(
        scene.name, len(found), sum(right), len(scene.drawn), sum(seen), false, seconds, playing
    )


def _alike(event: Event, span: tuple[int, int], one: Drawn) -> bool:
    if span[0] >= one.end or span[1] <= one.start:
        return False
    last = [p + s * (one.end - 1 - one.start) for p, s in zip(one.at, one.step, strict=True)]
    x, y, width, height = event.box
    for low, high, start, end, size in (
        (y, y + height, one.at[0], last[0], one.size[0]),
        (x, x + width, one.at[1], last[1], one.size[1]),
    ):
        if high <= min(start, end) or low >= max(start, end) + size:
            return False
    return True


def run(seeds: int, quality: int, model: str, say: Callable[[str], None]) -> None:
    """Measure all scenes with several grounds, and print a table with precision and recall."""
    say("| scene | found | of these drawn | drawn | of these found | false pictures | speed |")
    say("|---|---:|---:|---:|---:|---:|---:|")
    totals = np.zeros(5)
    for scene in SCENES:
        each = [measure(scene, seed, quality, model) for seed in range(1, seeds + 1)]
        found, right, drawn, seen, false = (
            sum(getattr(one, name) for one in each)
            for name in ("found", "right", "drawn", "seen", "false_pictures")
        )
        totals += (found, right, drawn, seen, false)
        speed = sum(one.playing for one in each) / sum(one.seconds for one in each)
        say(f"| {scene.name} | {found} | {right} | {drawn} | {seen} | {false} | {speed:.0f}x |")
    found, right, drawn, seen, false = totals
    say("")
    say(
        f"precision {right / max(found, 1):.3f}, recall {seen / max(drawn, 1):.3f}, "
        f"{false:.0f} false pictures; speed is playing time for CPU time"
    )
