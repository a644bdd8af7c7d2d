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

from odekit_kernels._jit import inner
from odekit_kernels.committee.activations import erf, linear, relu

ERF = 0
LINEAR = 1
RELU = 2
CODES = {"erf": ERF, "linear": LINEAR, "relu": RELU}
QUADRATURE = -1
"""Code of all others, whose moments no kernel computes."""

__all__ = [
    "CODES",
    "ERF",
    "LINEAR",
    "QUADRATURE",
    "RELU",
    "check",
    "diffusion",
    "diffusion_gradient",
    "drive",
    "drive_gradient",
    "second",
    "second_gradient",
]


def check(activation: int) -> int:
    """The code of an activation, or `QUADRATURE`.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if activation not in (*CODES.values(), QUADRATURE):
        listed = ", ".join(f"{code} ({name})" for name, code in CODES.items())
        raise ValueError(
            f"`activation` must be one of {listed}, or {QUADRATURE} (moments from quadrature), "
            f"got {activation!r}"
        )
    return activation


@inner
def refuse() -> None:
    """Stop where moments are asked for that no kernel computes."""
    raise ValueError("activation: no compiled moments for this code")


@inner
def second(activation: int, work: Any, rows: int, D: int) -> None:
    """Fill `work.I2`."""
    if activation == ERF:
        erf.second(work, rows, D)
    elif activation == LINEAR:
        linear.second(work, rows, D)
    elif activation == RELU:
        relu.second(work, rows, D)
    else:
        refuse()


@inner
def drive(activation: int, work: Any, K: int, D: int) -> None:
    """Fill `work.A`."""
    if activation == ERF:
        erf.drive(work, K, D)
    elif activation == LINEAR:
        linear.drive(work, K, D)
    elif activation == RELU:
        relu.drive(work, K, D)
    else:
        refuse()


@inner
def diffusion(activation: int, work: Any, p: Any, K: int, D: int) -> None:
    """Fill `work.E` and `work.J2`."""
    if activation == ERF:
        erf.diffusion(work, p, K, D)
    elif activation == LINEAR:
        linear.diffusion(work, p, K, D)
    elif activation == RELU:
        relu.diffusion(work, p, K, D)
    else:
        refuse()


@inner
def second_gradient(activation: int, work: Any, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a row_a I2(k, a): `work.by_k` and `work.by_a`."""
    if activation == ERF:
        erf.second_gradient(work, k, D)
    elif activation == LINEAR:
        linear.second_gradient(work, k, D)
    elif activation == RELU:
        relu.second_gradient(work, k, D)
    else:
        refuse()


@inner
def drive_gradient(activation: int, work: Any, k: int, b: int, D: int) -> None:
    """Fill the derivatives of A_kb: `work.by_k`, `work.by_b`, `work.by_a`, `work.by_c`."""
    if activation == ERF:
        erf.drive_gradient(work, k, b, D)
    elif activation == LINEAR:
        linear.drive_gradient(work, k, b, D)
    elif activation == RELU:
        relu.drive_gradient(work, k, b, D)
    else:
        refuse()


@inner
def diffusion_gradient(
    activation: int, work: Any, p: Any, sigma: Any, k: int, l: int, D: int
) -> None:
    """Fill the derivatives of E_kl + noise J2: `work.B`, `work.m` and `work.e`."""
    if activation == ERF:
        erf.diffusion_gradient(work, p, sigma, k, l, D)
    elif activation == LINEAR:
        linear.diffusion_gradient(work, p, sigma, k, l, D)
    elif activation == RELU:
        relu.diffusion_gradient(work, p, sigma, k, l, D)
    else:
        refuse()
