"""Moments of pairs of fields as functions of x = C_kk, y = C_aa and z = C_ka, with derivatives.

For one trajectory, and for `reverse`. Where k = a they are the same functions at x = y = z. Rows of
one k over all a are those of a tape: erf's eight at a time.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.arcsine import asin_given
from odekit_kernels.committee.activations import ERF, RELU
from odekit_kernels.committee.activations.erf import inverse_root
from odekit_kernels.committee.codes import code_of
from odekit_kernels.simd import WIDTH, load, minor, over_root, store

__all__ = ["drive_row", "second_pair", "second_row", "slope_pair"]

TWO_OVER_PI = 2.0 / math.pi
BENT = 0.5 / math.pi
LEAST_SINE = 1e-8
"""Sine of the angle between two fields of ReLU below which they count as one: √q has no slope."""


@inner
def determinant(x: float, y: float, z: float) -> float:
    """Λ = (1 + x)(1 + y) − z²."""
    return (1.0 + x) + (y + (x * y - z * z))


@inner
def drive_row(activation: int, tape: Any, k: int, D: int) -> None:
    """Fill `tape.pair[k]` with e, h, e_x, e_y, e_z, h_x, h_y, h_z of every a.

    A_kb = Σ_a cbar_ka (e_ka C_ab + h_ka C_kb).
    """
    C, diag, pair = tape.C, tape.diag, tape.pair
    if code_of(activation) == ERF:
        L = C.shape[1]
        x, first = diag[k], k * 8 * L
        n = 1.0 / (1.0 + x)
        for a in range(0, D, WIDTH):
            y, z = load(diag, a), load(C, k * L + a)
            s = inverse_root(x, y, z)
            e, rest = TWO_OVER_PI * s, s * s
            e_x, e_y, e_z = -0.5 * e * (1.0 + y) * rest, (-0.5 * (1.0 + x)) * e * rest, e * z * rest
            at = first + a
            store(pair, at, e)
            store(pair, at + L, -e * z * n)
            store(pair, at + 2 * L, e_x)
            store(pair, at + 3 * L, e_y)
            store(pair, at + 4 * L, e_z)
            store(pair, at + 5 * L, (e * n - e_x) * z * n)
            store(pair, at + 6 * L, -e_y * z * n)
            store(pair, at + 7 * L, -(e_z * z + e) * n)
        return
    for a in range(D):
        tape.out[:] = 0.0
        if code_of(activation) == RELU:
            drive_pair_of_relu(C[k, k], C[a, a], C[k, a], tape.out)
        else:
            tape.out[0] = 1.0
        for i in range(8):
            pair[k, i, a] = tape.out[i]


@inner
def second_row(activation: int, tape: Any, k: int, D: int) -> None:
    """Fill `tape.second` with I2(k, a) and its derivatives by x, y, z of every a."""
    C, diag, second = tape.C, tape.diag, tape.second
    if code_of(activation) == ERF:
        L = C.shape[1]
        x = diag[k]
        for a in range(0, D, WIDTH):
            y, z = load(diag, a), load(C, k * L + a)
            rest = (1.0 + x) + (y + minor(x, y, z))
            n, s = over_root((1.0 + x) * (1.0 + y)), inverse_root(x, y, z)
            slope = TWO_OVER_PI * s
            store(second, a, TWO_OVER_PI * asin_given(z * n, rest * n * n))
            store(second, L + a, -0.5 * slope * z / (1.0 + x))
            store(second, 2 * L + a, -0.5 * slope * z / (1.0 + y))
            store(second, 3 * L + a, slope)
        return
    for a in range(D):
        second_pair(activation, C[k, k], C[a, a], C[k, a], tape.out)
        for i in range(4):
            second[i, a] = tape.out[i]


@inner
def drive_pair_of_relu(x: float, y: float, z: float, out: Any) -> None:
    """e = 1/4 + asin(r)/2π, h = √q/(2π x), q = x y − z²."""
    if x <= 0.0:
        return
    out[0] = 0.25
    if y <= 0.0:
        return
    q = x * y - z * z
    if q <= LEAST_SINE * LEAST_SINE * x * y:
        out[0] = 0.5 if z > 0.0 else 0.0
        return
    s = math.sqrt(q)
    out[0] = 0.25 + BENT * math.atan2(z, s)
    out[1] = BENT * s / x
    out[2], out[3], out[4] = -0.5 * BENT * z / (x * s), -0.5 * BENT * z / (y * s), BENT / s
    out[5] = BENT * (0.5 * y / s - s / x) / x
    out[6], out[7] = 0.5 * BENT / s, -BENT * z / (s * x)


@kernel(_nrt=False)
def second_pair(activation: int, x: float, y: float, z: float, out: Any) -> None:
    """I2(k, a) and its derivatives by x, y, z: writes (4,) to `out`."""
    if code_of(activation) == ERF:
        s = math.sqrt(determinant(x, y, z))
        out[0] = TWO_OVER_PI * math.atan2(z, s)
        out[1] = -0.5 * TWO_OVER_PI * z / ((1.0 + x) * s)
        out[2] = -0.5 * TWO_OVER_PI * z / ((1.0 + y) * s)
        out[3] = TWO_OVER_PI / s
    elif code_of(activation) == RELU:
        q = max(x * y - z * z, 0.0)
        s = math.sqrt(q)
        theta = math.atan2(z, s) if q > 0.0 or z != 0.0 else 0.0
        out[0] = BENT * (s + z * theta) + 0.25 * z
        out[1] = 0.5 * BENT * s / x if x > 0.0 else 0.0
        out[2] = 0.5 * BENT * s / y if y > 0.0 else 0.0
        out[3] = 0.25 + BENT * theta
    else:
        out[0], out[1], out[2], out[3] = z, 0.0, 0.0, 1.0


@inner
def slope_pair(activation: int, x: float, y: float, z: float) -> Any:
    """J2(k, a) and its derivatives by x, y, z."""
    if code_of(activation) == ERF:
        s = inverse_root(x, y, z)
        j, rest = TWO_OVER_PI * s, s * s
        return j, -0.5 * j * (1.0 + y) * rest, -0.5 * j * (1.0 + x) * rest, j * z * rest
    if code_of(activation) != RELU:
        return 1.0, 0.0, 0.0, 0.0
    # Its first entry and the derivatives of it are those of the drive.
    q = x * y - z * z
    if q <= LEAST_SINE * LEAST_SINE * x * y:
        return 0.5 if z > 0.0 else 0.0, 0.0, 0.0, 0.0
    s = math.sqrt(q)
    j = 0.25 + BENT * math.atan2(z, s)
    return j, -0.5 * BENT * z / (x * s), -0.5 * BENT * z / (y * s), BENT / s
