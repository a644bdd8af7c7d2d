"""When noise leaves a state that the equations alone would not leave, or leave later.

Along the unstable directions the deviation of a network is a e^(λ t) with a Gaussian, so that the
time at which it is seen scatters by about 1/λ, however large N is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from odekit.base.arrays import Floats

DRAWS = 2**13
GRID = 400
LEAST = 1e-9


class Departure(NamedTuple):
    """Times of escape.

    Attributes
    ----------
    rate : float
        Fastest unstable rate λ.
    times : ndarray, shape (draws,)
        Sorted; all equally likely.
    """

    rate: float
    times: Floats


def _unstable(real: float, _imaginary: float = 0.0) -> bool:
    return real > LEAST


def departure(
    J: Floats,
    B: Floats,
    S: Floats,
    input_dim: float,
    seen: Callable[[Floats], Floats],
    level: float,
) -> Departure | None:
    """When a deviation from a state is seen, counted from now; None if nothing is unstable.

    Parameters
    ----------
    J : ndarray, shape (n, n)
        Jacobian at the state.
    B, S : ndarray, shape (n, n)
        Covariance of a jump, and of the state now times N.
    input_dim : float
        N.
    seen : callable
        Of deviations (..., n), what is seen of them; linear but for absolute values.
    level : float
        What counts as escaped.
    """
    from scipy.linalg import expm, schur, solve_continuous_lyapunov, solve_sylvester
    from scipy.stats import norm, qmc

    T, Z, u = schur(J, sort=_unstable)
    if not u:
        return None
    X = solve_sylvester(T[:u, :u], -T[u:, u:], T[:u, u:]) if u < len(J) else np.zeros((u, 0))
    L = np.hstack([np.eye(u), X]) @ Z.T
    # What is still to come of the noise adds to what there is: S_u e^(−2λt) has a limit.
    whole = L @ S @ L.T + solve_continuous_lyapunov(T[:u, :u], L @ B @ L.T)
    values, vectors = np.linalg.eigh(whole / input_dim)
    even = (np.arange(DRAWS) + 0.5)[:, None] / DRAWS
    places = even if u == 1 else qmc.Sobol(u, rng=np.random.default_rng(0)).random(DRAWS)
    normal = norm.ppf(np.clip(places, 1e-9, 1 - 1e-9))
    a = normal * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    rate = float(np.linalg.eigvals(T[:u, :u]).real.max())
    clock = np.linspace(-8.0, 24.0, GRID) / rate
    paths = (a @ (Z[:, :u] @ expm(T[:u, :u] * t)).T for t in clock)
    grown = np.array([seen(path) for path in paths])
    first = np.clip((grown >= level).argmax(axis=0), 1, GRID - 1)
    draw = np.arange(DRAWS)
    low, high = (np.log(np.maximum(grown[i, draw], 1e-300)) for i in (first - 1, first))
    share = np.clip((np.log(level) - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return Departure(rate, np.sort(clock[first - 1] + share * (clock[1] - clock[0])))
