"""Gaussian moments against their definition: an integral over the plane, in polar coordinates.

Four fields of a covariance of rank two are functions of two variables, so that even a moment of
four fields is an integral over the plane; along rays through the origin a g with a kink at 0 is
smooth on either side. Nothing is shared with the quadratures of odekit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.problem.phase import Phase
from odekit.systems.committee.activations import (
    COMPILED,
    KINKED,
    Activation,
    check_activation,
    on_quadrature,
)
from odekit.systems.committee.field import CommitteeField
from odekit.systems.committee.problem import Problem, Task
from odekit.systems.committee.state import OrderParameters
from odekit.systems.committee.trainer import functions_of as compiled_functions
from odekit.testing.blocks import derivative
from odekit.testing.report import FACTOR, hold

if TYPE_CHECKING:
    from odekit.testing.report import Floats

    Moment = Callable[..., float]

RTOL = 1e-13
"""Unit of deviations of closed forms."""
RAYS, POINTS = 40, 240
LAST = 11.0
ARGUMENTS = {"I2": 2, "I3": 3, "I4": 4, "J2": 2}


def assert_moments_match(
    activation: str | Activation,
    moments: Mapping[str, Moment] | None = None,
    *,
    seed: int = 0,
    scale: float = 1.0,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that an activation's Gaussian moments are what they are defined to be.

    Parameters
    ----------
    activation : str or Activation
        g, smooth but for a kink at 0. Of odekit's own path for it the equations themselves are
        compared, dQ, dR and dv with and without the η² line: they hold every moment.
    moments : mapping, optional
        Closed forms of one's own instead, by name: ``I2(C, a, b)`` = E[g(a) g(b)],
        ``I3(C, a, b, c)`` = E[g'(a) b g(c)], ``I4(C, a, b, c, d)`` = E[g'(a) g'(b) g(c) g(d)],
        ``J2(C, a, b)`` = E[g'(a) g'(b)], of fields with covariance C.
    seed : int
        Of the random covariance of four fields, of rank two.
    scale : float
        Root mean square of the fields.
    rtol : float, optional
        Unit of the tolerance, relative to the largest moment of its kind: 1e-13 for closed forms,
        a hundredth of the activation's accuracy for quadrature.
    factor : float
        Deviation allowed, in units of rtol.

    Raises
    ------
    LawBroken

    Examples
    --------
    >>> assert_moments_match("linear", {"I2": lambda C, a, b: C[a, b],
    ...                                 "I3": lambda C, a, b, c: C[b, c]})
    """
    check_activation(activation)
    L = np.random.default_rng(seed).standard_normal((4, 2))
    L *= scale / np.sqrt((L * L).sum() / 4)
    g, dg = functions_of(activation)
    X, weight = plane(L)
    if moments is not None:
        _compare_forms(moments, L @ L.T, X, weight, g, dg, rtol or RTOL, factor)
        return
    own = on_quadrature(activation, gradient_flow=False)
    unit = rtol or (RTOL if own is None or own.slope is not None else own.accuracy / 100)
    for flow in (True, False):
        _compare_equations(activation, flow, L, X, weight, g, dg, unit, factor)


def functions_of(activation: str | Activation) -> tuple[Any, Any]:
    """g and g' as functions of arrays."""
    if activation == "linear":
        return (lambda x: x), np.ones_like
    if activation == "erf":
        from scipy.special import erf

        slope = np.sqrt(2.0 / np.pi)
        return (lambda x: erf(x / np.sqrt(2.0))), (lambda x: slope * np.exp(-0.5 * x * x))
    if activation in COMPILED and activation not in KINKED:
        return compiled_functions(str(activation))
    own = activation if isinstance(activation, Activation) else Activation.shipped(activation)
    return own.function, own.derivative


