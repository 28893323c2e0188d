"""Training pictures: crops of real clips, and photos set in synthetic motion."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.errors import InputError
from stcodec.media import Planes
from stcodec.video import Picture, VideoReader

VIDEO_ENDINGS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m", ".gif", ".h264"}
PHOTO_ENDINGS = {".webp", ".jpg", ".jpeg", ".png"}
Clip = list[Planes]


def training_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Videos and photos below `folder`, in order of name. InputError if there is neither."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    videos = [p for p in files if p.suffix.lower() in VIDEO_ENDINGS]
    photos = [p for p in files if p.suffix.lower() in PHOTO_ENDINGS]
    if not videos and not photos:
        raise InputError(f"{folder}: holds no videos and no photos")
    return videos, photos


def clips(
    folder: Path, count: int, frames: int, size: tuple[int, int], seed: int, photo_share: float = 0.25
) -> Iterator[Clip]:
    """`count` random training clips of `frames` 8-bit pictures of at most `size` (height, width, multiples of 16).

    Real clips: random start, time stride 1-2, down-scaling, crop, reversal and flips. Photos: pan, zoom and rotation of a
    background with a moving foreground in half of them, grain, fading brightness. Files that cannot be used are passed over.
    """
    rng = random.Random(seed)
    videos, photos = training_files(folder)
    made = 0
    for attempt in range(count * 20):
        if made == count:
            return
        use_photo = bool(photos) and (not videos or rng.random() < photo_share)
        try:
            if use_photo:
                clip = _moving_photo(rng, photos, frames, size)
            else:
                clip = _real_clip(rng, videos[attempt % len(videos)], frames, size)
        except InputError:
            continue
        if clip is not None:
            made += 1
            yield clip


def _pictures(path: Path, limit: int, start: int = 0) -> list[Planes]:
    found = []
    with VideoReader(path, carry="none") as video:
        if video.info.bit_depth != 8:
            return []
        for number, item in enumerate(i for i in video if isinstance(i, Picture)):
            if number >= start:
                found.append(item.planes)
            if len(found) == limit:
                break
    return found


def _real_clip(rng: random.Random, path: Path, frames: int, size: tuple[int, int]) -> Clip | None:
    stride = rng.choice((1, 1, 1, 2))
    pictures = _pictures(path, frames * stride, rng.randrange(0, 80))[::stride]
    if len(pictures) < frames:
        pictures = _pictures(path, frames)
    if len(pictures) < frames:
        return None
    height, width = pictures[0][0].shape
    smallest = max(size[0] / height, size[1] / width)
    scale = 1.0 if smallest >= 1 else max(smallest, math.exp(rng.uniform(math.log(0.4), 0.0)))
    crop = min(size[0], int(height * scale)) // 16 * 16, min(size[1], int(width * scale)) // 16 * 16
    if min(crop) < 64:
        return None
    y = rng.randrange(0, (int(height * scale) - crop[0]) // 2 + 1) * 2
    x = rng.randrange(0, (int(width * scale) - crop[1]) // 2 + 1) * 2
    flip = rng.random() < 0.5
    done = []
    for planes in pictures:
        small = [_resize(p, scale) if scale < 1 else p for p in planes]
        cut = [small[0][y : y + crop[0], x : x + crop[1]]]
        cut += [p[y // 2 : (y + crop[0]) // 2, x // 2 : (x + crop[1]) // 2] for p in small[1:]]
        if cut[1].shape != (crop[0] // 2, crop[1] // 2):
            return None
        done.append(tuple(np.ascontiguousarray(p[:, ::-1] if flip else p) for p in cut))
    return done[::-1] if rng.random() < 0.3 else done  # type: ignore[return-value]


def _resize(plane: np.ndarray, scale: float) -> np.ndarray:
    tensor = torch.from_numpy(plane.astype(np.float32))[None, None]
    height, width = int(plane.shape[0] * scale + 0.5), int(plane.shape[1] * scale + 0.5)
    small = F.interpolate(tensor, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return small[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def _moving_photo(rng: random.Random, photos: Sequence[Path], frames: int, size: tuple[int, int]) -> Clip | None:
    background = _pictures(rng.choice(photos), 1)
    if not background or min(background[0][0].shape) < max(size) // 2:
        return None
    foreground = _pictures(rng.choice(photos), 1) if rng.random() < 0.5 else None
    paths = [_Path(rng) for _ in range(2)]
    mask_shape = rng.uniform(0.15, 0.35), rng.uniform(0.15, 0.35)
    grain, fade = rng.choice((0.0, 0.0, 1.0, 2.5)), rng.choice((0.0, 0.0, 0.0, 0.01)) * rng.choice((-1, 1))
    noise = torch.Generator().manual_seed(rng.randrange(1 << 30))
    done = []
    for t in range(frames):
        planes = []
        for index, plane in enumerate(background[0]):
            shape = (size[0], size[1]) if index == 0 else (size[0] // 2, size[1] // 2)
            grid = paths[0].grid(t, shape)
            picture = _sample(plane, grid)
            if foreground is not None:
                over = paths[1].grid(t, shape)
                inside = (over[0, ..., 0] / mask_shape[1]) ** 2 + (over[0, ..., 1] / mask_shape[0]) ** 2 < 1
                picture = torch.where(inside, _sample(foreground[0][index], over), picture)
            picture = picture * (1 + fade * t) + grain * (index == 0) * torch.randn(shape, generator=noise)
            planes.append(picture.round().clamp(0, 255).to(torch.uint8).numpy())
        done.append((planes[0], planes[1], planes[2]))
    return done


class _Path:
    """Smooth affine motion over a photo: position, zoom and rotation with constant and swinging parts."""

    def __init__(self, rng: random.Random) -> None:
        self.centre = rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)
        speed = math.exp(rng.uniform(math.log(2e-4), math.log(2e-2)))
        angle = rng.uniform(0, 2 * math.pi)
        self.velocity = speed * math.cos(angle), speed * math.sin(angle)
        self.swing = rng.uniform(0, 0.006), rng.uniform(0.2, 1.0)
        self.zoom = rng.uniform(0.3, 0.6), rng.choice((0.0, 0.0, rng.uniform(-0.01, 0.01)))
        self.turn = rng.choice((0.0, 0.0, rng.uniform(-0.01, 0.01)))

    def grid(self, t: int, shape: tuple[int, int]) -> Tensor:
        """Sampling positions [1, h, w, 2] in the photo's normalised coordinates."""
        zoom, turn = self.zoom[0] * math.exp(self.zoom[1] * t), self.turn * t
        swing = self.swing[0] * math.sin(self.swing[1] * t)
        x = self.centre[0] + self.velocity[0] * t + swing
        y = self.centre[1] + self.velocity[1] * t - swing
        cosine, sine = zoom * math.cos(turn), zoom * math.sin(turn)
        theta = torch.tensor([[[cosine, -sine, x], [sine, cosine, y]]])
        return F.affine_grid(theta, [1, 1, *shape], align_corners=False)


def _sample(plane: np.ndarray, grid: Tensor) -> Tensor:
    picture = torch.from_numpy(plane.astype(np.float32))[None, None]
    shrink = max(1, int(min(plane.shape) * 0.45 / max(grid.shape[1:3])))
    if shrink > 1:
        picture = F.avg_pool2d(picture, shrink)
    return F.grid_sample(picture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)[0, 0]
