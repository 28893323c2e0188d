"""A folder of videos and photos <-> shards: tar files that OpenCV and Pillow read.

A shard holds `index.json` (what each member is, its size and where it comes from), clips as MP4 and
photos as WebP. A picture of a clip is one grey picture, the Y plane above U and V side by side,
full range: so what is read are the planes as they are, without a way through RGB. Clips are parts
of the videos, spread over their length, scaled down where they are large.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F

from stcodec.common.values import Planes
from stcodec.errors import InputError
from stcodec.media.resize import resized

VIDEO_ENDINGS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m", ".gif", ".h264"}
PHOTO_ENDINGS = {".webp", ".jpg", ".jpeg", ".png"}
SHARDS = "shard-*.tar"
# Sizes of planes are multiples of this, so that chroma has whole samples and a stacked picture even
# sides.
_UNIT = 4
# Bytes of a tar file per member, with its line of the index, and at the end.
_READERS = 8  # threads that decode a shard
_TAR_OVERHEAD, _TAR_END = 2048, 20480
Planes8 = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class PackSettings:
    """frames: of a clip at most; side, photo_side: the shorter side at most, in samples; crf: of
    the clips, for x264; photo_quality: of the photos, for WebP; clips: of a video."""

    frames: int = 32
    side: int = 288
    photo_side: int = 480
    crf: int = 15
    photo_quality: int = 90
    clips: int = 1
    shard_megabytes: float = 60.0


def training_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Videos and photos below `folder`, in order of name. InputError if there is neither."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    videos = [p for p in files if p.suffix.lower() in VIDEO_ENDINGS]
    photos = [p for p in files if p.suffix.lower() in PHOTO_ENDINGS]
    if not videos and not photos:
        raise InputError(f"{folder}: holds no videos and no photos")
    return videos, photos


def _fitted(planes: Planes, side: int) -> Planes:
    """4:2:0 planes with sides that are multiples of `_UNIT`, the shorter at most `side`."""
    height, width = planes[0].shape
    factor = min(1.0, side / min(height, width))
    h, w = (max(_UNIT, int(n * factor) // _UNIT * _UNIT) for n in (height, width))
    return (
        resized(planes[0], h, w),
        resized(planes[1], h // 2, w // 2),
        resized(planes[2], h // 2, w // 2),
    )


def _video_clips(path: Path, settings: PackSettings) -> Iterator[list[Planes]]:
    """Clips of a video: all of a short one, else parts at equal distances."""
    from stcodec.common.values import Picture
    from stcodec.media.reader import VideoReader

    with VideoReader(path, carry="none") as video:
        depth, count = video.info.bit_depth, video.info.frames
        length = settings.frames
        starts = [0]
        if count is not None and count > length:
            free = count - length
            starts = [int(free * (i + 0.5) / settings.clips) for i in range(settings.clips)]
        clip: list[Planes] = []
        for number, item in enumerate(i for i in video if isinstance(i, Picture)):
            if starts and number >= starts[0]:
                planes = item.planes
                if depth == 10:
                    planes = tuple(np.minimum((p + 2) >> 2, 255).astype(np.uint8) for p in planes)
                clip.append(_fitted(planes, settings.side))
                if len(clip) == length:
                    yield clip
                    clip = []
                    starts.pop(0)
            if not starts:
                return
        if len(clip) >= 8:
            yield clip


def stack(planes: Planes) -> np.ndarray:
    """Y above U and V: one grey picture."""
    return np.vstack([planes[0], np.hstack([planes[1], planes[2]])])


def unstack(picture: np.ndarray) -> Planes:
    """The inverse of `stack`."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    return picture[:height], picture[height:, : width // 2], picture[height:, width // 2 :]


