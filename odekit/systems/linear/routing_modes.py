"""Modes of the routing network: many inputs and outputs through one shared layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.systems.linear.broadcast import broadcast, check

MANY = 10**6
NEWTON = 60
LEAST = -745.0
"""Log-odds whose odds are still above 0."""


def routing_mode(
    time: Any, strength: Any, start: Any, inputs: int, outputs: int
) -> tuple[Any, Any]:
    """Weights of one mode of a routing network of three layers, from equal weights.

    M input blocks and as many outputs share the layer in the middle; each input is trained with K
    of the outputs, and each output with K inputs, never two inputs at once, on the sum of squares
    ½ Σ |Y − C_j B A_i|². Along a mode of Y, of strength s, A_i and C_j are a and B is b:

        a' = K a b e,  b' = M K a² e,  e = s − a²b;   b² − M a² is conserved, so that
        b' = K (b² + c₀)(s − b (b² + c₀)/M),          c₀ = (M − 1) b₀².

    Its time is closed in b (partial fractions), and inverted.

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, times the learning rate, >= 0; may be infinite.
    strength : array_like or DataArray
        s > 0.
    start : array_like or DataArray
        a = b = b₀ at time 0, between 0 and s^{1/3}, both excluded.
    inputs, outputs : int
        M, and K, from 1 to M.

    Returns
    -------
    outer, shared : ndarray or DataArray
        a and b; a²b is what is learnt.

    Raises
    ------
    ProblemError
        If start or numbers are out of range.

    Notes
    -----
    Saxe, Sodhani & Lewallen (2022). Pairs that are never trained are answered as well: a²b is the
    same for all. With M = K = 1 it is `balanced_mode` at depth 3.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> a, b = ok.linear.routing_mode([0.0, 0.1, np.inf], 3.0, 0.2, inputs=7, outputs=4)
    >>> b.round(4), (a * a * b).round(4)
    (array([0.2   , 0.7147, 2.7299]), array([0.008 , 0.0767, 3.    ]))
    """
    M = count("inputs", inputs, most=MANY)
    K = count("outputs", outputs, most=M)

    def solve(time: Floats, strength: Floats, start: Floats) -> tuple[Floats, ...]:
        check("strength", strength > 0, "must be > 0", strength)
        t, s, first = np.broadcast_arrays(time, strength, start)
        inside = (first > 0) & (first**3 < s)
        check("start", inside, "must be between 0 and the cube root of `strength`", first)
        b = _shared(t * K / M, s, first, M)
        return np.sqrt((b * b + (M - 1) * first * first) / M), b

    given = {"time": time, "strength": strength, "start": start}
    a, b = broadcast(solve, given, out=((), ()))
    return a, b


def _shared(goal: Floats, s: Floats, first: Floats, M: int) -> Floats:
    """b at which the clock shows `goal`, by the log-odds of the way from b₀ to its end."""
    from scipy.optimize import elementwise

    c = (M - 1) * first * first
    end = _end(M * s, c)
    X = 1 / ((end * end + c) * (3 * end * end + c))
    W = X * (1.5 * end + c / end) / np.sqrt(0.75 * end * end + c)
    going = np.isfinite(goal) & (goal > 0)
    until = np.where(going, goal, 0.0)

    def late(z: Floats, until: Floats, first: Floats, end: Floats, c: Floats) -> Floats:
        return np.asarray(_clock(z, first, end, c) - until)

    high = (until + 2 * W) / X + 1.0  # 2 is above π/2
    found = elementwise.find_root(
        late,
        (np.full(goal.shape, LEAST), high),
        args=(until, first, end, c),
        tolerances={"xatol": 1e-14, "xrtol": 1e-15},
    )
    b = np.minimum(first + (end - first) * _share(np.asarray(found.x)), end)
    return np.where(going, b, np.where(goal > 0, end, first))


def _end(product: Floats, c: Floats) -> Floats:
    """Root of b³ + c b = M s, from above, where Newton's steps go one way."""
    b = np.cbrt(product)
    for _ in range(NEWTON):
        b = b - (b * (b * b + c) - product) / (3 * b * b + c)
    return np.asarray(b)


def _clock(z: Floats, first: Floats, end: Floats, c: Floats) -> Floats:
    """∫ db / [(b² + c)(M s − c b − b³)], each of its terms as a difference from b₀."""
    way = (end - first) * _share(z)
    b = first + way
    X = 1 / ((end * end + c) * (3 * end * end + c))
    m, half = np.sqrt(0.75 * end * end + c), 0.5 * end
    rest = (first + half) ** 2 + m * m
    early = _atan(way / (c + b * first), np.sqrt(c)) / (end * (end * end + c))
    last = np.logaddexp(0.0, z)  # log (end − b₀)/(end − b)
    middle = 0.5 * np.log1p(way * (b + first + end) / rest)
    turn = _atan(way / (m * m + (b + half) * (first + half)), m) * (1.5 * end + c / end)
    return np.asarray(early + X * (last + middle - turn))


def _atan(x: Floats, root: Floats) -> Floats:
    """atan(root x)/root, also at root 0."""
    some = np.where(root > 0, root, 1.0)
    return np.where(root > 0, np.arctan(root * x) / some, x)


def _share(z: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(z))
