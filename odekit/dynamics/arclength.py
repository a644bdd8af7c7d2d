"""Follow a curve of fixed points through folds: pseudo-arclength steps that choose themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from odekit.base.arrays import Floats
from odekit.dynamics.curve import Curve, Spot
from odekit.dynamics.outcomes import BranchEnd

ALONG = 0.99
"""Least scalar product of neighbouring tangents: eight degrees."""
FIRST, LEAST = 0.01, 1e-9
"""Steps in units of the range and of the state's size."""
MOST = 0.04
"""The longest one, relative to the state where it is large: enough for a smooth picture."""
ASTRAY = 0.5
"""Largest distance of a point from its prediction, in steps: further away is another branch."""
EASY = 5
"""Corrections up to which the next step may be longer."""
BOUND = 1e3
"""Size of the state, in units of that at the start, that counts as infinity."""


@dataclass
class Path:
    """Neighbouring points of a curve in one direction, and how it ended there."""

    spots: list[Spot]
    end: BranchEnd
    trouble: str = ""
    steps: list[float] = field(default_factory=list)


def never() -> bool:
    """Whether to stop."""
    return False


def trace(
    curve: Curve,
    start: Spot,
    most: int = 1000,
    *,
    bound: float = BOUND,
    asked: Callable[[], bool] = never,
) -> Path:
    """Follow a curve from a point along its tangent there.

    Parameters
    ----------
    curve : Curve
    start : Spot
        A point of it, whose tangent says which way.
    most : int
        Most points, the start included.
    bound : float
        Size of the state that counts as infinity.
    asked : callable
        Whether to stop, asked between two steps.

    Returns
    -------
    Path
    """
    spots, h = [start], FIRST
    while True:
        if asked():
            return Path(spots, BranchEnd.INTERRUPTED)
        if len(spots) >= most:
            return Path(spots, BranchEnd.POINTS)
        here = spots[-1]
        if _outward(here):
            return Path(spots, BranchEnd.RANGE)
        spot, h, last = _step(curve, here, h)
        if spot is None:
            nowhere = BranchEnd.NOT_FINITE if curve.trouble else BranchEnd.NO_STEP
            return Path(spots, nowhere, curve.trouble)
        if len(spots) > 3 and _closes(start, here, spot):
            return Path([*spots, start], BranchEnd.CLOSED)
        spots.append(spot)
        if last:
            return Path(spots, BranchEnd.RANGE)
        if np.abs(spot.z[:-1]).max() > bound:
            return Path(spots, BranchEnd.DIVERGED)


def _outward(here: Spot) -> bool:
    """Whether a point at an end of the range is on its way out."""
    x, slope = here.z[-1], here.tangent[-1]
    return bool((x >= 1.0 and slope > 0) or (x <= 0.0 and slope < 0))


def _step(curve: Curve, here: Spot, h: float) -> tuple[Spot | None, float, bool]:
    """The next point, the step to try after it, and whether it is the end of the range."""
    least = LEAST * (1.0 + float(np.linalg.norm(here.z)))
    longest = MOST * max(1.0, float(np.abs(here.z[:-1]).max(initial=0.0)))
    h = min(h, longest)
    while h > least:
        curve.trouble = ""
        length, last = _to_the_end(here, h)
        spot = _tried(curve, here, length, last)
        if spot is not None and not last and not 0.0 <= spot.z[-1] <= 1.0:
            spot = None  # it went round a bend and out: shorter steps will end at the end
        if spot is not None:
            easy = spot.iterations <= EASY and spot.tangent @ here.tangent > 1 - (1 - ALONG) / 4
            return spot, min(h * (1.6 if easy else 1.0), longest), last
        h *= 0.5
    return None, h, False


def _to_the_end(here: Spot, h: float) -> tuple[float, bool]:
    """The step cut where its prediction meets the end of the range, and whether it does."""
    x, slope = here.z[-1], here.tangent[-1]
    room = (1.0 - x) if slope > 0 else -x
    if slope == 0.0 or abs(slope) * h < abs(room):
        return h, False
    return room / slope, True


def _tried(curve: Curve, here: Spot, h: float, last: bool) -> Spot | None:
    """The point a step away if it lies on the same branch."""
    guess = here.z + h * here.tangent
    normal = here.tangent
    if last:
        guess[-1] = 1.0 if here.tangent[-1] > 0 else 0.0
        normal = np.append(np.zeros(guess.size - 1), 1.0)
    found = curve.correct(guess, normal)
    if found is None:
        return None
    z, iterations = found
    if np.linalg.norm(z - guess) > ASTRAY * h + 1e-12:
        return None
    spot = curve.look(z, here.tangent, exact=False)
    if spot is None or spot.tangent @ here.tangent < ALONG:
        return None
    spot.iterations = iterations
    spot.distance = here.distance + float(np.linalg.norm(z - here.z))
    return spot


def _closes(start: Spot, here: Spot, ahead: Spot) -> bool:
    """Whether the branch passes its start between two points."""
    chord = ahead.z - here.z
    length = float(np.linalg.norm(chord))
    way = start.z - here.z
    along = float(way @ chord) / length
    aside = float(np.linalg.norm(way - along * chord / length))
    same = start.tangent @ ahead.tangent > ALONG
    return bool(same and 0.0 <= along <= length and aside < 0.1 * length)


def chord(curve: Curve, a: Spot, b: Spot, x: float) -> Spot | None:
    """The point of the curve beside a fraction x of the way between two neighbours."""
    way = b.z - a.z
    found = curve.correct(a.z + x * way, way / np.linalg.norm(way))
    return None if found is None else curve.look(found[0], a.tangent)


def direction(curve: Curve, z: Floats) -> Spot | None:
    """What the curve is at a fixed point, with the tangent along which the parameter grows.

    Of families it is the one that leaves the member as it is.
    """
    up = np.append(np.zeros(z.size - 1), 1.0)
    spot = curve.look(z, up)
    if spot is not None and spot.tangent[-1] < 0:
        spot.tangent = -spot.tangent
    return spot
