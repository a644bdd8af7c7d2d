"""The other branches that pass through a branch point."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.dynamics.curve import CUT, Curve, Nearby, Spot, null_space, shortest
from odekit.dynamics.special import Event

DISTANCES = (0.03, 0.01, 3e-3, 1e-3, 3e-4)
"""Distances at which they are looked for, in the curve's coordinates: the largest of these at which
the known branch has not yet turned away from its tangent."""
STRAIGHT = 0.95
DRAWS = 20
"""Directions tried for every null vector beyond the first: in a plane of null vectors branches go
off in a few directions only, which are not known beforehand."""
OTHER = 0.1
"""Sine of the angle between two branches that counts as none."""
MOST, FARTHEST = 40, 0.3
"""Newton steps of a search, and the longest one in units of the distance."""
FLAT = 1e-6
"""Singular values of [J, f_μ] at a branch point, relative to the largest, that vanish there."""
LIKE = 1e-5
"""Relative difference of the eigenvalues at two points that a symmetry maps onto each other."""


def others(curve: Curve, event: Event, known: Iterable[Event] = ()) -> list[Spot]:
    """A point on every other branch, with the tangent that leads away from the branch point.

    Those that a symmetry of the equations maps onto each other have the same eigenvalues at the
    same parameter: one of them is kept. Of a branch that crosses, both halves are.

    Parameters
    ----------
    curve : Curve
    event : Event
        A pitchfork or transcritical point.
    known : iterable of Event
        Branch points of other branches, which may be the same: these branches are left out too.

    Returns
    -------
    list of Spot
    """
    there = np.linalg.eigvals(curve.jacobian(event.z))
    same = [event, *(e for e in known if _is_same(curve, event, there, e))]
    own: list[Spot] = []
    for radius in DISTANCES:
        own, straight = _own(curve, event, radius)
        if straight:
            break
    old = [*own, *(spot for e in same[1:] for spot in _own(curve, e, radius)[0])]
    return _found(curve, event, radius, old)


def _own(curve: Curve, event: Event, radius: float) -> tuple[list[Spot], bool]:
    """Points of the known branch at a distance, and whether it is straight up to there."""
    found, straight = [], True
    for way in (event.tangent, -event.tangent):
        z = _on_sphere(curve, event.z, way, radius)
        spot = None if z is None else curve.look(z, way)
        if spot is None:
            straight = False
            continue
        found.append(spot)
        straight = straight and bool((spot.z - event.z) @ way > STRAIGHT * radius)
    return found, straight


def _found(curve: Curve, event: Event, radius: float, old: list[Spot]) -> list[Spot]:
    """Points at a distance on branches other than those that pass through the old ones."""
    found: list[Spot] = []
    todo = [*_along_parameter(curve, event), *_ways(event)]
    nearby = Nearby(curve, event.z, radius)
    while todo:
        spot = _searched(nearby, event, todo.pop(0), radius)
        if spot is None or any(_alike(spot, known) for known in (*old, *found)):
            continue
        spot = _searched(curve, event, (spot.z - event.z) / radius, radius)
        if spot is not None:
            found.append(spot)
            todo.insert(0, (event.z - spot.z) / radius)  # the other half, if it crosses
    return found


def _searched(curve: Curve, event: Event, way: Floats, radius: float) -> Spot | None:
    z = _on_sphere(curve, event.z, way, radius)
    return None if z is None else _accepted(curve, event, z)


def _is_same(curve: Curve, event: Event, eigenvalues: Any, other: Event) -> bool:
    """Whether a branch point is the same, or a symmetry maps it there."""
    if abs(event.z[-1] - other.z[-1]) > 1e-6:
        return False
    return _same_values(eigenvalues, np.linalg.eigvals(curve.jacobian(other.z)))


def _ways(event: Event) -> list[Floats]:
    """Directions in which to look: of the null vectors and their mixtures, to both sides."""
    d = len(event.directions)
    mixtures = np.vstack([_by_entry(event.directions), _draws(d)]) if d else np.zeros((0, 0))
    ways = []
    for mixture in mixtures:
        way = np.append(mixture @ event.directions, 0.0)
        # Where the branch itself turns round in a null vector, the others leave it sideways.
        way = way - (way @ event.tangent) * event.tangent
        if np.linalg.norm(way) > OTHER:
            ways += [way / np.linalg.norm(way), -way / np.linalg.norm(way)]
    return ways


def _along_parameter(curve: Curve, event: Event) -> list[Floats]:
    """The tangent, both ways, of a branch that keeps the symmetry which the null vectors break."""
    null, _ = null_space(curve.matrix(event.z), FLAT)
    way = null.T @ null[:, -1]
    length = float(np.linalg.norm(way))
    return [way / length, -way / length] if length > OTHER * OTHER else []


def _by_entry(directions: Floats) -> Floats:
    """Mixtures that come nearest to single entries of the state: symmetries leave these alone."""
    found: list[Floats] = []
    for mixture in directions.T:
        length = float(np.linalg.norm(mixture))
        if length > OTHER and all(abs(mixture @ m) < (1 - 1e-6) * length for m in found):
            found.append(mixture / length)
    return np.array(found).reshape(-1, len(directions))


def _draws(d: int) -> Floats:
    """Mixtures of d vectors, the same in every call."""
    draws = np.random.default_rng(0).standard_normal((DRAWS * (d - 1), d))
    return np.asarray(draws / np.linalg.norm(draws, axis=1, keepdims=True))


def _on_sphere(curve: Curve, centre: Floats, way: Floats, radius: float) -> Floats | None:
    """A fixed point on a sphere around a branch point, looked for in a direction."""
    z = centre + radius * way
    last = np.inf
    for _ in range(MOST):
        value, A = curve.value(z), curve.matrix(z, exact=False)
        if not (np.isfinite(value).all() and np.isfinite(A).all()):
            return None
        out = z - centre
        miss = 0.5 * (out @ out / radius - radius)
        step = shortest(np.vstack([A, out / radius]), -np.append(value, miss))
        size = float(np.linalg.norm(step))
        z = z + step * min(1.0, FARTHEST * radius / max(size, 1e-300))
        last = size
        if size < 1e-11:
            break
    return None if last > 1e-6 else z


def _accepted(curve: Curve, event: Event, z: Floats) -> Spot | None:
    """A point as one of another branch, unless it is on the known one or where nothing is."""
    out = z - event.z
    away = out / np.linalg.norm(out)
    aside = away - (away @ event.tangent) * event.tangent
    if np.linalg.norm(aside) < OTHER or not 0.0 <= z[-1] <= 1.0:
        return None
    A = curve.matrix(z)
    if not np.isfinite(A).all() or np.abs(curve.value(z)).max() > 1e-9 * np.abs(A).max():
        return None
    null, _ = null_space(A, CUT)
    if np.linalg.norm(null @ away) < 0.5:  # Newton's method stopped beside a branch
        return None
    return curve.look(z, away)


def _alike(a: Spot, b: Spot) -> bool:
    """Whether two points have the same parameter and the same eigenvalues."""
    if abs(a.z[-1] - b.z[-1]) > 1e-7:
        return False
    return _same_values(a.eigenvalues, b.eigenvalues)


def _same_values(a: Any, b: Any) -> bool:
    """Whether two sets of eigenvalues are the same, for all that symmetries can tell."""
    first, second = (np.sort_complex(np.round(values, 12)) for values in (a, b))
    return bool(np.abs(first - second).max() <= LIKE * float(np.abs(a).max()))
