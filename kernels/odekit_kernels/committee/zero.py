"""Units whose weights vanish: whether they stay at zero, and the direction in which they leave it.

To a unit near zero the rest of the network stands still. Its weights w then climb a function H(w)
of degree one, so that its direction ŵ climbs h(ŵ) = H(ŵ) at a rate 1/|w|, faster than anything
else, to a maximum; there |w| changes at the rate h. Below zero the unit falls to zero in a finite
time and stays, as in SGD at small rates, which kicks it to and fro about zero; above, it leaves.
From zero itself the climb begins across all other fields, where noise in many dimensions points.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import kernel, outer
from odekit_kernels.committee.one import derivative

__all__ = ["settle"]

LENGTH = 1e-10
"""|w| at which forces are taken: what the unit itself adds to them is of this order."""
PACE = 0.3
"""Turn per step, in the largest force on the unit: the climb is followed to its end, not along."""
CLIMBS = 500
STILL = 1e-9
"""Turning rate, in the largest force, at which the maximum counts as reached."""


@outer
def put_unit(y: Any, k: int, length: float, x: Any, place: Any) -> None:
    """Write a unit of this length with the cosines x, times the others' norms, into a state."""
    for b in range(x.shape[0]):
        y[place[k, b]] = length * length if b == k else length * x[b]


@outer
def turn(z: Any, k: int, system: Any, work: Any, x: Any, g: Any, dz: Any) -> Any:
    """Write dx/ds of the climb to `g`; return its height h and the largest force on the unit."""
    place, diag = work.place, work.diag
    put_unit(z, k, LENGTH, x, place)
    derivative(z, 1.0, 0.0, system, work, dz)
    h = 0.5 * dz[place[k, k]] / LENGTH
    largest = abs(h)
    for b in range(x.shape[0]):
        f = dz[place[k, b]]
        g[b] = 0.0 if b == k else f - h * x[b]
        if diag[b] > 0.0 and b != k:
            largest = max(largest, abs(f) / math.sqrt(diag[b]))
    return h, largest


@outer
def confine(x: Any, k: int, diag: Any) -> None:
    """Keep cosines within ±1."""
    for b in range(x.shape[0]):
        most = math.sqrt(diag[b]) if b != k and diag[b] > 0.0 else 0.0
        x[b] = min(max(x[b], -most), most)


@outer
def climb(z: Any, k: int, system: Any, work: Any, x: Any, g: Any, dz: Any) -> float:
    """Turn x to the maximum above it by Heun steps; return its height."""
    g1, g2, x1 = g[0], g[1], g[2]
    h, largest = turn(z, k, system, work, x, g1, dz)
    for _ in range(CLIMBS):
        still = True
        for b in range(x.shape[0]):
            if abs(g1[b]) > STILL * largest * math.sqrt(max(work.diag[b], 0.0)):
                still = False
        if still or largest == 0.0:
            break
        step = PACE / largest
        for b in range(x.shape[0]):
            x1[b] = x[b] + step * g1[b]
        confine(x1, k, work.diag)
        turn(z, k, system, work, x1, g2, dz)
        for b in range(x.shape[0]):
            x[b] += 0.5 * step * (g1[b] + g2[b])
        confine(x, k, work.diag)
        h, largest = turn(z, k, system, work, x, g1, dz)
    return h


@outer
def direction(y: Any, k: int, T: Any, place: Any, x: Any) -> bool:
    """Write the cosines of a unit to x, 0 for one at zero; whether they are those of a vector."""
    K, q = place.shape[0], y[place[k, k]]
    inside = q > 0.0
    for b in range(x.shape[0]):
        C_bb = y[place[b, b]] if b < K else T[b - K, b - K]
        x[b] = y[place[k, b]] / math.sqrt(q) if q > 0.0 and b != k else 0.0
        inside = inside and (b == k or x[b] * x[b] <= 1.0001 * C_bb)
    if not inside:
        x[:] = 0.0
    return inside


@kernel(_nrt=False)
def settle(
    y: Any, system: Any, work: Any, small: float, start: float, least: float, scratch: Any
) -> bool:
    """Put units that have fallen to zero there, and those that leave it on their way.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State; changed in place.
    system : Committee
    work : Work
        Scratch memory.
    small : float
        Q_kk of units to look at.
    start : float
        Q_kk of units that leave.
    least : float
        Height that counts as above or below zero, in units of the largest force there could be.
    scratch : ndarray, shape (6, max(n, K + P))

    Returns
    -------
    bool
        Whether the state was changed.
    """
    K, n, place, changed = system.move.shape[0], y.shape[0], work.place, False
    D = K + system.T.shape[1]
    z, dz, x, g = scratch[0, :n], scratch[1, :n], scratch[2, :D], scratch[3:, :D]
    for k in range(K):
        if system.move[k] == 0.0 or not y[place[k, k]] < small:
            continue
        for i in range(n):
            z[i] = y[i]
        inside = direction(y, k, system.T, place, x)
        h = climb(z, k, system, work, x, g, dz)
        most = 0.0
        for a in range(D):
            if a != k:
                most += abs(work.cbar[k, a]) * math.sqrt(max(work.diag[a], 0.0))
        # Between the two bounds things stay as they are, or noise would move units to and fro.
        if (inside and h < -least * most) or not (inside or h > least * most):
            for b in range(D):
                changed = changed or y[place[k, b]] != 0.0
                y[place[k, b]] = 0.0
        elif not inside:
            put_unit(y, k, math.sqrt(start), x, place)
            changed = True
    return changed
