"""Random numbers for the simulator: streams addressed by a counter, normal variates in lanes.

The i-th number of a stream is mix(seed + i·gamma), SplitMix64 with an odd increment of each
stream's own (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"). No
state is carried from one number to the next, so that LLVM computes eight at once, and any device
or a line of NumPy gives the same numbers. Normal variates are by the transform of Box & Muller with
polynomials that are exact to rounding: 0.8 ns each where a ziggurat in NumPy takes 9.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from odekit_kernels._jit import inner, kernel
from odekit_kernels.simd import native

__all__ = ["below", "choose", "normal", "normals", "pair_at", "streams", "uniform"]

_u = np.uint64
_FIRST, _SECOND = _u(0xBF58476D1CE4E5B9), _u(0x94D049BB133111EB)
_ONE, _TWO = _u(1), _u(2)
_S12, _S27, _S30, _S31, _S52, _S63 = _u(12), _u(27), _u(30), _u(31), _u(52), _u(63)
_EXPONENT_ONE = _u(0x3FF0000000000000)  # bits of 1.0: put before 52 random bits, a number in [1, 2)
_MANTISSA = _u(0x000FFFFFFFFFFFFF)
_ROOT_HALF = _u(0x3FE6A09E667F3BCD)  # bits of √½
_TO_ROOT_HALF = _u(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_INTEGER = _u(0x4330000000000000)  # bits of 2⁵², whose last bit is worth one
_INTEGER_BIAS = 4503599627370496.0 + 1023.0
_LN2 = math.log(2.0)
_PI = math.pi


def _taylor(power: int) -> float:
    """Coefficient of x^power in sin x or cos x."""
    return (-1.0) ** (power // 2) / math.factorial(power)


_S3, _S5, _S7, _S9, _S11, _S13, _S15, _S17, _S19, _S21 = (_taylor(n) for n in range(3, 22, 2))
_C2, _C4, _C6, _C8, _C10, _C12, _C14, _C16, _C18, _C20, _C22 = (_taylor(n) for n in range(2, 23, 2))


# ------------------------------------------------------------------------------------------- bits


def bits(x: Any) -> Any:
    """The 64 bits of a double."""
    return np.float64(x).view(np.uint64)


def from_bits(z: Any) -> Any:
    """The double of 64 bits."""
    return np.uint64(z).view(np.float64)


@native(bits, lambda kind: types.uint64 if kind == types.float64 else None)
def _bits(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], ir.IntType(64))


@native(from_bits, lambda kind: types.float64 if kind == types.uint64 else None)
def _from_bits(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], ir.DoubleType())


@inner
def mix(z: Any) -> Any:
    """SplitMix64's function of 64 bits to 64 bits, one to one."""
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@inner
def unit(z: Any) -> Any:
    """A number in [1, 2) from the upper 52 bits."""
    return from_bits((z >> _S12) | _EXPONENT_ONE)


# ----------------------------------------------------------------------------- elementary functions


@inner
def log(u: Any) -> Any:
    """ln u for u in (0, 1]: u = 2^k m, √½ <= m < √2, and ln m = 2 artanh((m − 1)/(m + 1))."""
    z = bits(u) + _TO_ROOT_HALF
    k = from_bits((z >> _S52) | _INTEGER) - _INTEGER_BIAS
    m = from_bits((z & _MANTISSA) + _ROOT_HALF)
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    return k * _LN2 + 2.0 * (s + s * q * p)


@inner
def sine(x: Any) -> Any:
    """Sin x, |x| <= π/2."""
    q = x * x
    p = _S15 + q * (_S17 + q * (_S19 + q * _S21))
    p = _S3 + q * (_S5 + q * (_S7 + q * (_S9 + q * (_S11 + q * (_S13 + q * p)))))
    return x + x * q * p


@inner
def cosine(x: Any) -> Any:
    """Cos x, |x| <= π/2."""
    q = x * x
    p = _C14 + q * (_C16 + q * (_C18 + q * (_C20 + q * _C22)))
    p = _C2 + q * (_C4 + q * (_C6 + q * (_C8 + q * (_C10 + q * (_C12 + q * p)))))
    return 1.0 + q * p


@inner
def radius(z: Any, sign: Any) -> Any:
    """√(−2 ln u), u in (0, 1], with the lowest bit of `sign` for its sign."""
    r = math.sqrt(-2.0 * log(2.0 - unit(z)))
    return from_bits(bits(r) ^ (sign << _S63))


# --------------------------------------------------------------------------------------- variates


@inner
def pair(z: Any, y: Any) -> Any:
    """Two standard normal variates from two random words."""
    # Half a turn; the other half is the same with the sign changed.
    angle = (unit(y) - 1.5) * _PI
    r = radius(z, y)
    return r * cosine(angle), r * sine(angle)


@inner
def pair_at(seed: Any, gamma: Any, place: Any) -> Any:
    """The variates by the numbers at a place of a stream and after it."""
    return pair(mix(seed + gamma * place), mix(seed + gamma * (place + _ONE)))


@kernel(_nrt=False)
def normals(stream: Any, x: Any, first: int, count: int) -> None:
    """Fill part of a flat array with standard normal variates, and advance the stream.

    Parameters
    ----------
    stream : ndarray of uint64, shape (3,)
        Seed, odd increment, and how many numbers were taken; each variate takes one.
    x : ndarray
        Receives the variates from `first` on.
    count : int
        How many; even.
    """
    seed, gamma, taken = stream[0], stream[1], stream[2]
    half = count // 2
    # Slices: an index that may be negative, as numba sees first + i, keeps the loop scalar.
    left, right = x[first : first + half], x[first + half : first + 2 * half]
    for i in range(half):
        left[i], right[i] = pair_at(seed, gamma, taken + _TWO * np.uint64(i))
    stream[2] = taken + np.uint64(2 * half)


@inner
def take(stream: Any) -> Any:
    """The next 64 bits."""
    z = mix(stream[0] + stream[1] * stream[2])
    stream[2] += _ONE
    return z


@inner
def uniform(stream: Any) -> Any:
    """A number in [0, 1)."""
    return unit(take(stream)) - 1.0


@inner
def normal(stream: Any) -> Any:
    """One standard normal variate."""
    z = take(stream)
    y = take(stream)
    return pair(z, y)[0]


@inner
def below(stream: Any, count: int) -> int:
    """An integer in [0, count)."""
    return min(int(uniform(stream) * count), count - 1)


@inner
def choose(stream: Any, p: Any) -> int:
    """An index, each with its probability; nothing is drawn for a single one."""
    last = p.shape[0] - 1
    if last == 0:
        return 0
    level = uniform(stream)
    for s in range(last):
        level -= p[s]
        if level < 0.0:
            return s
    return last


def streams(words: Any) -> Any:
    """Independent streams from random words.

    Parameters
    ----------
    words : ndarray of uint64, shape (2 n,)
        A seed and an increment for each stream.

    Returns
    -------
    ndarray of uint64, shape (n, 3)
        Seed, increment made odd and of mixed bits, and a count of zero.
    """
    out = np.zeros((len(words) // 2, 3), dtype=np.uint64)
    out[:, 0] = words[::2]
    for i, word in enumerate(words[1::2]):
        gamma = int(word) | 1
        # Long runs of equal bits mix badly (Steele, Lea & Flood 2014, section 5).
        few = (gamma ^ (gamma >> 1)).bit_count() < 24
        out[i, 1] = gamma ^ 0xAAAAAAAAAAAAAAAA if few else gamma
    return out
