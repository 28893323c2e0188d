"""`.stp` files in imageio, and as arrays."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import stcodec

iio = pytest.importorskip("imageio.v3")


@pytest.fixture(autouse=True)
def _registered() -> None:
    stcodec.register_imageio()


def test_arrays(bee_stp: Path) -> None:
    with stcodec.open(bee_stp, dtype="uint8", device="cpu") as video:
        array = video.to_numpy()
        assert (array.shape, array.dtype) == ((20, 90, 160, 3), np.uint8)
        tensors = video.tensors(rgb=True).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(array, tensors)
        assert np.array_equal(video[3:15:4].to_numpy(), array[3:15:4])
        wide = video[:2].to_numpy(dtype="uint16")
        assert wide.dtype == np.uint16 and abs(wide / 257 - array[:2]).max() < 0.51
        small = video[:2].to_numpy(dtype="float32")
        assert small.max() <= 1 and np.array_equal(np.round(small * 255), array[:2])
        planes = video[4:6].to_numpy(rgb=False)
        assert [p.shape for p in planes] == [(2, 90, 160), (2, 45, 80), (2, 45, 80)]
        assert all(np.array_equal(planes[p][1], video[5].planes[p]) for p in range(3))
        assert video[3:3].to_numpy().shape == (0, 90, 160, 3)
        with pytest.raises(stcodec.UsageError, match=r"20 pictures are an array of .*video\[:2\]"):
            video.to_numpy(limit=100_000)
        with pytest.raises(stcodec.UsageError, match="int32"):
            video.to_numpy(dtype="int32")
        with pytest.raises(stcodec.UsageError, match="without rgb"):
            video.to_numpy(rgb=False, dtype="uint16")  # type: ignore[call-overload]


def test_read(bee_stp: Path) -> None:
    with stcodec.open(bee_stp, device="cpu") as video:
        array = video.to_numpy()
    assert np.array_equal(iio.imread(bee_stp), array)
    assert np.array_equal(iio.imread(str(bee_stp), index=-3, plugin="stcodec"), array[17])
    assert np.array_equal(np.stack(list(iio.imiter(bee_stp))), array)
    assert iio.imread(bee_stp, index=2, dtype="float32").max() <= 1
    data = bee_stp.read_bytes()
    assert np.array_equal(iio.imread(data, index=7, extension=".stp"), array[7])
    assert np.array_equal(iio.imread(io.BytesIO(data), index=7, plugin="stcodec"), array[7])
    with iio.imopen(bee_stp, "r", threads=1) as file:
        assert np.array_equal(file.read(index=19), array[19])
        with pytest.raises(IndexError):
            file.read(index=20)


def test_properties(bee_stp: Path) -> None:
    all_of = iio.improps(bee_stp)
    assert (all_of.shape, all_of.dtype) == ((20, 90, 160, 3), np.uint8)
    assert (all_of.n_images, all_of.is_batch) == (20, True)
    one = iio.improps(bee_stp, index=4)
    assert (one.shape, one.n_images, one.is_batch) == ((90, 160, 3), None, False)
    meta = iio.immeta(bee_stp)
    assert meta["fps"] == pytest.approx(30000 / 1001)
    assert (meta["codec"], meta["size"], meta["n_images"]) == ("stcodec", (160, 90), 20)
    assert iio.immeta(bee_stp, index=10)["time"] == pytest.approx(10 * 1001 / 30000)


def test_write(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :64]
    pictures = np.stack(
        [np.stack([x * 4, y * 5, (x + y + 3 * i) % 100 + 80], axis=2) for i in range(5)]
    ).astype(np.uint8)
    target = tmp_path / "a.stp"
    iio.imwrite(target, pictures, fps=12.5, quality=45, model="dct")
    back = iio.imread(target)
    assert back.shape == pictures.shape
    assert np.abs(back.astype(int) - pictures).mean() < 4
    assert iio.immeta(target)["fps"] == 12.5 and iio.immeta(target)["duration"] == 0.4
    # Picture by picture, in place of what is there; grey; and as bytes.
    with iio.imopen(target, "w") as file:
        for picture in pictures:
            file.write(picture[..., 0], model="dct", quality=45)
    grey = iio.imread(target)
    assert grey.shape == (5, 48, 64, 3)
    assert np.abs(grey[..., 1].astype(int) - pictures[..., 0]).mean() < 4
    data = iio.imwrite("<bytes>", list(pictures), extension=".stp", model="dct", quality=45)
    assert len(iio.imread(data, extension=".stp")) == 5


def test_what_is_wrong(tmp_path: Path, bee_stp: Path) -> None:
    target = tmp_path / "a.stp"
    for bad, said in ((np.zeros((2, 8, 8, 5), np.uint8), "8 x 8 x 5"), (np.zeros((8, 8)), "float")):
        with pytest.raises(stcodec.UsageError, match=said):
            iio.imwrite(target, bad)
    with pytest.raises(stcodec.UsageError, match="fps"):
        iio.imwrite(target, np.zeros((2, 8, 8, 3), np.uint8), fps=0)
    with pytest.raises(stcodec.UsageError, match="one size"):
        iio.imwrite(target, [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    assert list(tmp_path.iterdir()) == []
    other = tmp_path / "b.stp"
    other.write_bytes(b"something else")
    with pytest.raises(OSError, match="can not handle"):
        iio.imread(other, plugin="stcodec")
    other.write_bytes(bee_stp.read_bytes()[:5000])
    with pytest.raises(stcodec.DamagedFileError, match=r"b\.stp"):
        iio.imread(other)


def test_imports_register(bee_stp: Path, tmp_path: Path) -> None:
    """`import stcodec` after imageio is enough; alone it does not import imageio."""
    import subprocess

    program = (
        "import imageio.v3 as iio, stcodec, sys; print(iio.imread(sys.argv[1], index=0).shape)"
    )
    command = [sys.executable, "-c", program, str(bee_stp)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "(90, 160, 3)\n"
    program = "import stcodec, sys; print('imageio' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
