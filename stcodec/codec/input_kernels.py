"""What the floating-point networks see of the coefficients of a patch, in compiled loops;
`network.compress` says what is computed, and does the same with tensors, which pass over their
memory eight times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32

from stcodec.common.compiled import inner

# Of a float32: bits of the fraction, 1.0, and the fraction of the square root of 2.
_FRACTION, _ONE, _ROOT = 23, 0x3F800000, 0x3504F3
_FRACTIONS = (1 << _FRACTION) - 1
_LN2 = np.float32(np.log(2.0))


def _series() -> np.ndarray:
    """Coefficients float32 of (log(1 + f) / f - 1 + f / 2) / f**2, lowest first, where 1 + f lies
    between the square roots of 1/2 and 2: a fit at Chebyshev's points, off by less than rounding
    is."""
    low, high = np.sqrt(0.5) - 1, np.sqrt(2.0) - 1
    angles = (np.arange(200) + 0.5) * np.pi / 200
    f = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    rest = (np.log1p(f) / f - 1 + f / 2) / f**2
    return np.polynomial.polynomial.polyfit(f, rest, 8).astype(np.float32)


_SERIES = _series()


@inner
def _logarithms(
    bits: np.ndarray, power: np.ndarray, part: np.ndarray, bits_of_part: np.ndarray, out: np.ndarray
) -> None:
    """Natural logarithms of float32 from 1 on, given as `bits` int32. power int32, part float32 and
    its bits: room. No array is written that the same loop reads by another name, or a compiler
    would take one number at a time."""
    s0, s1, s2, s3, s4 = _SERIES[0], _SERIES[1], _SERIES[2], _SERIES[3], _SERIES[4]
    s5, s6, s7, s8 = _SERIES[5], _SERIES[6], _SERIES[7], _SERIES[8]
    for i in range(len(bits)):
        # The fraction from 1 to 2; from its square root on, half of it.
        fraction = int32(bits[i] & _FRACTIONS)
        up = int32(1) if fraction > _ROOT else int32(0)
        bits_of_part[i] = fraction | int32(_ONE - (up << _FRACTION))
        power[i] = int32((bits[i] >> _FRACTION) - 127 + up)
    for i in range(len(bits)):
        f = part[i] - float32(1)
        f2 = f * f
        even = s0 + f2 * (s2 + f2 * (s4 + f2 * (s6 + f2 * s8)))
        odd = s1 + f2 * (s3 + f2 * (s5 + f2 * s7))
        rest = f * f2 * (even + f * odd) - float32(0.5) * f2
        out[i] = float32(power[i]) * _LN2 + (f + rest)


class Room(NamedTuple):
    """Room for the numbers of a patch, [C] each: values, sizes and fractions float32, powers int32;
    and the bits of sizes and fractions."""

    value: np.ndarray
    size: np.ndarray
    part: np.ndarray
    power: np.ndarray
    bits: np.ndarray
    bits_of_part: np.ndarray


@inner
def compress(room: Room, out: np.ndarray) -> None:
    """Write what a network sees of room.value into `out` float32 [C]."""
    value, size = room.value, room.size
    for c in range(len(value)):
        size[c] = abs(value[c]) + np.sqrt(value[c] * value[c] + float32(1))
    _logarithms(room.bits, room.power, room.part, room.bits_of_part, out)
    for c in range(len(value)):
        out[c] = np.copysign(out[c], value[c])
