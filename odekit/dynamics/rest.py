"""Fixed points of a phase at every point of a sweep, and what the equations do about them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.base.status import Convergence
from odekit.dynamics.directions import Directions, directions, zero_space
from odekit.dynamics.many import PhasePoints
from odekit.dynamics.newton import MOST_STEPS, newton
from odekit.problem.system import Judgement, Resting

PHYSICAL = -1e-6
"""Lowest eigenvalue over the largest: Newton's method knows a plateau, where the matrix has no full
rank, to the root of rounding."""
NOT_MOVED, OTHER = "not trained", "other"


class Rests(NamedTuple):
    """Fixed points of m points; where the search failed, entries but those of it are NaN.

    Attributes
    ----------
    y : ndarray, shape (m, n)
    residual, moved : ndarray, shape (m,)
        Largest |f|, and how far the state moved from where the search began (Euclidean norm).
    steps, status : ndarray, shape (m,)
    good : ndarray of int64, shape (k,)
        The points whose search converged.
    J : ndarray, shape (k, n, n)
    found : Directions
        Of these k points.
    errors : ndarray, shape (m, tasks)
    zeros : dict of str to ndarray, shape (k,)
        Numbers of vanishing eigenvalues by kind.
    judged : Judgement
        Of these k points.
    """

    y: Floats
    residual: Floats
    moved: Floats
    steps: Indices
    status: Indices
    good: Indices
    J: Floats
    found: Directions
    errors: Floats
    zeros: dict[str, Any]
    judged: Judgement


def rests(
    phase: PhasePoints, t: Floats, start: Floats, status: Any = None, most: int = MOST_STEPS
) -> Rests:
    """The fixed points that Newton's method finds.

    Parameters
    ----------
    phase : PhasePoints
    t : ndarray, shape (m,)
        Times since the phase began, at which learning rates are taken.
    start : ndarray, shape (m, n)
    status : ndarray, shape (m,), optional
        Points that are not looked at, by a `Convergence` other than CONVERGED.
    most : int
        Most steps.
    """
    m, n = start.shape
    known = np.zeros(m, dtype=np.int8) if status is None else status
    todo = np.flatnonzero((known == Convergence.CONVERGED) & np.isfinite(start).all(axis=1))
    scale = phase.scales(t)

    def derivatives(y: Floats, which: Indices) -> tuple[Floats, Floats]:
        at = todo[which]
        f, J = phase.derivatives(t, y, at)
        return f / scale[at, np.newaxis], J / scale[at, np.newaxis, np.newaxis]

    search = newton(derivatives, start[todo], most)
    y, residual, moved = np.full((m, n), np.nan), np.full(m, np.nan), np.full(m, np.nan)
    steps, state = np.zeros(m, dtype=np.int64), np.full(m, Convergence.NO_START, dtype=np.int8)
    state[known != Convergence.CONVERGED] = known[known != Convergence.CONVERGED]
    y[todo], residual[todo] = search.y, search.residual * scale[todo]
    steps[todo], state[todo] = search.steps, search.status
    moved[todo] = np.linalg.norm(search.y - start[todo], axis=1)
    good = np.flatnonzero(state == Convergence.CONVERGED)
    errors = np.full((m, len(phase.points.tasks)), np.nan)
    errors[good] = phase.errors(y[good], good)
    _, J = phase.derivatives(t, y[good], good)
    found = directions(J)
    judged, zeros = _judged(phase, y[good], good, errors[good], J, found)
    return Rests(y, residual, moved, steps, state, good, J, found, errors, zeros, judged)


def _judged(
    phase: PhasePoints, y: Floats, good: Indices, errors: Floats, J: Floats, found: Directions
) -> tuple[Judgement, dict[str, Any]]:
    """What the system says of fixed points, and vanishing eigenvalues by kind."""
    largest = np.abs(found.values).max(axis=1, initial=0.0)
    still = found.still.sum(axis=1)
    free = found.zero.sum(axis=1) - still

    def space(i: int) -> Floats:
        return zero_space(J[i], found.still[i], largest[i])

    resting = Resting(y, good, errors, free, found.still, space)
    judged = phase.system.judged(phase.points, phase.phase, phase.frame, resting)
    rest = free - sum(judged.zeros.values())
    zeros = {NOT_MOVED: still, **{k: np.asarray(v) for k, v in judged.zeros.items()}}
    return judged, {**zeros, OTHER: rest}
