"""A .stp file as a sequence and as tensors: random access, its cost, workers, and the examples of
docs/library.md."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from av.video.reformatter import Colorspace, Interpolation
from torch.utils.data import DataLoader

import stcodec
from stcodec.codec.decoder import ChunkDecoder
from stcodec.common.values import Picture
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader
from tests.conftest import DATA, make_video, run
from tests.media import frame_of, moving_planes, write_clip

PAGE = Path(__file__).parent.parent / "docs" / "library.md"
FRAMES = 44


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44 pictures of 64x48 with a cut after 20, pts not regular; segments of 20 and 24."""
    folder = tmp_path_factory.mktemp("scenes")
    cut = [moving_planes(64, 48, i) for i in range(20)]
    cut += [tuple(255 - p for p in moving_planes(64, 48, 3 * i)) for i in range(24)]  # type: ignore[misc]
    pts = [100 + 3 * i + i % 2 for i in range(FRAMES)]
    write_clip(
        folder / "a.mkv",
        [frame_of(p) for p in cut],
        pts=pts,
        time_base=Fraction(1, 50),
        audio="aac",
    )
    stcodec.encode(folder / "a.mkv", folder / "a.stp", model="dct", quality=40)
    return folder / "a.stp"


@pytest.fixture(scope="module")
def decoded(scenes: Path) -> list[bytes]:
    """What `stcodec decode` writes of it, picture by picture."""
    target = scenes.parent / "a.y4m"
    assert run("decode", scenes, target).returncode == 0
    size = 64 * 48 * 3 // 2
    body = target.read_bytes().split(b"\n", 1)[1]
    assert len(body) == FRAMES * (6 + size)
    return [body[i * (6 + size) + 6 : (i + 1) * (6 + size)] for i in range(FRAMES)]


