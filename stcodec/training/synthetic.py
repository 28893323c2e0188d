"""Photos and pages in motion: scenes made of layers, each with its own path, rendered on the device
that holds the pictures.

Real motion is scarce, so this part is rich: pan, zoom, rotation and shake of a camera; foregrounds
of several shapes and depths that move on their own and cover each other; motion blur, noise, grain;
fades, cross-fades and hard cuts; cameras that stand still before small moving things; pages that
scroll by whole samples, with windows that open, cursors and text that appears.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.training.pack import Planes8

Clip = tuple[Tensor, Tensor, Tensor]
_BLUR_STEPS = 4


@dataclass
class Path:
    """Where a layer is looked at over time: centre (x, y) in samples of its texture, its samples
    per sample of the screen, turn."""

    centre: tuple[float, float]
    scale: float
    velocity: tuple[float, float] = (0.0, 0.0)
    acceleration: tuple[float, float] = (0.0, 0.0)
    swing: tuple[float, float, float] = (0.0, 0.0, 1.0)
    zoom: float = 0.0
    turn: float = 0.0
    angle: float = 0.0
    shake: list[tuple[float, float]] = field(default_factory=list)
    whole: bool = False

    def at(self, t: float) -> tuple[float, float, float, float]:
        """Centre x and y, scale, angle at time t, in frames."""
        wave = math.sin(self.swing[2] * t)
        x = (
            self.centre[0]
            + self.velocity[0] * t
            + self.acceleration[0] * t * t / 2
            + self.swing[0] * wave
        )
        y = (
            self.centre[1]
            + self.velocity[1] * t
            + self.acceleration[1] * t * t / 2
            + self.swing[1] * wave
        )
        if self.shake:
            dx, dy = self.shake[int(t) % len(self.shake)]
            x, y = x + dx, y + dy
        if self.whole:
            x, y = round(x), round(y)
        return x, y, self.scale * math.exp(self.zoom * t), self.angle + self.turn * t


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def random_path(
    rng: random.Random,
    texture: tuple[int, int],
    screen: tuple[int, int],
    speed: float,
    scale: float,
) -> Path:
    """A path over a texture (height, width): smooth, with a speed of about `speed` samples of the
    screen per frame."""
    angle = rng.uniform(0, 2 * math.pi)
    fast = speed * scale
    margin = [max(0.0, (t - s * scale) / 2) for t, s in zip(texture, screen, strict=True)]
    path = Path(
        (
            texture[1] / 2 + rng.uniform(-margin[1], margin[1]),
            texture[0] / 2 + rng.uniform(-margin[0], margin[0]),
        ),
        scale,
        (fast * math.cos(angle), fast * math.sin(angle)),
    )
    if rng.random() < 0.3:
        path.acceleration = rng.uniform(-0.1, 0.1) * fast, rng.uniform(-0.1, 0.1) * fast
    if rng.random() < 0.3:
        path.swing = rng.uniform(0, 3) * scale, rng.uniform(0, 3) * scale, rng.uniform(0.2, 1.2)
    if rng.random() < 0.3:
        path.zoom = rng.uniform(-0.012, 0.012)
    if rng.random() < 0.25:
        path.turn = rng.uniform(-0.015, 0.015)
    if rng.random() < 0.3:
        path.angle = rng.uniform(-0.5, 0.5)
    if rng.random() < 0.2:
        strength = rng.uniform(0.2, 2.0) * scale
        path.shake = [(rng.gauss(0, strength), rng.gauss(0, strength)) for _ in range(64)]
    return path


@dataclass
class Shape:
    """The part of a layer that covers what lies behind: ellipse, box, star or stripe around
    `centre` of the texture, in its samples."""

    kind: str
    centre: tuple[float, float]
    radius: tuple[float, float]
    soft: float
    phase: float = 0.0

    def mask(self, x: Tensor, y: Tensor) -> Tensor:
        """Cover in [0, 1] at positions in the texture."""
        u, v = (x - self.centre[0]) / self.radius[0], (y - self.centre[1]) / self.radius[1]
        if self.kind == "box":
            distance = torch.maximum(u.abs(), v.abs())
        elif self.kind == "stripe":
            distance = u.abs()
        else:
            distance = torch.hypot(u, v)
            if self.kind == "star":
                wobble = torch.cos(5 * torch.atan2(v, u) + self.phase)
                distance = distance * (1 + 0.3 * wobble)
        edge = self.soft / min(self.radius)
        return ((1 - distance) / max(edge, 1e-3) + 0.5).clamp(0, 1)


@dataclass
class Layer:
    """A texture (planes uint8 [1, H, W]) on its path; `shape` None for a background, which mirrors
    at its edges."""

    texture: Planes8
    path: Path
    shape: Shape | None = None
    appears: int = 0


class Renderer:
    """Renders layers to planes float [T, H, W] in 0..255."""

    def __init__(self, screen: tuple[int, int], frames: int, device: torch.device) -> None:
        self.screen, self.frames, self.device = screen, frames, device

    def scene(self, layers: Sequence[Layer], blur: float = 0.0) -> Clip:
        """All layers, back to front; blur: exposure in frames."""
        times = [
            t + (k / _BLUR_STEPS - 0.5) * blur
            for t in range(self.frames)
            for k in range(_BLUR_STEPS if blur else 1)
        ]
        canvas: list[Tensor] = []
        for layer in layers:
            poses = torch.tensor([layer.path.at(t) for t in times], dtype=torch.float32).to(
                self.device
            )
            for index in range(3):
                height, width = (n if index == 0 else n // 2 for n in self.screen)
                density = 1.0 if index == 0 else 2.0
                x, y = self._positions(poses, height, width, density)
                picture = self._sample(layer, index, x, y)
                if layer.shape is None and len(canvas) < 3:
                    canvas.append(picture)
                    continue
                cover = torch.ones_like(x) if layer.shape is None else layer.shape.mask(x, y)
                if layer.appears:
                    there = (
                        torch.arange(len(times), device=self.device)
                        >= layer.appears * len(times) // self.frames
                    )
                    cover = cover * there.view(-1, 1, 1)
                canvas[index] = torch.lerp(canvas[index], picture, cover)
        if blur:
            canvas = [p.view(self.frames, _BLUR_STEPS, *p.shape[1:]).mean(1) for p in canvas]
        return canvas[0], canvas[1], canvas[2]

    def _positions(
        self, poses: Tensor, height: int, width: int, density: float
    ) -> tuple[Tensor, Tensor]:
        """Where each sample of the screen lies in the texture, [T, h, w], in luma samples."""
        down = (
            (torch.arange(height, device=self.device) + 0.5) * density - self.screen[0] / 2
        ).view(1, -1, 1)
        right = (
            (torch.arange(width, device=self.device) + 0.5) * density - self.screen[1] / 2
        ).view(1, 1, -1)
        x, y, scale, angle = (poses[:, i].view(-1, 1, 1) for i in range(4))
        cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
        return x + cosine * right - sine * down, y + sine * right + cosine * down

    def _sample(self, layer: Layer, index: int, x: Tensor, y: Tensor) -> Tensor:
        texture = layer.texture[index].to(self.device).float()[None]
        height, width = layer.texture[0].shape[1:]
        # Textures seen from afar are averaged first, or they would flicker.
        shrink = int(layer.path.scale + 0.35)
        if shrink > 1:
            texture = F.avg_pool2d(texture, shrink, ceil_mode=False)
            height, width = (n // shrink * shrink for n in (height, width))
        grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], 3)
        found = F.grid_sample(
            texture.expand(len(x), -1, -1, -1),
            grid,
            mode="bicubic",
            padding_mode="reflection",
            align_corners=False,
        )
        return found[:, 0]


class Scenes:
    """Random scenes of photos and pages; `pages` gives the page of any number."""

    def __init__(
        self,
        photos: Sequence[Planes8],
        pages: Callable[[int], Planes8],
        screen: tuple[int, int],
        frames: int,
        device: torch.device,
    ) -> None:
        self.photos, self.pages, self.screen, self.frames = photos, pages, screen, frames
        self.renderer = Renderer(screen, frames, device)

    def moving(self, rng: random.Random) -> Clip:
        """Photos in motion."""
        clip = self._scene(rng)
        event = rng.random()
        if event < 0.10:
            clip = self._joined(rng, clip, self._scene(rng))
        elif event < 0.22:
            step = rng.uniform(-0.035, 0.035)
            gain = torch.tensor(
                [max(0.0, 1 + step * t) for t in range(self.frames)], device=clip[0].device
            ).view(-1, 1, 1)
            clip = (
                (clip[0] - 16) * gain + 16,
                (clip[1] - 128) * gain + 128,
                (clip[2] - 128) * gain + 128,
            )
        return clip

    def _joined(self, rng: random.Random, first: Clip, second: Clip) -> Clip:
        """A hard cut, or a cross-fade."""
        length = rng.choice((0, 0, 4, 8, 16))
        start = rng.randrange(1, self.frames)
        part = [min(1.0, max(0.0, (t - start + 1) / max(1, length))) for t in range(self.frames)]
        weight = torch.tensor(part, device=first[0].device).view(-1, 1, 1)
        mixed = [torch.lerp(a, b, weight) for a, b in zip(first, second, strict=True)]
        return mixed[0], mixed[1], mixed[2]

    def _texture(self, rng: random.Random) -> Planes8:
        return self.photos[rng.randrange(len(self.photos))]

    def _layer(self, rng: random.Random, speed: float, scale: float) -> Layer:
        texture = self._texture(rng)
        size = texture[0].shape[1], texture[0].shape[2]
        scale = min(scale, size[0] / self.screen[0] * 1.2, size[1] / self.screen[1] * 1.2)
        return Layer(texture, random_path(rng, size, self.screen, speed, scale))

    def _shape(self, rng: random.Random, layer: Layer, size: float) -> Shape:
        kind = rng.choice(("ellipse", "ellipse", "box", "star", "star", "stripe"))
        radius = [
            _log_uniform(rng, 0.5, 2.0) * size * min(self.screen) * layer.path.scale / 2
            for _ in range(2)
        ]
        soft = rng.choice((0.7, 1.0, 1.5, 4.0)) * layer.path.scale
        x, y = layer.path.centre
        far = [
            rng.uniform(-0.4, 0.4) * n * layer.path.scale for n in (self.screen[1], self.screen[0])
        ]
        return Shape(
            kind, (x + far[0], y + far[1]), (radius[0], radius[1]), soft, rng.uniform(0, 6)
        )

    def _scene(self, rng: random.Random) -> Clip:
        still = rng.random() < 0.25
        speed = 0.0 if still else _log_uniform(rng, 0.05, 12.0)
        back = self._layer(rng, speed, _log_uniform(rng, 0.7, 2.2))
        if still:
            back.path = Path(back.path.centre, back.path.scale, angle=back.path.angle)
        layers = [back]
        count = rng.choice((1, 1, 2, 3)) if still else rng.choice((0, 0, 1, 1, 2, 4))
        parallax = not still and rng.random() < 0.5
        for depth in range(count):
            own = speed * (1.3 + 0.5 * depth) if parallax else _log_uniform(rng, 0.1, 10.0)
            layer = self._layer(rng, own, _log_uniform(rng, 0.7, 2.2))
            if parallax:
                ratio = (1.3 + 0.5 * depth) * layer.path.scale / back.path.scale
                layer.path.velocity = back.path.velocity[0] * ratio, back.path.velocity[1] * ratio
            layer.shape = self._shape(
                rng, layer, rng.uniform(0.08, 0.2) if still else rng.uniform(0.15, 0.6)
            )
            layers.append(layer)
        blur = rng.choice((0.0, 0.0, 0.0, 0.5, 1.0))
        return self.renderer.scene(layers, blur)

    def screen_content(self, rng: random.Random) -> Clip:
        """Pages that scroll, slide, and change in places."""
        back = self._page(rng)
        layers = [back]
        kind = rng.random()
        if kind < 0.55:
            back.path.velocity = (
                0.0,
                float(rng.choice((1, 2, 2, 3, 4, 6, 8, 12, 20)) * rng.choice((-1, 1))),
            )
            if rng.random() < 0.3:
                back.path.acceleration = 0.0, -back.path.velocity[1] / self.frames
        elif kind < 0.65:
            back.path.velocity = float(rng.choice((2, 5, 10, 16)) * rng.choice((-1, 1))), 0.0
        for _ in range(rng.choice((0, 1, 1, 2))):
            window = self._page(rng)
            # Half of them appear at once, the others slide.
            if rng.random() < 0.5:
                window.appears = rng.randrange(1, max(2, self.frames))
            else:
                window.path.velocity = float(rng.randrange(-6, 7)), float(rng.randrange(-6, 7))
            size = rng.uniform(0.05, 0.5)
            radius = size * self.screen[1] / 2, rng.uniform(0.3, 1.0) * size * self.screen[0] / 2
            x, y = window.path.centre
            place = (
                round(x + rng.uniform(-0.3, 0.3) * self.screen[1]),
                round(y + rng.uniform(-0.3, 0.3) * self.screen[0]),
            )
            window.shape = Shape("box", place, radius, 0.01)
            layers.append(window)
        if self.photos and rng.random() < 0.25:
            film = self._layer(rng, _log_uniform(rng, 0.3, 5.0), 1.0)
            film.shape = Shape(
                "box", film.path.centre, (self.screen[1] / 4.0, self.screen[0] / 4.0), 0.01
            )
            layers.append(film)
        return self.renderer.scene(layers)

    def _page(self, rng: random.Random) -> Layer:
        texture = self.pages(rng.randrange(1 << 20))
        height, width = texture[0].shape[1:]
        # Whole samples, and an even number of them for chroma.
        y = self.screen[0] // 2 + 2 * rng.randrange(0, max(1, (height - self.screen[0]) // 2))
        x = self.screen[1] // 2 + 2 * rng.randrange(0, max(1, (width - self.screen[1]) // 2))
        return Layer(texture, Path((float(x), float(y)), 1.0, whole=True))


def with_noise(clip: Clip, rng: random.Random, generator: torch.Generator) -> Clip:
    """Sensor noise or film grain (coarser), new in every frame, or clean."""
    kind = rng.random()
    if kind < 0.6:
        return clip
    strength = _log_uniform(rng, 0.4, 5.0)
    done = []
    for index, plane in enumerate(clip):
        noise = torch.randn(plane.shape, generator=generator, device=plane.device)
        if kind < 0.75:
            noise = F.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0] * 2
        done.append(plane + noise * (strength if index == 0 else strength * 0.5))
    return done[0], done[1], done[2]
