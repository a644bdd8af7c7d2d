"""Closed solutions of one mode: a' = b (s − ab), b' = a (s − ab), and deeper balanced chains.

With white inputs every mode of a target learns like this once the weights are aligned with it: s is
its strength, ab that of the network. All arguments may be labelled arrays, broadcast by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast

TERMS = 64
"""Of a series in powers of at most 1/2."""


def one_mode(time: Any, strength: Any, first: Any, second: Any) -> tuple[Any, Any]:
    """Weights of a two-layer chain of single units at any imbalance.

    The conserved imbalance is c = a² − b². Of the Riccati equation of b/a a form is taken in which
    all terms add up, so that it holds at c = 0, at any c, and at any time to rounding.

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, times the learning rate, >= 0; may be infinite.
    strength : array_like or DataArray
        Strength s of the mode.
    first, second : array_like or DataArray
        a and b at time 0.

    Returns
    -------
    a, b : ndarray or DataArray
        Their product is the strength that is learnt.

    Examples
    --------
    >>> import odekit as ok
    >>> a, b = ok.linear.one_mode([0.0, 1.0, 100.0], strength=2.0, first=1e-3, second=1e-3)
    >>> (a * b).round(6)
    array([1.0e-06, 5.5e-05, 2.0e+00])
    """
    given = {"time": time, "strength": strength, "first": first, "second": second}
    a, b = broadcast(_one_mode, given, out=((), ()))
    return a, b


def balanced_mode(time: Any, strength: Any, start: Any, depth: int = 2) -> Any:
    """Strength u of a chain of `depth` equal weights: u' = L u^(2 − 2/L) (s − u).

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, times the learning rate, >= 0.
    strength : array_like or DataArray
        s > 0.
    start : array_like or DataArray
        u at time 0, between 0 and s, both excluded.
    depth : int
        Number L of weights in the chain.

    Returns
    -------
    ndarray or DataArray

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.balanced_mode([0.0, 2.0], strength=1.0, start=0.01, depth=3).round(4)
    array([0.01  , 0.0514])
    """
    L = count("depth", depth, most=10_000)

    def solve(time: Floats, strength: Floats, start: Floats) -> tuple[Floats, ...]:
        return (_balanced(time, strength, start, L),)

    return broadcast(solve, {"time": time, "strength": strength, "start": start})[0]


def _one_mode(time: Floats, strength: Floats, first: Floats, second: Floats) -> tuple[Any, ...]:
    # Of opposite signs: the same with b and s reversed.
    flip = np.where(np.signbit(first) != np.signbit(second), -1.0, 1.0)
    a, b, s = np.abs(first), np.abs(second), flip * strength
    a, b, s, t = np.broadcast_arrays(a, b, s, time)
    ab = _learnt(t, s, a, b)
    c = (a - b) * (a + b)
    large = np.sqrt(0.5 * (np.abs(c) + np.hypot(c, 2.0 * ab)))
    small = np.divide(ab, large, out=np.zeros_like(large), where=large > 0)
    return (
        np.copysign(1.0, first) * np.where(c >= 0, large, small),
        np.copysign(1.0, second) * np.where(c >= 0, small, large),
    )


def _learnt(t: Floats, s: Floats, a: Floats, b: Floats) -> Floats:
    """The product ab, for a, b >= 0.

    P = (a + b)² obeys P' = 2 s P − P²/2 + c²/2, with roots 2 s ± r, r = √(c² + 4 s²), and
    (a − b)² = c²/P, so that 4 ab = (N − cD)(N + cD)/(ND) for P = N/D; below, over r.
    """
    c = np.abs((a - b) * (a + b))
    r = np.hypot(c, 2.0 * s)
    safe = np.where(r > 0, r, 1.0)
    sigma, gamma = 2.0 * s / safe, np.where(r > 0, c / safe, 1.0)
    # Both roots over r; the smaller from the product of the two, −c²/r².
    larger = 1.0 + np.abs(sigma)
    smaller = gamma * gamma / larger
    above = np.where(s >= 0, larger, smaller)
    below = np.where(s >= 0, smaller, larger)
    with np.errstate(invalid="ignore", over="ignore"):
        rt = np.where(r > 0, r * t, 0.0)
        gone = np.exp(-rt)
        elapsed = np.where(r > 0, -np.expm1(-rt) / safe, t)
    # r − c and r − 2|s|, over r, without cancellation.
    near, far = sigma * sigma / (1.0 + gamma), gamma * gamma / larger
    up = np.where(s >= 0, sigma + near, near - np.abs(sigma))
    up = np.where(s >= 0, up, -np.abs(sigma) * (gamma + far) / (1.0 + gamma))
    down = np.where(s >= 0, sigma * (gamma + far) / (1.0 + gamma), -(np.abs(sigma) + near))
    P = (a + b) ** 2
    N = P * (above + below * gone) + c * c * elapsed
    D = P * elapsed + below + above * gone
    excess = 2.0 * (a + b) * np.minimum(a, b)  # P − |c|
    difference = 2.0 * excess * gone + elapsed * r * (P * up + c * down)
    scale = np.where((N > 0) & (D > 0), N, 1.0)
    found = 0.25 * (difference / scale) * ((N + c * D) / np.where(D > 0, D, 1.0))
    return np.where(N > 0, found, 0.0)


def _balanced(time: Floats, strength: Floats, start: Floats, L: int) -> Floats:
    """By the time at which u is reached, which is closed, in the log-odds of w = u/s."""
    t, s, u = np.broadcast_arrays(time, strength, start)
    if np.any(~((u > 0) & (u < s))):
        raise ProblemError(
            "start", "must be between 0 and `strength`", f"{u.min():g} to {u.max():g}", ""
        )
    rate = L * s ** (2.0 - 2.0 / L)
    begin = np.log(u) - np.log(s - u)
    if L == 1:
        return np.asarray(s + (u - s) * np.exp(-t))
    if L == 2:
        return np.asarray(s * _expit(begin + rate * t))
    from scipy.optimize import elementwise

    def late(x: Floats, begin: Floats, goal: Floats) -> Floats:
        return np.asarray(_clock(x, L) - _clock(begin, L) - goal)

    # The clock runs by at least one for each of the log-odds.
    goal = rate * t
    high = begin + goal + 1.0
    found = elementwise.find_root(
        late, (begin, high), args=(begin, goal), tolerances={"xatol": 1e-14, "xrtol": 1e-15}
    )
    return np.asarray(s * _expit(found.x))


def _expit(x: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(x))


def _clock(x: Floats, L: int) -> Floats:
    """∫ w^p dx, p = 2/L − 1, of the log-odds x of w: L s^(2 − 2/L) times the time, plus a constant.

    A hypergeometric function up to w = 1/2; beyond, where it has a pole, a series in 1 − w.
    """
    from scipy.special import hyp2f1

    power = 2.0 / L - 1.0
    w = _expit(np.minimum(x, 0.0))
    early = w**power / power * hyp2f1(1.0, power, power + 1.0, w)
    k = np.arange(1, TERMS + 1)
    weights = (np.cumprod((k - power) / k) - 1.0) / k

    def rest(z: Floats) -> Floats:
        total = np.zeros_like(z)
        for weight in weights[::-1]:
            total = (total + weight) * z
        return total

    late = np.maximum(x, 0.0)
    return np.asarray(early + late + rest(np.full_like(late, 0.5)) - rest(_expit(-late)))