def _mp4(clip: Sequence[Planes], crf: int) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stacked = [stack(planes) for planes in clip]
        stream.height, stream.width = stacked[0].shape
        stream.pix_fmt = "gray"
        stream.color_range = 2
        stream.options = {
            "crf": str(crf),
            "preset": "medium",
            "tune": "psnr",
            "x264-params": "aq-mode=0",
        }
        for picture in stacked:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
            frame.color_range = 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def _photo(path: Path, settings: PackSettings) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        picture = image.convert("RGB")
    factor = min(1.0, settings.photo_side / min(picture.size))
    size = [max(_UNIT, int(n * factor) // _UNIT * _UNIT) for n in picture.size]
    buffer = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(
        buffer, "WEBP", quality=settings.photo_quality
    )
    return buffer.getvalue()


def pack(
    folder: Path, target: Path, settings: PackSettings, log: Callable[[str], None]
) -> list[Path]:
    """Write the videos and photos in `folder` as target/shard-NNN.tar; returns the paths.

    Files that cannot be used are named and left out; InputError if none can.
    """
    videos, photos = training_files(folder)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob(SHARDS):
        old.unlink()
    shards: list[Path] = []
    members: list[tuple[dict[str, object], bytes]] = []
    limit = settings.shard_megabytes * 1e6

    def flush() -> None:
        if not members:
            return
        path = target / f"shard-{len(shards):03d}.tar"
        _write_shard(path, members)
        log(f"{path}: {len(members)} members, {path.stat().st_size / 1e6:.1f} MB")
        shards.append(path)
        members.clear()

    def add(entry: dict[str, object], data: bytes) -> None:
        size = sum(len(d) + _TAR_OVERHEAD for _, d in members)
        if members and size + len(data) + _TAR_OVERHEAD + _TAR_END > limit:
            flush()
        entry["name"] = f"{len(members):04d}.{'mp4' if entry['kind'] == 'clip' else 'webp'}"
        members.append((entry, data))

    for path in videos:
        try:
            for clip in _video_clips(path, settings):
                height, width = clip[0][0].shape
                entry = {
                    "kind": "clip",
                    "source": path.name,
                    "frames": len(clip),
                    "height": height,
                    "width": width,
                }
                add(entry, _mp4(clip, settings.crf))
        except InputError as error:
            log(f"left out: {error}")
    for path in photos:
        try:
            add({"kind": "photo", "source": path.name}, _photo(path, settings))
        except OSError as error:
            log(f"left out: {path}: {error}")
    flush()
    if not shards:
        raise InputError(f"{folder}: holds nothing that could be packed")
    return shards


def _write_shard(path: Path, members: Sequence[tuple[dict[str, object], bytes]]) -> None:
    index = json.dumps([entry for entry, _ in members], indent=0).encode()
    partial = path.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        for name, data in [("index.json", index), *((str(e["name"]), d) for e, d in members)]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    partial.replace(path)


def check(folder: Path) -> list[Path]:
    """The shards in `folder`; InputError where there are none."""
    shards = sorted(folder.glob(SHARDS))
    if not shards:
        raise InputError(f"{folder}: holds no shards ({SHARDS})")
    return shards


def read(folder: Path) -> tuple[list[Planes8], list[Planes8]]:
    """Clips (planes uint8 [T, H, W]) and photos (the same with T = 1) of the shards in `folder`.
    InputError for what is no pack."""
    clips: list[Planes8] = []
    photos: list[Planes8] = []
    for shard in check(folder):
        try:
            with tarfile.open(shard) as tar, ThreadPoolExecutor(_READERS) as readers:
                found = []
                for entry in json.load(_member(tar, "index.json")):
                    kept, how = (
                        (photos, _read_photo) if entry["kind"] == "photo" else (clips, _read_clip)
                    )
                    found.append((kept, readers.submit(how, _member(tar, entry["name"]).read())))
                for kept, one in found:
                    kept.append(one.result())
        except (tarfile.TarError, KeyError, ValueError, OSError) as error:
            raise InputError(f"{shard}: is no shard of training data ({error})") from error
    return clips, photos


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream


def _read_clip(data: bytes) -> Planes8:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "clip.mp4"
        path.write_bytes(data)
        pictures = [unstack(p) for p in _grey_pictures(path)]
    if not pictures:
        raise ValueError("a clip holds no pictures")
    y, u, v = (torch.from_numpy(np.stack([p[i] for p in pictures])) for i in range(3))
    return y, u, v


def _grey_pictures(path: Path) -> Iterator[np.ndarray]:
    """By OpenCV, or by PyAV where there is none."""
    try:
        import cv2
    except ImportError:
        import av

        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="gray")
        return
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield np.ascontiguousarray(picture[:, :, 1])
    finally:
        capture.release()


def _read_photo(data: bytes) -> Planes8:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return planes_of_rgb(np.asarray(image.convert("RGB")))


# Rec. 601 with limited range, as most video has it.
_TO_YUV = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))


def planes_of_rgb(picture: np.ndarray) -> Planes8:
    """uint8 RGB [H, W, 3] (even sides) -> planes uint8 [1, H, W] and [1, H/2, W/2]."""
    rgb = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1) / 255
    yuv = torch.einsum("oc,chw->ohw", torch.tensor(_TO_YUV), rgb) + torch.tensor(
        [16.0, 128.0, 128.0]
    ).view(3, 1, 1)
    small = F.avg_pool2d(yuv[1:], 2)
    y, u, v = (p[None].round().clamp(0, 255).to(torch.uint8) for p in (yuv[0], small[0], small[1]))
    return y, u, v


def rgb_of_planes(y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> np.ndarray:
    """Float planes [H, W], [H/2, W/2] in [0, 1] -> uint8 RGB [H, W, 3], for looking at."""
    chroma = [p.repeat_interleave(2, 0).repeat_interleave(2, 1) for p in (u, v)]
    yuv = torch.stack([y, *chroma]) * 255 - torch.tensor([16.0, 128.0, 128.0]).view(3, 1, 1)
    rgb = torch.einsum("oc,chw->ohw", torch.linalg.inv(torch.tensor(_TO_YUV)), yuv)
    return (rgb * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
