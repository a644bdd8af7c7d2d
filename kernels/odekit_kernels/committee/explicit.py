"""Explicit steps of one trajectory in one call: from Python a call costs twenty stages."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import alternatives, inner, kernel
from odekit_kernels.committee import groups, one

__all__ = ["reach", "steps"]


def rhs_of(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """The right-hand side for the kind of system that it is given."""
    (one.rhs if system.inputs is None else groups.rhs)(y, eta_w, eta_v, system, work, dy)


def without_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs_of` where all inputs are alike."""
    one.rhs(y, eta_w, eta_v, system, work, dy)


def with_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs_of` with groups of inputs."""
    groups.rhs(y, eta_w, eta_v, system, work, dy)


@alternatives(rhs_of, strict=False)
def choose_rhs(y: Any, eta_w: Any, eta_v: Any, system: Any, *rest: Any) -> Any:  # noqa: ARG001
    """Choose by whether the system's type has groups."""
    inputs = system.types[system.fields.index("inputs")]
    return with_groups if hasattr(inputs, "fields") else without_groups


@inner
def reach(y: Any, h: float, weights: Any, K: Any, count: int, out: Any) -> None:
    """y + h Σ_j weights_j K_j over the first stages."""
    for i in range(y.shape[0]):
        slope = 0.0
        for j in range(count):
            slope += weights[j] * K[j, i]
        out[i] = y[i] + h * slope


@kernel(_nrt=False)
def steps(
    y: Any, spans: Any, A: Any, B: Any, rates: Any, system: Any, work: Any, K: Any, out: Any
) -> None:
    """Steps of several lengths from one point; without stages, the derivative there.

    Parameters
    ----------
    y : ndarray, shape (n,)
    spans : ndarray, shape (steps,)
        Their lengths.
    A, B : ndarray, shape (S, S) and (S,)
        Coefficients of the method.
    rates : ndarray, shape (steps, S + 1, 2)
        Learning rates of both layers at each stage, and at the end.
    system : Committee
    work : Work
    K : ndarray, shape (S, n) or (S + 1, n)
        The first row holds the derivative at y; the others receive those of the last step's stages,
        and at its end if there is a row for it.
    out : ndarray, shape (steps, n)
        Receives the ends.
    """
    S = B.shape[0]
    for i in range(spans.shape[0]):
        for s in range(1, S):
            reach(y, spans[i], A[s], K, s, out[i])
            rhs_of(out[i], rates[i, s, 0], rates[i, s, 1], system, work, K[s])
        reach(y, spans[i], B, K, S, out[i])
        if K.shape[0] > S:
            rhs_of(out[i], rates[i, S, 0], rates[i, S, 1], system, work, K[S])