def plane(L: Floats) -> tuple[Floats, Floats]:
    """Values of the fields L z at points of the plane, (fields, n), and weights, (n,).

    Rays are Gauss-Legendre's between the lines on which a field vanishes, and so are points on a
    ray.
    """
    zeros = np.mod(np.arctan2(L[:, 1], L[:, 0]) + 0.5 * np.pi, np.pi)
    edges = np.unique(np.concatenate([zeros, zeros + np.pi]))
    edges = np.append(edges, edges[0] + 2.0 * np.pi)
    node, w = np.polynomial.legendre.leggauss(RAYS)
    half = 0.5 * np.diff(edges)[:, None]
    angle = (edges[:-1, None] + half * (1.0 + node)).ravel()
    by_angle = (half * w).ravel()
    node, w = np.polynomial.legendre.leggauss(POINTS)
    r = 0.5 * LAST * (1.0 + node)
    by_r = 0.5 * LAST * w * r * np.exp(-0.5 * r * r) / (2.0 * np.pi)
    rays = L @ np.array([np.cos(angle), np.sin(angle)])
    return (rays[:, :, None] * r).reshape(len(L), -1), np.outer(by_angle, by_r).ravel()


def _compare_forms(
    moments: Mapping[str, Moment],
    C: Floats,
    X: Floats,
    weight: Floats,
    g: Any,
    dg: Any,
    rtol: float,
    factor: float,
) -> None:
    f, d = g(X), dg(X)
    integrands: dict[str, Callable[..., Any]] = {
        "I2": lambda a, b: f[a] * f[b],
        "I3": lambda a, b, c: d[a] * X[b] * f[c],
        "I4": lambda a, b, c, e: d[a] * d[b] * f[c] * f[e],
        "J2": lambda a, b: d[a] * d[b],
    }
    for name, moment in moments.items():
        if name not in integrands:
            raise ProblemError("moments", f"must be named {', '.join(ARGUMENTS)}", repr(name), "")
        shape = (len(C),) * ARGUMENTS[name]
        found, wanted = np.empty(shape), np.empty(shape)
        for index in np.ndindex(shape):
            found[index] = moment(C, *index)
            wanted[index] = weight @ integrands[name](*index)
        law = f"{name} is the moment of its definition"
        hold(law, name, found - wanted, size=np.abs(wanted).max(), rtol=rtol, factor=factor)


def _compare_equations(
    activation: str | Activation,
    flow: bool,
    L: Floats,
    X: Floats,
    weight: Floats,
    g: Any,
    dg: Any,
    rtol: float,
    factor: float,
) -> None:
    """The right-hand side against averages of the update of one step."""
    K, C = 2, L @ L.T
    v, u, sigma, eta_w, eta_v = np.array([0.7, -0.4]), np.array([0.9, 0.6]), 0.3, 0.8, 0.5
    problem = Problem(
        state=OrderParameters(Q=C[:K, :K], R=C[:K, K:], T=C[K:, K:]),
        heads={"main": v},
        tasks={"main": Task(u, noise_std=sigma)},
        phases=[Phase("main", 1.0, eta_w, eta_v, gradient_flow=flow)],
        activation=activation,
    )
    rhs = CommitteeField(problem)
    found = derivative(rhs, 0.0, rhs.blocks)
    f, d = np.asarray(g(X)), np.asarray(dg(X))
    error = u @ f[K:] - v @ f[:K]
    drive = eta_w * (v[:, None] * d[:K] * error * weight) @ X.T
    dQ = drive[:, :K] + drive[:, :K].T
    if not flow:
        kick = eta_w * v[:, None] * d[:K]
        dQ = dQ + (kick * (error * error + sigma * sigma) * weight) @ kick.T
    wanted = (dQ, drive[:, K:], eta_v * (f[:K] * error) @ weight)
    size = max(float(np.abs(x).max()) for x in wanted)
    law = "the equations hold the moments of their definition"
    law += " in gradient flow" if flow else ", the η² line included"
    for name, one, two in zip(("dQ", "dR", "dv"), found, wanted, strict=True):
        hold(law, name, one - two.reshape(one.shape), size=size, rtol=rtol, factor=factor)
