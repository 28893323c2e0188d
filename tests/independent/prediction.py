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


def wavelets(n: int) -> np.ndarray:
    rows = [np.full(n, n**-0.5)]
    m = 1
    while m < n:
        x = np.clip((2 * np.arange(n) + 1) * m / n - 0.5, 0, 2 * m - 1)
        hats = [np.maximum(0, 1 - abs(x - j)) for j in range(2 * m)]
        d = np.array([hats[2 * j + 1] - hats[2 * j] for j in range(m)])
        for coarser in rows:
            d -= np.outer(d @ coarser, coarser)
        u, _, v = np.linalg.svd(d, full_matrices=False)  # U V is (D D^T)^(-1/2) D
        rows += list(u @ v)
        m *= 2
    return np.array(rows)


def line(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Basis of a line of n samples, and the frequency of each row."""
    if name == "dct":
        return cosines(n), np.arange(n)
    scales = [2 ** (k.bit_length() - 1) if k else 0 for k in range(n)]
    return wavelets(n), np.array([(3 * m - 1) / 2 if m else 0 for m in scales])


def edge(n: int) -> np.ndarray:
    """What mixes n samples around an edge between patches."""
    half = n // 2
    k, i = np.arange(half)[:, None], np.arange(half)[None, :]
    fourth = np.sqrt(2 / half) * np.cos(np.pi * (2 * k + 1) * (2 * i + 1) / (4 * half))
    v = cosines(half).T @ fourth
    mixed = np.zeros((n, n))
    for column in range(n):
        x = np.zeros(n)
        x[column] = 1
        a, b = x[:half], x[half:][::-1]
        same, other = (a + b) / np.sqrt(2), v @ ((a - b) / np.sqrt(2))
        mixed[:half, column] = (same + other) / np.sqrt(2)
        mixed[half:, column] = ((same - other) / np.sqrt(2))[::-1]
    return mixed


def mix(plane: np.ndarray, h: int, w: int, back: bool) -> np.ndarray:
    """A plane whose patches of h x w samples overlap."""
    found = plane.copy()
    for axis, size in ((0, h), (1, w)):
        matrix = edge(size).T if back else edge(size)
        lines = found if axis == 0 else found.T
        for at in range(size, len(lines), size):
            around = slice(at - size // 2, at + size // 2)
            lines[around] = matrix @ lines[around]
    return found


class Transform:
    """Planes <-> coefficients [rows, columns, C]."""

    def __init__(self, h: int, w: int, name: str = "dct", overlap: bool = False) -> None:
        self.sizes = [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
        self.overlap = overlap
        self.lines = {n: line(name, n) for size in self.sizes for n in size}
        frequencies = [
            (fy * w) ** 2 + (fx * h) ** 2
            for rows, columns in self.sizes
            for fy in self.lines[rows][1]
            for fx in self.lines[columns][1]
        ]
        self.order = sorted(range(len(frequencies)), key=lambda i: frequencies[i])

    def forward(self, planes: Planes) -> np.ndarray:
        parts = []
        for plane, (h, w) in zip(planes, self.sizes, strict=True):
            mixed = mix(plane, h, w, back=False) if self.overlap else plane
            blocks = mixed.reshape(plane.shape[0] // h, h, plane.shape[1] // w, w)
            down, across = self.lines[h][0], self.lines[w][0]
            found = np.einsum("ky,rycx,lx->rckl", down, blocks, across, optimize=True)
            parts.append(found.reshape(*found.shape[:2], h * w))
        return np.concatenate(parts, axis=-1)[..., self.order]

    def inverse(self, coefficients: np.ndarray) -> Planes:
        rows, columns, channels = coefficients.shape
        plain = np.zeros((rows, columns, channels))
        plain[..., self.order] = coefficients
        planes, start = [], 0
        for h, w in self.sizes:
            part = plain[..., start : start + h * w].reshape(rows, columns, h, w)
            down, across = self.lines[h][0], self.lines[w][0]
            found = np.einsum("ky,rckl,lx->rycx", down, part, across, optimize=True)
            plane = found.reshape(rows * h, columns * w)
            planes.append(mix(plane, h, w, back=True) if self.overlap else plane)
            start += h * w
        return planes


def divided(h: int, w: int, name: str, divisions: int) -> list[np.ndarray]:
    """Of each division, the basis [C, C] of a patch's samples (Y, U, V), row by row a channel."""
    found: list[np.ndarray] = []
    sizes = [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
    channels: list[int] = []
    for division in range(divisions):
        parts = 2**division
        rows: list[tuple[float, int, np.ndarray]] = []
        start = 0
        for plane, (high, wide) in enumerate(sizes):
            (down, fy), (across, fx) = line(name, high // parts), line(name, wide // parts)
            for by, ky, bx, kx in np.ndindex(parts, len(down), parts, len(across)):
                block = np.zeros((high, wide))
                top, left = by * len(down), bx * len(across)
                part = np.outer(down[ky], across[kx])
                block[top : top + len(down), left : left + len(across)] = part
                basis = np.zeros(3 * h * w // 2)
                basis[start : start + high * wide] = block.ravel()
                rows.append(((fy[ky] * parts * w) ** 2 + (fx[kx] * parts * h) ** 2, plane, basis))
            start += high * wide
        rows.sort(key=lambda row: row[0])
        if not division:
            channels = [plane for _, plane, _ in rows]
        by_plane = [iter([b for _, own, b in rows if own == plane]) for plane in range(3)]
        found.append(np.array([next(by_plane[plane]) for plane in channels]))
    return found


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