@pytest.fixture
def chunks_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each chunk whose pictures are made."""
    made: list[int] = []
    real = ChunkDecoder.frames

    def counted(self: ChunkDecoder, symbols: Any) -> Any:
        made.append(symbols.plan.count)
        return real(self, symbols)

    monkeypatch.setattr(ChunkDecoder, "frames", counted)
    return made


def raw(picture: Picture) -> bytes:
    return b"".join(p.tobytes() for p in picture.planes)


def test_any_picture_is_the_one_that_decode_writes(scenes: Path, decoded: list[bytes]) -> None:
    video = stcodec.open(scenes)
    assert len(video) == FRAMES
    assert video.segments == (range(20), range(20, 44))
    for number in (30, 3, 43, -44, 19, 20, 21, 20, -1):
        assert raw(video[number]) == decoded[number], number
    assert [raw(p) for p in video[10:40:7]] == decoded[10:40:7]
    assert [raw(p) for p in video[::-5]] == decoded[::-5]
    assert [raw(p) for p in video[4:44][2:30][::11]] == decoded[6:34:11]
    assert [raw(p) for p in video[1:44:9]] == decoded[1:44:9]
    assert [raw(p) for p in video] == decoded
    assert [raw(p) for p in reversed(video[5:9])] == decoded[5:9][::-1]
    assert list(video[7:7]) == [] and len(video[50:60]) == 0
    for bad in (FRAMES, -FRAMES - 1):
        with pytest.raises(IndexError, match=f"picture {bad} of {FRAMES}"):
            video[bad]
    # What a caller does to a picture is his own.
    video[5].planes[0][:] = 0
    assert raw(video[5]) == decoded[5]
    video.close()
    assert raw(video[5]) == decoded[5]


def test_times(scenes: Path, decoded: list[bytes]) -> None:
    with stcodec.open(scenes) as video:
        times = [Fraction(3 * i + i % 2, 50) for i in range(FRAMES)]
        assert video.times() == times
        assert video[30:20:-4].times() == times[30:20:-4]
        for number in (0, 19, 20, 43):
            assert video.number_at(times[number]) == video.number_at(float(times[number])) == number
            assert video.number_at(float(times[number]) + 0.015) == number
        assert raw(video.at(float(times[22]))) == decoded[22]
        assert times[-1] < video.duration
        assert video.number_at(video.duration - 0.001) == FRAMES - 1
        for bad in (-0.01, video.duration, 1e9):
            with pytest.raises(IndexError, match="no picture at"):
                video.at(bad)


def test_what_it_costs(scenes: Path, chunks_made: list[int]) -> None:
    video = stcodec.open(scenes)
    for number in range(FRAMES):
        video[number]
    everything = len(chunks_made)
    assert sum(chunks_made) == FRAMES
    assert len(list(video)) == FRAMES and len(video[::3].tensors(rgb=True)) == 15
    assert len(chunks_made) == everything  # all of it is cached

    for cache in (0, 10**6):
        video = stcodec.open(scenes, cache=cache)
        chunks_made.clear()
        for batch in video.batches(7):
            assert len(batch.y) <= 7
        assert len(chunks_made) == everything
        chunks_made.clear()
        list(video[21:28])
        assert len(chunks_made) <= (1 if cache == 0 else 0)

    # A picture costs its segment up to its chunk, whatever came before, and its time nothing.
    longest = max(len(s) for s in video.segments)
    video = stcodec.open(scenes, cache=0)
    for number in (43, 3, 12, 19, 2, 30):
        chunks_made.clear()
        video[number]
        assert 1 <= len(chunks_made) <= -(-longest // 8)
    chunks_made.clear()
    video.times(), video.number_at(0.5), video[20:30].times()
    assert chunks_made == []


def test_two_readers_at_once(scenes: Path, decoded: list[bytes], chunks_made: list[int]) -> None:
    video = stcodec.open(scenes)
    assert all(raw(a) == raw(b) for a, b in zip(video, video[:], strict=True))
    assert sum(chunks_made) == FRAMES
    wrong: list[int] = []

    def look(numbers: Iterator[int]) -> None:
        wrong.extend(n for n in numbers if raw(video[n]) != decoded[n])

    video.close()
    threads = [threading.Thread(target=look, args=(iter(range(k, FRAMES, 5)),)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("uint8", 1), (torch.int64, 1), ("float32", 255), (torch.float16, 255), ("bfloat16", 255)],
)
def test_planes_as_tensors(scenes: Path, decoded: list[bytes], dtype: Any, scale: int) -> None:
    video = stcodec.open(scenes, device="cpu", dtype=dtype)
    y, u, v = video[18:26].tensors()
    assert [t.shape for t in (y, u, v)] == [(8, 1, 48, 64), (8, 1, 24, 32), (8, 1, 24, 32)]
    assert str(y.dtype).removeprefix("torch.") == str(dtype).removeprefix("torch.")
    samples = np.stack(
        [np.frombuffer(d, np.uint8)[: 48 * 64].reshape(48, 64) for d in decoded[18:26]]
    )
    found = y[:, 0].double().numpy() * scale
    assert np.abs(found - samples).max() <= (0.5 if str(dtype) == "bfloat16" else 0.07)
    y.zero_()
    assert video[18:26].tensors().y.any()  # the cache is not what was given away


@pytest.mark.parametrize(
    ("pix_fmt", "full"), [("yuv420p", False), ("yuv420p", True), ("yuv420p10le", False)]
)
def test_rgb_is_that_of_swscale(tmp_path: Path, pix_fmt: str, full: bool) -> None:
    depth = 10 if "10" in pix_fmt else 8

    def prepare(stream: Any) -> None:
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = 1

    make_video(tmp_path / "a.mkv", frames=3, width=62, height=46, pix_fmt=pix_fmt, prepare=prepare)
    stcodec.encode(tmp_path / "a.mkv", tmp_path / "a.stp", model="dct", quality=50)
    video = stcodec.open(tmp_path / "a.stp", dtype="int16")
    ours = video[1:2].tensors(rgb=True)[0].permute(1, 2, 0).numpy().astype(float) / (2**depth - 1)
    frame = frame_of(video[1].planes, pix_fmt)
    frame.color_range, frame.colorspace = (2 if full else 1), 1
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        src_color_range=2 if full else 1,
        dst_color_range=2,
        interpolation=Interpolation.BILINEAR
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT,
    ).to_ndarray()
    assert ours.shape == (46, 62, 3)
    assert np.abs(ours - theirs / 255).mean() < 0.006
    floats = stcodec.open(tmp_path / "a.stp").batches(2, rgb=True)
    sizes = [(b.shape, b.dtype) for b in floats]
    assert sizes == [((2, 3, 46, 62), torch.float32), ((1, 3, 46, 62), torch.float32)]


def test_torch_keeps_its_settings(scenes: Path) -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    try:
        video = stcodec.open(scenes, threads=1)
        for _ in video.batches(8):
            assert torch.get_num_threads() == 2
            assert (torch.tensor(1e-40) * torch.ones(1)).item() != 0  # denormals
        assert torch.backends.cudnn.allow_tf32 == before[1]
    finally:
        torch.set_num_threads(before[0])


class Clips(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Clips of 4 pictures as tensors, and who made them."""

    def __init__(self, path: Path) -> None:
        self.video = stcodec.open(path, dtype="uint8")
        self.clips = [self.video[i : i + 4] for i in range(0, FRAMES, 4)]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        worker = torch.utils.data.get_worker_info()
        return self.clips[index].tensors().y, -1 if worker is None else worker.id


