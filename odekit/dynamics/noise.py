"""Linear noise about a trajectory: covariance S and shift m of what jumps by Z/N, N times a unit.

y_N = y + m/N + N^(-1/2) ξ, Cov ξ = S, with B the covariance of a jump and f₁ what its mean has
beyond f at 1/N (van Kampen's expansion of a chain in discrete time, t = steps/N):

    dS/dt = J S + S Jᵀ + B,      dm/dt = J m + ½ f'':S + f₁ − ½ df/dt
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from odekit.base.arrays import Floats

MOST_NODES = 40
"""Times in a smooth piece at which jumps are averaged."""
FEWER_NODES = 12
"""The same where equations depend on what is remembered, and each derivative makes them anew."""
LARGEST = 40
"""Numbers up to which S has a Jacobian written down, and the method that goes with it."""
STEP = 1e-3
PATH: dict[str, Any] = {"method": "LSODA", "rtol": 1e-9, "atol": 1e-12}
NOISE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-10}


class Flow(Protocol):
    """Equations of a phase: of a state, and of all that its noise depends on (n of N numbers)."""

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative of the state, shape (n,)."""

    def jac(self, t: float, y: Floats) -> Floats:
        """Its Jacobian, shape (n, n)."""

    def whole(self, t: float, y: Floats) -> Floats:
        """Derivatives of the state by all, shape (n, N)."""

    def displaced(self, t: float, y: Floats, step: Floats) -> Floats:
        """Time derivative of the state with all displaced, shape (n,)."""

    def scatter(self, t: float, y: Floats) -> tuple[Floats, Floats]:
        """Covariance B of a jump and its drift f₁, shapes (n, n) and (n,)."""

    def by_time(self, t: float, y: Floats) -> Floats:
        """Partial derivative of `rhs` by time, shape (n,)."""


@dataclass
class Noise:
    """A state with its noise.

    Attributes
    ----------
    y : ndarray, shape (n,)
        The state.
    S : ndarray, shape (N, N)
        Covariance, times N inputs, of it and of what else is remembered.
    m : ndarray, shape (N,)
        Shift of the mean, times N inputs.
    """

    y: Floats
    S: Floats
    m: Floats


def follow(
    flow: Flow, span: tuple[float, float], at: Noise, rows: Floats
) -> tuple[list[Noise], Noise]:
    """Noise at times inside of a smooth piece of a phase, and at its end."""
    begin, end = span
    path = _solve(flow.rhs, span, at.y, jac=flow.jac, dense_output=True, **PATH)
    n, size = at.y.size, len(at.S)
    nodes = _thinned(path.t, MOST_NODES if size == n + 1 else FEWER_NODES)
    times = np.unique(np.concatenate([nodes, rows, [end]]))
    states = path.sol(times).T
    states[-1] = path.y[:, -1]
    known = [flow.scatter(t, path.sol(t)) for t in nodes]
    B = _curve(nodes, np.array([_padded(b, size) for b, _ in known]))
    J = _jacobian(flow, path, nodes, size)
    S = _covariances(J, B, at.S, times)
    inside = np.searchsorted(times, nodes)
    if not np.isfinite(at.m).all():
        return _unshifted(times, states, S, rows)
    drift = [
        _drift(flow, t, states[i], S[i], known[k][1])
        for k, (t, i) in enumerate(zip(nodes, inside, strict=True))
    ]
    c = _curve(nodes, np.array(drift))

    def shift(t: float, m: Floats) -> Floats:
        found = J(t) @ m
        found[:n] += c(t)
        return np.asarray(found)

    def rates(t: float, _: Floats) -> Floats:
        return J(t)

    moved = _solve(shift, (begin, end), at.m, method="LSODA", jac=rates, t_eval=times, **NOISE).y.T
    found = [Noise(states[i], S[i], moved[i]) for i in range(times.size)]
    return [found[i] for i in np.searchsorted(times, rows)], found[-1]


