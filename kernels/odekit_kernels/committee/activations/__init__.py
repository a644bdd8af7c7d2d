"""Gaussian moments of the fields, one file an activation.

Each file offers the same functions on the scratch arrays of `odekit_kernels.committee.work`:

``second(work, rows, D)``
    I2(a, b) of the first `rows` fields with all fields.
``drive(work, K, D)``
    A_kb, contracted with the averaged coefficients `work.cbar`.
``diffusion(work, p, K, D)``
    The η² sums of I4, and J2; after `drive`.
``second_gradient``, ``drive_gradient``, ``diffusion_gradient``
    Derivatives of one output with respect to the entries of C and to the coefficients.

Coefficients are averaged over tasks *before* the moments are computed, for all of these are linear
in them or in their products: a mixture of tasks costs hardly more than one task.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels.committee.activations import erf, linear, relu
from odekit_kernels.committee.work import inner

ERF = 0
LINEAR = 1
RELU = 2

__all__ = [
    "ERF",
    "LINEAR",
    "RELU",
    "diffusion",
    "diffusion_gradient",
    "drive",
    "drive_gradient",
    "second",
    "second_gradient",
]


@inner
def second(activation: int, work: Any, rows: int, D: int) -> None:
    """Fill `work.I2`."""
    if activation == ERF:
        erf.second(work, rows, D)
    elif activation == LINEAR:
        linear.second(work, rows, D)
    else:
        relu.second(work, rows, D)


@inner
def drive(activation: int, work: Any, K: int, D: int) -> None:
    """Fill `work.A`."""
    if activation == ERF:
        erf.drive(work, K, D)
    elif activation == LINEAR:
        linear.drive(work, K, D)
    else:
        relu.drive(work, K, D)


@inner
def diffusion(activation: int, work: Any, p: Any, K: int, D: int) -> None:
    """Fill `work.E` and `work.J2`."""
    if activation == ERF:
        erf.diffusion(work, p, K, D)
    elif activation == LINEAR:
        linear.diffusion(work, p, K, D)
    else:
        relu.diffusion(work, p, K, D)


@inner
def second_gradient(activation: int, work: Any, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a row_a I2(k, a): `work.by_k` and `work.by_a`."""
    if activation == ERF:
        erf.second_gradient(work, k, D)
    elif activation == LINEAR:
        linear.second_gradient(work, k, D)
    else:
        relu.second_gradient(work, k, D)


@inner
def drive_gradient(activation: int, work: Any, k: int, b: int, D: int) -> None:
    """Fill the derivatives of A_kb: `work.by_k`, `work.by_b`, `work.by_a`, `work.by_c`."""
    if activation == ERF:
        erf.drive_gradient(work, k, b, D)
    elif activation == LINEAR:
        linear.drive_gradient(work, k, b, D)
    else:
        relu.drive_gradient(work, k, b, D)


@inner
def diffusion_gradient(
    activation: int, work: Any, p: Any, sigma: Any, k: int, l: int, D: int
) -> None:
    """Fill the derivatives of E_kl + noise J2: `work.B`, `work.m` and `work.e`."""
    if activation == ERF:
        erf.diffusion_gradient(work, p, sigma, k, l, D)
    elif activation == LINEAR:
        linear.diffusion_gradient(work, p, sigma, k, l, D)
    else:
        relu.diffusion_gradient(work, p, sigma, k, l, D)
