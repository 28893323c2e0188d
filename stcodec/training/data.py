"""Batches of crops from a pack, augmented on the device that holds it: real clips, photos in
motion, screen content."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec.blocks import QUALITY_LEVELS
from stcodec.codec.patches import CHUNK_FRAMES
from stcodec.codec.tree import SHAPES
from stcodec.common.values import Planes
from stcodec.errors import InputError
from stcodec.training.batch import Batch
from stcodec.training.pack import Planes8, rgb_of_planes
from stcodec.training.screens import page
from stcodec.training.synthetic import Clip, Scenes, with_noise

_PAGES = 48
# How often each tree of a chunk is drawn: about as often as the encoder chooses it.
_TREES = tuple(SHAPES + shape for shape in (0, 0, 0, 0, 0, 0, 1, 1, 2))
_LONGEST_STRIDE = 3
_SMALLEST = 0.4


@dataclass(frozen=True)
class DataSettings:
    """A batch: `count` crops of `chunks` chunks at height x width (0: of single pictures); shares
    of photos, in motion if there are chunks, and of screen content. leaf_share: share of batches
    with two-sided frames, the others have key frames alone. plans: how many sequences of trees
    there are (0: any)."""

    count: int
    height: int
    width: int
    chunks: int = 2
    photo_share: float = 0.3
    screen_share: float = 0.12
    seed: int = 1
    leaf_share: float = 1.0
    plans: int = 0


class Data:
    """What batches are drawn from. Batch number i is the same whenever it is drawn."""

    def __init__(
        self,
        clips: Sequence[Planes8],
        photos: Sequence[Planes8],
        settings: DataSettings,
        device: torch.device,
    ) -> None:
        if not clips and not photos:
            raise InputError("there are neither clips nor photos to train on")
        self.settings, self.device = settings, device
        frames = settings.chunks * CHUNK_FRAMES or 1
        self.frames = frames
        self.clips = [
            tuple(p.to(device) for p in clip) for clip in clips if len(clip[0]) >= CHUNK_FRAMES
        ]
        screen = settings.height, settings.width
        least = min(screen) // 2
        self._stills: list[Planes8] = [
            (y.to(device), u.to(device), v.to(device)) for y, u, v in photos
        ]
        large = [still for still in self._stills if min(still[0].shape[1:]) >= least]
        self._drawn: dict[int, Planes8] = {}
        self._photos = photos
        self.scenes = Scenes(large, self._page, screen, frames, device)
        self._weights = [min(len(clip[0]), 96) for clip in self.clips]

    def content(self) -> str:
        """What there is, in words."""
        return f"{len(self.clips)} clips, {len(self.scenes.photos)} photos"

    def _page(self, number: int) -> Planes8:
        """A page of screen content, drawn when it is first asked for."""
        number, photos = number % _PAGES, self._photos
        if number in self._drawn:
            return self._drawn[number]
        rng = random.Random(f"page {self.settings.seed} {number}")
        picture = None
        if photos and rng.random() < 0.5:
            y, u, v = (p[0].float() / 255 for p in photos[rng.randrange(len(photos))])
            picture = rgb_of_planes(y, u, v)
        height = self.settings.height + 2 * rng.randrange(80, 200)
        width = self.settings.width + 2 * rng.randrange(0, 100)
        y, u, v = page(rng, height, width, picture)
        self._drawn[number] = y.to(self.device), u.to(self.device), v.to(self.device)
        return self._drawn[number]

    def batch(self, number: int) -> Batch:
        """Batch `number`, without motion."""
        settings = self.settings
        rng = random.Random(f"{settings.seed} {number}")
        generator = torch.Generator(self.device).manual_seed(rng.randrange(1 << 40))
        crops = [self._crop(rng, generator) for _ in range(settings.count)]
        planes = []
        for i in range(3):
            stacked = torch.stack([crop[i] for crop in crops])
            # The codec sees integers.
            planes.append(stacked.round_().clamp_(0, 255).div_(255))
        levels = [rng.randrange(QUALITY_LEVELS) for _ in range(settings.count)]
        quality = torch.tensor(levels, dtype=torch.float32).to(self.device)
        drawn = rng
        if settings.plans:
            drawn = random.Random(f"plan {settings.seed} {rng.randrange(settings.plans)}")
        trees = tuple(
            SHAPES if i == 0 and drawn.random() < 0.6 else drawn.choice(_TREES)
            for i in range(settings.chunks)
        )
        keys_only = bool(trees) and rng.random() >= settings.leaf_share
        return Batch(planes[0], planes[1], planes[2], quality, trees, {}, keys_only)

    def _crop(self, rng: random.Random, generator: torch.Generator) -> Clip:
        kind = rng.random()
        settings = self.settings
        if kind < settings.screen_share:
            return self.scenes.screen_content(rng)
        if not settings.chunks:
            from_photo = self._stills and (
                kind < settings.screen_share + settings.photo_share or not self.clips
            )
            source = (
                rng.choice(self._stills)
                if from_photo
                else rng.choices(self.clips, self._weights)[0]
            )
            return self._toned(rng, self._real(rng, source))
        if self.scenes.photos and (
            kind < settings.screen_share + settings.photo_share or not self.clips
        ):
            clip = self.scenes.moving(rng)
            return with_noise(self._toned(rng, clip), rng, generator)
        if not self.clips:
            return self.scenes.screen_content(rng)
        return self._toned(rng, self._real(rng, rng.choices(self.clips, self._weights)[0]))

    def _toned(self, rng: random.Random, clip: Clip) -> Clip:
        """Some brighter or darker, with more or less contrast and colour."""
        if rng.random() < 0.5:
            return clip
        gain, colour, shift = rng.uniform(0.75, 1.25), rng.uniform(0.5, 1.3), rng.uniform(-20, 20)
        y = (clip[0] - 126) * gain + 126 + shift
        return y, (clip[1] - 128) * gain * colour + 128, (clip[2] - 128) * gain * colour + 128

    def _real(self, rng: random.Random, clip: Sequence[Tensor]) -> Clip:
        """A part of a clip in space and time, at a smaller size, mirrored, backwards."""
        count, height, width = clip[0].shape
        stride = rng.choice((1, 1, 1, 2, _LONGEST_STRIDE))
        while stride > 1 and (self.frames - 1) * stride >= count:
            stride -= 1
        length = (self.frames - 1) * stride + 1
        start = rng.randrange(max(1, count - length + 1))
        times = [start + i * stride for i in range(self.frames)]
        if times[-1] >= count:
            # Shorter than a crop: there and back again.
            times = [t % (2 * count - 2) for t in times]
            times = [min(t, 2 * count - 2 - t) for t in times]
        if rng.random() < 0.5:
            times.reverse()
        screen = (self.settings.height, self.settings.width)
        turned = rng.random() < 0.1
        if turned:
            screen = screen[1], screen[0]
        least = max(screen[0] / height, screen[1] / width)
        scale = 1.0
        if least > 1:
            scale = least
        elif rng.random() < 0.7:
            scale = math.exp(rng.uniform(math.log(max(least, _SMALLEST)), 0))
        part = [
            min(n, 2 * round(s / scale / 2)) for n, s in zip((height, width), screen, strict=True)
        ]
        top, left = (
            2 * rng.randrange((n - p) // 2 + 1) for n, p in zip((height, width), part, strict=True)
        )
        flips = [dim for dim in (1, 2) if rng.random() < (0.1, 0.5)[dim - 1]]
        done = []
        for index, plane in enumerate(clip):
            by = 1 if index == 0 else 2
            cut = plane[
                times, top // by : (top + part[0]) // by, left // by : (left + part[1]) // by
            ].float()
            size = screen[0] // by, screen[1] // by
            if cut.shape[1:] != size:
                cut = F.interpolate(
                    cut[:, None], size, mode="bicubic", antialias=True, align_corners=False
                )[:, 0]
            cut = cut.flip(flips) if flips else cut
            done.append(cut.transpose(1, 2) if turned else cut)
        return done[0], done[1], done[2]


def planes_of(batch: Batch, number: int) -> list[Planes]:
    """One crop of a batch as 8-bit pictures."""
    planes = [
        (p[number] * 255).round().to(torch.uint8).cpu().numpy() for p in (batch.y, batch.u, batch.v)
    ]
    return [(planes[0][t], planes[1][t], planes[2][t]) for t in range(len(planes[0]))]


def contact_sheet(batch: Batch, columns: int = 6) -> np.ndarray:
    """RGB picture: a crop per row, some of its frames from left to right."""
    frames = batch.y.shape[1]
    times = [round(i * (frames - 1) / (columns - 1)) for i in range(columns)]
    planes: list[Tensor] = [p.cpu() for p in (batch.y, batch.u, batch.v)]
    rows = []
    for crop in range(len(batch.y)):
        pictures = [
            rgb_of_planes(planes[0][crop, t], planes[1][crop, t], planes[2][crop, t]) for t in times
        ]
        rows.append(np.concatenate([np.pad(p, ((0, 2), (0, 2), (0, 0))) for p in pictures], 1))
    return np.concatenate(rows, 0)
