"""Transform and motion-compensated prediction, as docs/format.md has them."""

from __future__ import annotations

import numpy as np

from .motion import Field

Planes = list[np.ndarray]


def cosines(n: int) -> np.ndarray:
    k, i = np.arange(n)[:, None], np.arange(n)[None, :]
    basis = np.sqrt(2 / n) * np.cos(np.pi * (2 * i + 1) * k / (2 * n))
    basis[0] = np.sqrt(1 / n)
    return basis


class Transform:
    """Planes <-> coefficients [rows, columns, C]."""

    def __init__(self, h: int, w: int) -> None:
        self.sizes = [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
        frequencies = [
            (fy * w) ** 2 + (fx * h) ** 2
            for rows, columns in self.sizes
            for fy in range(rows)
            for fx in range(columns)
        ]
        self.order = sorted(range(len(frequencies)), key=lambda i: frequencies[i])

    def forward(self, planes: Planes) -> np.ndarray:
        parts = []
        for plane, (h, w) in zip(planes, self.sizes, strict=True):
            blocks = plane.reshape(plane.shape[0] // h, h, plane.shape[1] // w, w)
            found = np.einsum("ky,rycx,lx->rckl", cosines(h), blocks, cosines(w), optimize=True)
            parts.append(found.reshape(*found.shape[:2], h * w))
        return np.concatenate(parts, axis=-1)[..., self.order]

    def inverse(self, coefficients: np.ndarray) -> Planes:
        rows, columns, channels = coefficients.shape
        plain = np.zeros((rows, columns, channels))
        plain[..., self.order] = coefficients
        planes, start = [], 0
        for h, w in self.sizes:
            part = plain[..., start : start + h * w].reshape(rows, columns, h, w)
            found = np.einsum("ky,rckl,lx->rycx", cosines(h), part, cosines(w), optimize=True)
            planes.append(found.reshape(rows * h, columns * w))
            start += h * w
        return planes


def taps(n: int, u: int) -> np.ndarray:
    """Filters [u, n] of all fractions."""
    x = np.arange(n)[None, :] - (n // 2 - 1) - np.arange(u)[:, None] / u
    f = np.sinc(x) * np.cos(np.pi * x / (n + 1))
    return f / f.sum(1, keepdims=True)


def window(b: int, o: int) -> np.ndarray:
    ramp = (np.arange(2 * o) + 0.5) / (2 * o)
    line = np.concatenate([ramp, np.ones(b - 2 * o), ramp[::-1]])
    return line[:, None] * line[None, :]


def tile(
    plane: np.ndarray, top: int, left: int, size: int, vector: tuple[int, int], filters: np.ndarray
) -> np.ndarray:
    """Values of `size` x `size` samples from (top, left) on, at a vector of a reference plane."""
    u, n = filters.shape
    dy, dx = vector
    reach = np.arange(size + n - 1) - (n // 2 - 1)
    y = np.clip(top + dy // u + reach, 0, plane.shape[0] - 1)
    x = np.clip(left + dx // u + reach, 0, plane.shape[1] - 1)
    source = plane[np.ix_(y, x)]
    lines = sum(filters[dy % u, a] * source[a : a + size] for a in range(n))
    return sum(filters[dx % u, i] * lines[:, i : i + size] for i in range(n))


def predict(field: Field, references: tuple[Planes | None, Planes | None]) -> Planes:
    """The prediction of a frame, plane by plane."""
    planes = []
    rows, columns = field.vectors.shape[2:]
    for number in range(3):
        b, u, n, o = (8, 4, 8, 2) if number == 0 else (4, 8, 4, 1)
        filters, weights = taps(n, u), window(b, o)
        wide = np.zeros(((rows + 4) * b, (columns + 4) * b))
        for r in range(-1, rows + 1):
            for c in range(-1, columns + 1):
                y, x = min(max(r, 0), rows - 1), min(max(c, 0), columns - 1)
                mode = field.modes[y // 2, x // 2]
                found = []
                for side in (0, 1):
                    if mode == 2 - side:
                        continue
                    reference = references[side]
                    assert reference is not None
                    dy, dx = (int(v) for v in field.vectors[side, :, y, x])
                    args = (r * b - o, c * b - o, b + 2 * o, (dy, dx), filters)
                    found.append(tile(reference[number], *args))
                block = sum(found) / len(found)
                at_y, at_x = (r + 2) * b - o, (c + 2) * b - o
                wide[at_y : at_y + b + 2 * o, at_x : at_x + b + 2 * o] += weights * block
        planes.append(wide[2 * b : -2 * b, 2 * b : -2 * b])
    return planes
