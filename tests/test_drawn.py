"""What was drawn rather than filmed: palette patches, what is copied from them, pages that are
scrolled."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

import stcodec
from stcodec.codec import kernels
from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.model_files import load_model
from stcodec.codec.patches import Frames
from stcodec.codec.payload import unpack
from stcodec.codec.symbols import ChunkSymbols
from stcodec.container.records import VideoChunk
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.errors import DamagedFileError
from stcodec.flows.reading import open_stp
from tests import drawn
from tests.conftest import moving_picture, psnr, run
from tests.test_crop import part_of

MODEL = load_model("stc-1")
HEIGHT, WIDTH = 96, 128


def chunks_of(path: Path) -> list[VideoChunk]:
    with open_stp(path) as source:
        return [item for item in source.reader if isinstance(item, VideoChunk)]


def symbols_of(path: Path) -> list[ChunkSymbols]:
    decoder = ChunkDecoder(MODEL, WIDTH, HEIGHT, 8)
    return [decoder.read(c.payload, i == 0) for i, c in enumerate(chunks_of(path))]


@pytest.fixture(scope="module")
def scrolled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[drawn.Planes]]:
    """A page that stands still for a while and is scrolled by 46 rows, and its encoding."""
    folder = tmp_path_factory.mktemp("drawn")
    pictures = drawn.pages(24, lambda i: 0 if i < 11 else 46)
    stcodec.encode(drawn.write(folder / "in.mkv", pictures), folder / "out.stp", quality=32)
    return folder / "out.stp", pictures


def test_a_page_is_small_and_sharp(scrolled: tuple[Path, list[drawn.Planes]]) -> None:
    """H.264 takes more than twice as much at the same PSNR."""
    path, pictures = scrolled
    with stcodec.open(path, device="cpu") as video:
        decoded = [picture.planes for picture in video]
    qualities = [psnr(a[0], b[0]) for a, b in zip(decoded, pictures, strict=True)]
    assert min(qualities) > 34 and np.mean(qualities) > 38
    own = sum(len(c.payload) for c in chunks_of(path))
    others, quality = x264(pictures, path.with_suffix(".mp4"))
    assert quality < np.mean(qualities) and others > 2 * own


def x264(pictures: list[drawn.Planes], path: Path) -> tuple[int, float]:
    """Bytes of the packets of x264-veryslow, and the PSNR of luma."""
    source = drawn.write(path.with_suffix(".source.mkv"), pictures)
    with av.open(str(source)) as frames, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryslow", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames.decode(video=0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as made:
        size = sum(packet.size for packet in made.demux(video=0))
    with av.open(str(path)) as made:
        luma = [frame.to_ndarray()[:HEIGHT] for frame in made.decode(video=0)]
    return size, float(np.mean([psnr(a, b[0]) for a, b in zip(luma, pictures, strict=True)]))


def test_what_stands_still_or_is_scrolled_stays_as_it_is(
    scrolled: tuple[Path, list[drawn.Planes]],
) -> None:
    path, _ = scrolled
    with stcodec.open(path, device="cpu") as video:
        luma = [picture.planes[0].astype(int) for picture in video]
    for picture in luma[1:11]:
        assert np.abs(picture - luma[0]).max() <= 1
    for picture in luma[12:]:
        assert np.abs(picture - luma[11]).max() <= 1
    # What both show, but for the bar and what overlaps with it.
    moved = np.abs(luma[11][18 : HEIGHT - 50] - luma[0][18 + 46 : HEIGHT - 4])
    assert np.mean(moved <= 1) > 0.98


def test_the_scroll_is_found(scrolled: tuple[Path, list[drawn.Planes]]) -> None:
    """Most vectors of the first key frame after it point to where the page was."""
    path, _ = scrolled
    keys = [f for c in symbols_of(path) for f in c.frames if f.step.kind == 1 and f.fields]
    shares = [(f.fields.vectors[0, 0, 0] == 4 * 46).float().mean() for f in keys if f.fields]
    assert max(shares) > 0.25


def test_letters_are_palette_patches_and_then_copies(
    scrolled: tuple[Path, list[drawn.Planes]],
) -> None:
    path, _ = scrolled
    first, *others = symbols_of(path)
    assert first.plan.samples
    told = first.frames[0].exact.samples
    assert told is not None and told.chosen.mean() > 0.6
    exact = [f.exact for f in first.frames[1:] if f.step.kind < 4]
    assert exact and all(e.kept is not None and e.kept.mean() > 0.6 for e in exact)
    again = [f.exact.samples for c in others for f in c.frames if f.exact.samples is not None]
    assert again and all(s.chosen.mean() < 0.9 for s in again)


def test_what_was_filmed_has_none(bee_stp: Path) -> None:
    assert not any(unpack(c.payload, 1)[0].samples for c in chunks_of(bee_stp))


@pytest.mark.parametrize("part", ["48:32:40:20", "33:21:0:0", "128:16:0:48"])
def test_a_part_is_that_of_the_whole(scrolled: tuple[Path, list[drawn.Planes]], part: str) -> None:
    path, _ = scrolled
    place = tuple(map(int, part.split(":")))
    with stcodec.open(path, device="cpu") as whole:
        expected = [part_of(p, *place) for p in whole]
    with stcodec.open(path, device="cpu", crop=part) as some:
        for picture, those in zip(some, expected, strict=True):
            for a, b in zip(picture.planes, those, strict=True):
                np.testing.assert_array_equal(a, b)


def test_fewer_pictures(scrolled: tuple[Path, list[drawn.Planes]], tmp_path: Path) -> None:
    path, pictures = scrolled
    done = run("decode", "--rate", "1/4", path, tmp_path / "out.y4m")
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "out.y4m")) as video:
        luma = [frame.to_ndarray()[:HEIGHT] for frame in video.decode(video=0)]
    assert len(luma) == 6 and psnr(luma[0], pictures[3][0]) > 34


def test_tensors_make_the_same_pictures(scrolled: tuple[Path, list[drawn.Planes]]) -> None:
    path, _ = scrolled

    def decode() -> list[Frames]:
        decoder = ChunkDecoder(MODEL, WIDTH, HEIGHT, 8)
        read = [decoder.read(c.payload, i == 0) for i, c in enumerate(chunks_of(path))]
        return [decoder.frames(symbols) for symbols in read]

    fast = decode()
    with kernels.switched_off():
        slow = decode()
    for a, b in zip(fast, slow, strict=True):
        for p, q in zip(a, b, strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=2e-3)


def test_threads(scrolled: tuple[Path, list[drawn.Planes]], tmp_path: Path) -> None:
    path, pictures = scrolled
    source = drawn.write(tmp_path / "in.mkv", pictures)
    stcodec.encode(source, tmp_path / "one.stp", quality=32, threads=1)
    assert (tmp_path / "one.stp").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("quality", [0, 63])
@pytest.mark.parametrize("depth", [8, 10])
def test_any_quality_and_depth(quality: int, depth: int) -> None:
    """The finest is nearly lossless."""
    pictures = drawn.pages(8, lambda i: 2 * i)
    planes = [
        tuple((p.astype(np.uint16) << 2) if depth == 10 else p for p in picture)
        for picture in pictures
    ]
    encoder = ChunkEncoder(MODEL, WIDTH, HEIGHT, depth, CodecSettings(quality))
    made = encoder.encode([(y, u, v) for y, u, v in planes], True)
    decoded = ChunkDecoder(MODEL, WIDTH, HEIGHT, depth).decode(made.payload, True)
    peak = (1 << depth) - 1
    found = [psnr(a[0], b[0], peak) for a, b in zip(decoded, planes, strict=True)]
    assert min(found) > (48 if quality else 18)


def test_damage_is_told(scrolled: tuple[Path, list[drawn.Planes]]) -> None:
    path, _ = scrolled
    payload = chunks_of(path)[0].payload
    parts = unpack(payload, 0)[2]
    start = len(payload) - len(parts.words) - len(parts.samples)
    random = np.random.default_rng(0)
    for at in random.integers(start, start + len(parts.samples), 12):
        damaged = bytearray(payload)
        damaged[at] ^= 1 << int(random.integers(0, 8))
        with pytest.raises(DamagedFileError):
            ChunkDecoder(MODEL, WIDTH, HEIGHT, 8).read(bytes(damaged), True)


def test_samples_beyond_their_bits() -> None:
    """A broken source, whose values of 10 bits are larger than 10 bits."""
    planes = [tuple((p.astype(np.uint16) << 2) for p in picture) for picture in drawn.pages(1)]
    y, u, v = planes[0]
    y[20:24] = 1100
    y[40:44] = 65535
    made = ChunkEncoder(MODEL, WIDTH, HEIGHT, 10, CodecSettings(60)).encode([(y, u, v)], True)
    (decoded,) = ChunkDecoder(MODEL, WIDTH, HEIGHT, 10).decode(made.payload, True)
    assert unpack(made.payload, 0)[0].samples
    assert psnr(decoded[0], np.minimum(y, 1023), 1023) > 40


def test_attempts_are_not_observed() -> None:
    """Training is shown what is coded alone."""
    seen: list[int] = []

    class Observer:
        def symbols(self, kind: int, *rest: object) -> None:
            seen.append(kind)

        def spatial(self, *rest: object) -> None:
            pass

        def divided(self, *rest: object) -> None:
            pass

    pictures = [(y, u, v) for y, u, v in drawn.pages(8)]
    encoder = ChunkEncoder(MODEL, WIDTH, HEIGHT, 8, CodecSettings(30), observer=Observer())
    encoder.encode(pictures, True)
    assert seen.count(0) == 7 * len(MODEL.config.groups)


def test_filters_are_chosen_by_what_they_change() -> None:
    """A film beside a page has loop filters; the page is none of their business."""
    page = drawn.pages(8)
    films = [moving_picture(i, WIDTH, HEIGHT) for i in range(8)]
    pictures = []
    for letters, film in zip(page, films, strict=True):
        y, u, v = (
            np.where(np.arange(p.shape[1]) < p.shape[1] // 2, p, q)
            for p, q in zip(letters, film, strict=True)
        )
        pictures.append((y, u, v))
    made = ChunkEncoder(MODEL, WIDTH, HEIGHT, 8, CodecSettings(28)).encode(pictures, True)
    read = ChunkDecoder(MODEL, WIDTH, HEIGHT, 8).read(made.payload, True)
    assert any(f.exact.samples is not None for f in read.frames)
    assert any(f.filters.luma is not None for f in read.frames)
