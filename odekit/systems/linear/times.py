"""When a mode reaches a level, and how pathways that share a mode divide it."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast, check

PATHWAY = "pathway"


def time_to(
    strength: Any,
    first: Any,
    second: Any,
    *,
    level: Any = None,
    above: Any = None,
    within: Any = None,
) -> Any:
    """When a mode a' = b (s − ab), b' = a (s − ab) reaches a level: the inverse of `one_mode`.

    With y = ab, c = a² − b², R = √(c² + 4y²), P = (a + b)² = R + 2y, r = √(c² + 4s²) and s > 0
    (else b and y are reversed with it), y moves from y₀ to s, never back, and

        t(y) = (1/r) log(1 + x),
        x = 2r (y − y₀)(P + P₀)(r + R) / [(R + R₀)(s − y)(2s + r + P)(P₀ + c²/(2s + r))].

    No factor but y − y₀ and s − y is a difference, so that times are exact to the rounding of the
    arguments. Give exactly one of `level`, `above` and `within`.

    Parameters
    ----------
    strength : array_like or DataArray
        Strength s of the mode.
    first, second : array_like or DataArray
        a and b at time 0. Those whose squares underflow (below 1e-154) count as 0.
    level : array_like or DataArray, optional
        When y is this.
    above : array_like or DataArray, optional
        Escape time: when y first exceeds this, 0 if it does at the start.
    within : array_like or DataArray, optional
        Hitting time: when |s − y| is first less than this, > 0. The distance itself is used, so
        that it may be smaller than the rounding of s.

    Returns
    -------
    ndarray or DataArray
        Times, times the learning rate; ∞ if never.

    Raises
    ------
    ProblemError
        If not exactly one level is given, or `within` is not positive.

    Notes
    -----
    Jarvis et al. (2025) call the two times t̂ and t*. Imbalance of either sign shortens both.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> imbalance = [0.0, 1.0, 100.0]
    >>> b = (1e-6 + np.array(imbalance)) ** 0.5
    >>> ok.linear.time_to(10.0, 1e-3, b, above=5.0).round(5)
    array([0.8059 , 0.1819 , 0.00691])
    >>> ok.linear.time_to(10.0, 1e-3, b, within=1.0).round(5)
    array([0.91577, 0.29148, 0.02282])
    """
    kind, goal = _one_goal(level, above, within)

    def solve(**given: Floats) -> tuple[Floats, ...]:
        s, a, b, y = np.broadcast_arrays(*given.values())
        return (_when(kind, s, a, b, y),)

    return broadcast(solve, {"strength": strength, "first": first, "second": second, kind: goal})[0]


def race(time: Any, strength: Any, first: Any, second: Any, dim: str = PATHWAY) -> Any:
    """What each of several pathways learns of one mode that they share.

    With a_k' = b_k e, b_k' = a_k e, e = s − Σ_j a_j b_j, all (a_k ± b_k)² change by a common
    factor, g and 1/g. The sum is one mode with A = Σ(a_k + b_k)², B = Σ(a_k − b_k)², c² = AB, of
    which g is known, and

        y_k = a_k b_k = ¼ [(a_k + b_k)²(0) g − (a_k − b_k)²(0)/g].

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, times the learning rate, >= 0; infinite for the final shares.
    strength : array_like or DataArray
        Strength s of the mode.
    first, second : array_like or DataArray
        a_k and b_k at time 0, over the pathways: the last axis of arrays, `dim` of labelled ones.
    dim : str
        The pathways' dim.

    Returns
    -------
    ndarray or DataArray
        y_k, over the pathways last. Where they grow all terms add up and they are exact to their
        rounding; where they fall, to that of the squared weights.

    Notes
    -----
    From small weights the final shares are (a_k + b_k)²(0)/A: of pathways with a_k ≈ 0 in
    proportion to their imbalances.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> ok.linear.race([0.0, np.inf], 10.0, [1e-3, 1e-3], [1.0, 3.0]).round(3)
    array([[1.000e-03, 3.000e-03],
           [1.001e+00, 8.999e+00]])
    """
    given = {"time": time, "strength": strength, "first": first, "second": second}
    core = {"first": (dim,), "second": (dim,)}
    return broadcast(_race, given, core, out=((dim,),))[0]


def race_time_to(
    strength: Any,
    first: Any,
    second: Any,
    *,
    level: Any = None,
    above: Any = None,
    within: Any = None,
    dim: str = PATHWAY,
) -> Any:
    """When each of several pathways that share a mode has learnt an amount of its own.

    Parameters
    ----------
    strength, first, second, dim
        As of `race`.
    level, above, within : array_like or DataArray, optional
        As of `time_to`, of y_k: `within` is the distance of y_k from the whole s. Labelled ones may
        have the pathways' dim, arrays have no axis of pathways.

    Returns
    -------
    ndarray or DataArray
        Times, times the learning rate, over the pathways last; ∞ if never.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.race_time_to(10.0, [1e-3, 1e-3], [1.0, 3.0], above=5.0).round(4)
    array([   inf, 0.0679])
    """
    kind, goal = _one_goal(level, above, within)
    labelled = hasattr(goal, "dims") and dim in goal.dims
    core = {"first": (dim,), "second": (dim,), **({kind: (dim,)} if labelled else {})}

    def solve(**given: Floats) -> tuple[Floats, ...]:
        s, a, b, y = given.values()
        return (_race_when(kind, s[..., None], a, b, y if labelled else y[..., None]),)

    given = {"strength": strength, "first": first, "second": second, kind: goal}
    return broadcast(solve, given, core, out=((dim,),))[0]


def _one_goal(level: Any, above: Any, within: Any) -> tuple[str, Any]:
    """Which of the three is given, and its value."""
    every = {"level": level, "above": above, "within": within}
    named = [name for name, value in every.items() if value is not None]
    if len(named) != 1:
        rule = "must be the only one given of `level`, `above` and `within`"
        raise ProblemError("level", rule, ", ".join(named) or "none of them", "Give one.")
    if named[0] == "within":
        distance = as_floats("within", within, "a number or an array of numbers")
        check("within", distance > 0, "must be > 0", distance, "It is a distance from `strength`.")
    return named[0], every[named[0]]


def _when(kind: str, s: Floats, a: Floats, b: Floats, goal: Floats) -> Floats:
    start = a * b
    if kind == "within":
        side = np.where(start < s, 1.0, -1.0)
        time = _clock(s, a, b, s - side * goal, side * goal)
        return np.where(np.abs(s - start) < goal, 0.0, time)
    time = _clock(s, a, b, goal, s - goal)
    return np.where(start > goal, 0.0, time) if kind == "above" else time


def _clock(s: Floats, a: Floats, b: Floats, y: Floats, gap: Floats) -> Floats:
    """The formula of `time_to`; `gap` is s − y."""
    # With no target, what is learnt is forgotten: the side on which it started is above 0.
    flip = np.where((s < 0) | ((s == 0) & (a * b < 0)), -1.0, 1.0)
    s, b, y, gap = flip * s, flip * b, flip * y, flip * gap
    start, c = a * b, (a - b) * (a + b)
    R, R0, r = np.hypot(c, 2 * y), a * a + b * b, np.hypot(c, 2 * s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        P = np.where(y >= 0, R + 2 * y, c / (R - 2 * y) * c)
        # Of a start against the target P₀ = c²/(R₀ − 2y₀), whose c² is cancelled.
        against = np.where(y >= 0, P / c / c, 1 / (R - 2 * y))
        P0 = np.where(start >= 0, (a + b) ** 2, 1 / (R0 - 2 * start))
        sums = np.where(start >= 0, P, against) + P0
        ends = P0 + np.where(start >= 0, c / (2 * s + r) * c, 1 / (2 * s + r))
        ends = np.where((start >= 0) & (c == 0), P0, ends)
        x = 2 * (y - start) / gap * (sums / ends) * ((r + R) / (R + R0)) / (2 * s + r + P)
        reached = np.where(y == start, 0.0, _grown(x, r))
    between = (y == start) | ((y - start > 0) == (gap > 0)) & (gap != 0)
    return np.where(between & ~np.isnan(reached), reached, np.inf)


def _grown(x: Floats, r: Floats) -> Floats:
    """log(1 + r x)/r, also at r = 0."""
    return np.where(r > 0, np.log1p(r * x) / np.where(r > 0, r, 1.0), x)


def _sums(a: Floats, b: Floats, s: Floats) -> tuple[Floats, ...]:
    """A, B, y₀, r, (r − 2s) of the sum of pathways, which are the last axis; s >= 0."""
    A = ((a + b) ** 2).sum(-1, keepdims=True)
    B = ((a - b) ** 2).sum(-1, keepdims=True)
    start = (a * b).sum(-1, keepdims=True)
    r = np.hypot(np.sqrt(A) * np.sqrt(B), 2 * s)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.where(r > 0, A / (2 * s + r) * B, 0.0)
    return A, B, start, r, rest


def _race(time: Floats, strength: Floats, first: Floats, second: Floats) -> tuple[Floats, ...]:
    t, s = time[..., None], strength[..., None]
    flip = np.where(s < 0, -1.0, 1.0)
    a, b, s = *np.broadcast_arrays(first, flip * second), flip * s
    A, B, start, r, rest = _sums(a, b, s)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        rt = np.where(r > 0, r * t, 0.0)
        gone = np.exp(-rt)
        elapsed = np.where(r > 0, -np.expm1(-rt) / np.where(r > 0, r, 1.0), t)
        scale = np.where(r > 0, r, 1.0)
        below = np.where(r > 0, rest / scale, 1.0)
        above = np.where(r > 0, (2 * s + r) / scale, 1.0)
        D = A * elapsed + below + above * gone
        g = (above + below * gone + B * elapsed) / D
        gain = 4 * elapsed * (s - start) / D  # g − 1
        sinh, cosh = 0.5 * gain * (1 + 1 / g), 1 + 0.5 * gain * (gain / g)
        rising = a * b * cosh + 0.5 * (a * a + b * b) * sinh
        y = np.where(g > 0.5, rising, 0.25 * ((a + b) ** 2 * g - (a - b) ** 2 / g))
    # From the saddle's stable side, or without target for ever, all that is left is nothing.
    return (flip * np.where(np.isfinite(gain) & (g > 0), y, 0.0),)


def _race_when(kind: str, s: Floats, a: Floats, b: Floats, goal: Floats) -> Floats:
    start = a * b
    if kind == "within":
        time = _race_clock(s, a, b, s - np.where(start < s, goal, -goal))
        return np.where(np.abs(s - start) < goal, 0.0, time)
    time = _race_clock(s, a, b, goal)
    return np.where(start > goal, 0.0, time) if kind == "above" else time


def _race_clock(s: Floats, a: Floats, b: Floats, y: Floats) -> Floats:
    """From the factor g by which the pathway's (a + b)² has changed when ab = y."""
    flip = np.where(s < 0, -1.0, 1.0)
    s, b, y = flip * s, flip * b, flip * y
    A, _, total, r, rest = _sums(a, b, s)
    start, c = a * b, (a - b) * (a + b)
    R, R0 = np.hypot(c, 2 * y), a * a + b * b
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # (P − P₀)/P₀, or (M₀ − M)/M with M = (a − b)².
        rising = 2 * (y - start) / (R + R0) * (1 + (R + 2 * y) / (a + b) ** 2)
        falling = 2 * (y - start) / (R + R0) * (1 + (a - b) ** 2 / (R - 2 * y))
        gain = np.where(y >= 0, rising, falling)
        left = 4 * (s - total) - gain * (A + rest)
        x = 2 * gain / left
        reached = np.where(y == start, 0.0, _grown(x, r))
    between = (y == start) | ((left != 0) & ((gain > 0) == (left > 0)) & (gain != 0))
    return np.where(between & np.isfinite(gain), reached, np.inf)
