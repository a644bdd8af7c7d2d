"""Moments of pairs of fields as functions of x = C_kk, y = C_aa and z = C_ka, with derivatives.

For one trajectory, and for `reverse`. Where k = a they are the same functions at x = y = z.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations import ERF, RELU

__all__ = ["drive_pair", "second_pair", "slope_pair"]

TWO_OVER_PI = 2.0 / math.pi
BENT = 0.5 / math.pi
LEAST_SINE = 1e-8
"""Sine of the angle between two fields of ReLU below which they count as one: √q has no slope."""


@inner
def determinant(x: float, y: float, z: float) -> float:
    """Λ = (1 + x)(1 + y) − z²."""
    return (1.0 + x) + (y + (x * y - z * z))


@kernel(_nrt=False)
def drive_pair(activation: int, x: float, y: float, z: float, out: Any) -> None:
    """e, h and their derivatives by x, y, z: A_kb = Σ_a cbar_ka (e_ka C_ab + h_ka C_kb).

    Parameters
    ----------
    activation : int
        One of the codes in `odekit_kernels.committee.activations`.
    x, y, z : float
        C_kk, C_aa, C_ka.
    out : ndarray, shape (8,)
        Receives e, h, e_x, e_y, e_z, h_x, h_y, h_z.
    """
    for i in range(8):
        out[i] = 0.0
    if activation == ERF:
        rest = 1.0 / determinant(x, y, z)
        e, n = TWO_OVER_PI * math.sqrt(rest), 1.0 / (1.0 + x)
        e_x, e_y, e_z = -0.5 * e * (1.0 + y) * rest, -0.5 * e * (1.0 + x) * rest, e * z * rest
        out[0], out[1] = e, -e * z * n
        out[2], out[3], out[4] = e_x, e_y, e_z
        out[5], out[6], out[7] = (e * n - e_x) * z * n, -e_y * z * n, -(e_z * z + e) * n
    elif activation == RELU:
        drive_pair_of_relu(x, y, z, out)
    else:
        out[0] = 1.0


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
    if activation == ERF:
        s = math.sqrt(determinant(x, y, z))
        out[0] = TWO_OVER_PI * math.atan2(z, s)
        out[1] = -0.5 * TWO_OVER_PI * z / ((1.0 + x) * s)
        out[2] = -0.5 * TWO_OVER_PI * z / ((1.0 + y) * s)
        out[3] = TWO_OVER_PI / s
    elif activation == RELU:
        q = max(x * y - z * z, 0.0)
        s = math.sqrt(q)
        theta = math.atan2(z, s) if q > 0.0 or z != 0.0 else 0.0
        out[0] = BENT * (s + z * theta) + 0.25 * z
        out[1] = 0.5 * BENT * s / x if x > 0.0 else 0.0
        out[2] = 0.5 * BENT * s / y if y > 0.0 else 0.0
        out[3] = 0.25 + BENT * theta
    else:
        out[0], out[1], out[2], out[3] = z, 0.0, 0.0, 1.0


@kernel(_nrt=False)
def slope_pair(activation: int, x: float, y: float, z: float, out: Any) -> None:
    """J2(k, a) and its derivatives by x, y, z: writes (4,) to `out`."""
    if activation == ERF:
        rest = 1.0 / determinant(x, y, z)
        j = TWO_OVER_PI * math.sqrt(rest)
        out[0], out[1] = j, -0.5 * j * (1.0 + y) * rest
        out[2], out[3] = -0.5 * j * (1.0 + x) * rest, j * z * rest
    elif activation == RELU:
        # Its first entry and the derivatives of it are those of the drive.
        q = x * y - z * z
        out[1], out[2], out[3] = 0.0, 0.0, 0.0
        if q <= LEAST_SINE * LEAST_SINE * x * y:
            out[0] = 0.5 if z > 0.0 else 0.0
        else:
            s = math.sqrt(q)
            out[0] = 0.25 + BENT * math.atan2(z, s)
            out[1], out[2], out[3] = -0.5 * BENT * z / (x * s), -0.5 * BENT * z / (y * s), BENT / s
    else:
        out[0], out[1], out[2], out[3] = 1.0, 0.0, 0.0, 0.0
