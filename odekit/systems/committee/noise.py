"""What the linear noise of a committee's order parameters needs to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.diffusion import Diffusion
from odekit.systems.committee.seen import refuse_views

if TYPE_CHECKING:
    from odekit.systems.committee.committeestate import Frame
    from odekit.systems.committee.points import CommitteePoints

ESCAPED = 0.3
"""Spread of the overlaps R by which a network has left a symmetric state."""


def scatter(points: CommitteePoints, index: int, frame: Frame) -> Diffusion:
    """Scatter of the steps of a phase, as a function of state and learning rates."""
    refuse_views(points, "fluctuations of networks")
    return Diffusion(points, points.problem.phases[index], frame)


def places(points: CommitteePoints, index: int, n: int) -> Any:
    """Where the numbers of a state stood before the phase began: as copies, or as another head."""
    phase = points.problem.phases[index]
    Q, R, v = points.unpack(np.arange(n, dtype=float))
    if phase.consolidation is not None:
        R = np.concatenate([R, Q], axis=1)
    moved = v.copy()
    for target, source in (phase.copy_heads or {}).items():
        moved[points.heads.index(target)] = v[points.heads.index(source)]
    return points.pack(Q[None], R[None], moved[None])[0].astype(int)


def scales(points: CommitteePoints, frame: Frame, y: Floats) -> Floats:
    """By how much a number may change before the equations bend, shape (n,).

    Those of erf are functions of Q/(1 + Q) and the like.
    """
    Q, _, v = points.unpack(y)
    unit = np.sqrt(1.0 + np.diagonal(Q))
    fixed = np.sqrt(1.0 + np.diagonal(frame.T[0]))
    found = points.pack(
        np.outer(unit, unit)[None], np.outer(unit, fixed)[None], (1.0 + np.abs(v))[None]
    )
    return np.asarray(found[0])


def spread(points: CommitteePoints, y: Floats) -> Floats:
    """Largest less smallest overlap with the fixed vectors, of states (..., n)."""
    R = points.unpack(y)[1][..., : points.P]
    return np.asarray(R.max(axis=(-1, -2)) - R.min(axis=(-1, -2)))
