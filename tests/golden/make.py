"""Renew the golden files; only before a release may that be done for a model that has them
already."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

import stcodec
from stcodec.codec.model_files import find_model
from tests.conftest import make_video

HERE = Path(__file__).parent


def main() -> None:
    """Encode small clips with every model and write down what they decode to."""
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        for depth, pix_fmt in ((8, "yuv420p"), (10, "yuv420p10le")):
            source = Path(folder) / f"{depth}.mkv"
            make_video(source, width=70, height=50, frames=19, pix_fmt=pix_fmt)
            for model in ("dct", "stc-1"):
                try:
                    find_model(model)
                except stcodec.ModelError:
                    continue
                target = HERE / f"{model}-{depth}bit.stp"
                stcodec.encode(source, target, quality=28, model=model, overwrite=True)
                with stcodec.open(target) as video:
                    means = [round(float(np.mean(p.planes[0])), 3) for p in video]
                digest = hashlib.sha256(target.read_bytes()).hexdigest()
                expected[target.name] = {"sha256": digest, "luma_means": means}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