@pytest.mark.parametrize(("method", "count"), [("fork", 2), ("spawn", 1)])
def test_workers_of_a_data_loader(
    scenes: Path, decoded: list[bytes], method: str, count: int
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    clips = Clips(scenes)
    # The parent has decoded, and is in the middle of it: threads and a file position that a fork
    # must not use.
    reading = clips.video.batches(8)
    next(reading)
    loader = DataLoader(
        clips, batch_size=2, num_workers=count, multiprocessing_context=method, timeout=100
    )
    got, workers = [], set()
    for batch, ids in loader:
        got += [p.numpy().tobytes() for clip in batch for p in clip]
        workers |= set(ids.tolist())
    assert got == [d[: 48 * 64] for d in decoded]
    assert workers == set(range(count))
    assert sum(len(b.y) for b in reading) == FRAMES - 8


def test_a_video_can_be_pickled(scenes: Path, decoded: list[bytes]) -> None:
    video = stcodec.open(scenes, dtype="uint8", cache=0)
    video[3]
    copy, clip = pickle.loads(pickle.dumps((video, video[9:3:-2])))
    assert raw(copy[3]) == decoded[3]
    assert clip.tensors().y.dtype == torch.uint8
    assert [raw(p) for p in clip] == decoded[9:3:-2]


def test_what_cannot_be_read(scenes: Path, decoded: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(stcodec.InputError, match="no such file"):
        stcodec.open(tmp_path / "missing.stp")
    with pytest.raises(stcodec.DamagedFileError, match=r"bee\.mp4: not a \.stp file"):
        stcodec.open(DATA / "bee.mp4")
    with pytest.raises(stcodec.UsageError, match="pipe"):
        stcodec.open("-")
    shutil.copy(scenes, tmp_path / "gone.stp")
    gone = stcodec.open(tmp_path / "gone.stp")
    (tmp_path / "gone.stp").unlink()
    for use in (lambda: gone[0], gone.times):
        with pytest.raises(stcodec.InputError, match=r"gone\.stp: no such file"):
            use()
    for dtype in ("complex64", "nonsense", torch.bool):
        with pytest.raises(stcodec.UsageError, match="dtype"):
            stcodec.open(scenes, dtype=dtype)
    with pytest.raises(stcodec.UsageError, match="no device"):
        stcodec.open(scenes, device="toaster")[0]
    with pytest.raises(stcodec.UsageError, match="at least one"):
        stcodec.open(scenes).batches(0)

    data = scenes.read_bytes()
    short = tmp_path / "short.stp"
    short.write_bytes(data[: len(data) * 5 // 6])
    video = stcodec.open(short)
    with pytest.raises(stcodec.DamagedFileError, match=r"short\.stp: is not complete"):
        video[0]
    with pytest.raises(stcodec.DamagedFileError, match=r"short\.stp: is not complete"):
        len(video)
    seen = []
    with pytest.raises(stcodec.DamagedFileError, match=r"short\.stp: cut off"):
        seen.extend(raw(p) for p in _collecting(video, seen))
    assert 8 <= len(seen) < FRAMES
    assert seen == decoded[: len(seen)]

    flipped = bytearray(data)
    payloads = [item.payload for item in Reader(io.BytesIO(data)) if isinstance(item, VideoChunk)]
    flipped[data.index(payloads[-2]) + len(payloads[-2]) // 2] ^= 0x10
    (tmp_path / "flipped.stp").write_bytes(flipped)
    video = stcodec.open(tmp_path / "flipped.stp")
    good, problems = 0, []
    for number in (0, FRAMES - 1, 25, FRAMES - 1, 0):
        try:
            good += raw(video[number]) == decoded[number]
        except stcodec.DamagedFileError as error:
            problems.append(str(error))
    assert problems and good == 5 - len(problems) >= 1
    assert all("flipped.stp: " in p for p in problems)


def _collecting(video: Any, seen: list[bytes]) -> Iterator[Picture]:
    for picture in video:
        seen.append(raw(picture))
        if False:
            yield picture


def test_import_is_light() -> None:
    program = "import sys, stcodec; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _expected(code: str) -> list[str]:
    """What the comments of an example say that it prints: behind a print, or on lines of their own
    below it."""
    return [
        m
        for line in code.splitlines()
        for m in re.findall(r"^(?: *print\(.*\)  # | {4,}# )(.*)$", line)
    ]


def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) >= 5
    shutil.copy(DATA / "bee.mp4", tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for example in examples:
        printed = io.StringIO()
        if "__main__" in example:
            (tmp_path / "example.py").write_text(example)
            environment = {**os.environ, "PYTHONPATH": str(PAGE.parent.parent)}
            command = [sys.executable, "example.py"]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment
            )
            assert done.returncode == 0, done.stderr
            printed.write(done.stdout)
        else:
            with contextlib.redirect_stdout(printed):
                exec(compile(example, str(PAGE), "exec"), names)
        assert printed.getvalue().splitlines() == _expected(example), example
