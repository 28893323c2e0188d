"""Renew the golden files: `python -m tests.golden.make`, in the root of the repository.

Every model codes small clips; what they decode to is kept as pictures, compressed, and as digests.
Only before a release may that be done for a model that has golden files already. With `--keep`,
coded files and pictures that are there stay as they are, and the digests of this machine's
arithmetic are added.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import stcodec
from stcodec.codec import kernels
from stcodec.codec.model_files import find_model
from stcodec.common.values import Planes
from tests import drawn
from tests.conftest import make_video, psnr

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
MODELS = ("dct", "stc-1")
CLIPS = {8: "yuv420p", 10: "yuv420p10le"}
NAMES = [f"{model}-{depth}bit.stp" for depth in CLIPS for model in MODELS]
"""Those of `dct` are from before key frames had two references; made anew, they are of today's
encoder."""
NAMES += ["dct-8bit-two.stp", "stc-1-8bit-drawn.stp"]
LEAST_PSNR = 60.0
"""In dB, with a peak of 255 whatever the bit depth is: a quarter of a level. Decoders that round
otherwise are far above: MKL_ENABLE_INSTRUCTIONS=SSE4_2 in the environment gives 77 dB."""


def arithmetic() -> str:
    """What decides the last bits of floating-point results on the CPU, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    loops = "compiled loops" if kernels.loops() else "tensors"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {capability}, {loops}, {name}"


def decoded(path: Path) -> list[Planes]:
    """All pictures of a file, decoded on the CPU by one thread, with compiled loops if there can be
    any."""
    kernels.warm_up()
    with stcodec.open(path, device="cpu", threads=1) as video:
        return [picture.planes for picture in video]


def digest(pictures: Sequence[Planes]) -> str:
    """SHA-256 of the samples of all planes, picture by picture, Y, U, V, little-endian."""
    total = hashlib.sha256()
    for planes in pictures:
        for plane in planes:
            total.update(plane.astype(plane.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def reference(name: str) -> list[Planes]:
    """The pictures that the file `name` decoded to when they were kept."""
    with np.load((HERE / name).with_suffix(".npz")) as kept:
        return [(y, u, v) for y, u, v in zip(kept["y"], kept["u"], kept["v"], strict=True)]


def keep_reference(name: str, pictures: Sequence[Planes]) -> None:
    """Keep what the file `name` decodes to."""
    planes = {
        key: np.stack([picture[index] for picture in pictures]) for index, key in enumerate("yuv")
    }
    np.savez_compressed((HERE / name).with_suffix(".npz"), **planes)


def differences(pictures: Sequence[Planes], kept: Sequence[Planes]) -> list[str]:
    """In words, where pictures are not those that were kept, but for rounding."""
    if len(pictures) != len(kept):
        return [f"{len(pictures)} pictures instead of {len(kept)}"]
    found = []
    for number, (a, b) in enumerate(zip(pictures, kept, strict=True)):
        for letter, x, y in zip("YUV", a, b, strict=True):
            if (x.shape, x.dtype) != (y.shape, y.dtype):
                found.append(f"picture {number}, {letter}: {x.shape} {x.dtype}")
            elif psnr(x, y) < LEAST_PSNR:
                found.append(f"picture {number}, {letter}: {psnr(x, y):.1f} dB")
    return found


def clips(folder: Path) -> dict[str, tuple[Path, str]]:
    """For each golden file, by name, the clip that it is made of and the model."""
    sources = {}
    for depth, pix_fmt in CLIPS.items():
        sources[f"{depth}bit"] = source = folder / f"{depth}.mkv"
        make_video(source, width=70, height=50, frames=27, pix_fmt=pix_fmt)
    scrolled = drawn.pages(27, lambda i: 0 if i < 5 else 18, height=50, width=70)
    page = drawn.write(folder / "drawn.mkv", scrolled)
    for model in MODELS:
        find_model(model)
    return {
        name: (page if "drawn" in name else source, model)
        for name in NAMES
        for model in MODELS
        for depth, source in sources.items()
        if name.startswith(f"{model}-{depth}")
    }


def main(keep: bool) -> None:
    """Code the clips and write down what they decode to; see the head of this file."""
    expected = json.loads(EXPECTED.read_text()) if keep else {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (source, model) in clips(Path(folder)).items():
            target = HERE / name
            if not keep or name not in expected:
                stcodec.encode(source, target, quality=28, model=model, overwrite=True)
                keep_reference(name, decoded(target))
                sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
                expected[name] = {"sha256": sha256, "pictures": {}}
            pictures = decoded(target)
            wrong = differences(pictures, reference(name))
            if wrong:
                raise SystemExit(f"{name} does not decode to what was kept: {wrong[0]}")
            expected[name]["pictures"][arithmetic()] = digest(pictures)
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--keep", action="store_true", help="add what there is not yet alone")
    main(parser.parse_args().keep)