def _jacobian(flow: Flow, path: Any, nodes: Floats, size: int) -> Callable[[float], Floats]:
    """Derivatives of all by all, what is remembered standing still.

    On a curve through the nodes where the equations are made anew for each derivative.
    """

    def whole(t: float) -> Floats:
        J = flow.whole(t, path.sol(t))
        return np.vstack([J, np.zeros((size - len(J), size))])

    if size == path.y.shape[0] + 1:
        return whole
    found: Callable[[float], Floats] = _curve(nodes, np.array([whole(t) for t in nodes]))
    return found


def _unshifted(times: Floats, states: Floats, S: Floats, rows: Floats) -> tuple[list[Noise], Noise]:
    """Noise whose mean is not known."""
    nothing = np.full(S.shape[1], np.nan)
    found = [Noise(y, one, nothing) for y, one in zip(states, S, strict=True)]
    return [found[i] for i in np.searchsorted(times, rows)], found[-1]


def _solve(*args: Any, **keywords: Any) -> Any:
    from scipy.integrate import solve_ivp

    call: Any = solve_ivp
    return call(*args, **keywords)


def _drift(flow: Flow, t: float, y: Floats, S: Floats, own: Floats) -> Floats:
    """½ f'':S + f₁ − ½ df/dt, shape (n,)."""
    f = flow.rhs(t, y)
    along = flow.jac(t, y) @ f + flow.by_time(t, y)
    bent = half_curvature(lambda step: flow.displaced(t, y, step), S)
    return bent + own - 0.5 * along


def half_curvature(f: Callable[[Floats], Floats], S: Floats) -> Floats:
    """½ Σ_ij S_ij ∂²f/∂x_i∂x_j at 0, by second differences along the axes of S."""
    values, vectors = np.linalg.eigh(S)
    centre = f(np.zeros(len(S)))
    found = np.zeros_like(centre)
    for value, vector in zip(values, vectors.T, strict=True):
        if value > 1e-12 * values[-1]:
            ahead, behind = f(STEP * vector), f(-STEP * vector)
            found += 0.5 * value * (ahead - 2.0 * centre + behind) / STEP**2
    return found


def _covariances(J: Callable[[float], Floats], B: Any, S: Floats, times: Floats) -> Floats:
    """S at all times."""
    size = len(S)
    i, j = np.triu_indices(size)

    def rhs(t: float, triangle: Floats) -> Floats:
        half = J(t) @ _full(triangle, size, i, j)
        return np.asarray((half + half.T + B(t))[i, j])

    def jac(t: float, _: Floats) -> Floats:
        return _operator(J(t), i, j)

    small = {"method": "LSODA", "jac": jac}
    more: Any = small if size <= LARGEST else {"method": "DOP853"}
    span = (times[0], times[-1])
    found = _solve(rhs, span, S[i, j], t_eval=times, **more, **NOISE).y.T
    return np.array([_full(row, size, i, j) for row in found])


def _full(triangle: Floats, size: int, i: Any, j: Any) -> Floats:
    S = np.empty((size, size))
    S[i, j] = S[j, i] = triangle
    return S


def _operator(J: Floats, i: Any, j: Any) -> Floats:
    """S ↦ J S + S Jᵀ of the upper triangles, as a matrix."""
    size = len(J)
    unit = np.eye(size)
    rows = np.kron(J, unit).reshape(size, size, size, size)[i, j]
    rows = rows + np.kron(unit, J).reshape(size, size, size, size)[i, j]
    return np.asarray(rows[:, i, j] + np.where(i != j, rows[:, j, i], 0.0))


def _curve(nodes: Floats, values: Floats) -> Any:
    from scipy.interpolate import CubicSpline

    return CubicSpline(nodes, values)


def _thinned(times: Floats, most: int) -> Floats:
    """At most so many of the steps that the path took, its ends among them."""
    count = min(times.size, most)
    return np.unique(times[np.linspace(0, times.size - 1, count).round().astype(int)])


def _padded(B: Floats, size: int) -> Floats:
    found = np.zeros((size, size))
    found[: len(B), : len(B)] = B
    return found
