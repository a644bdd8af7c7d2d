"""What right-hand sides as functions of labelled blocks must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from odekit.systems.committee.field import Blocks as Blocks

if TYPE_CHECKING:
    from odekit.testing.report import Floats


class Flow(Protocol):
    """A right-hand side: the equations that a law is tested on.

    Called as ``rhs(t, Q, R, T, v)``, or ``rhs(t, Q, R, T, v, u)`` at a point with `u`; returns
    ``(dQ, dR, dv)`` in the shapes of Q, R and v.
    """

    def __call__(self, t: float, /, *blocks: Any) -> tuple[Any, Any, Any]:
        """Time derivatives of Q, R and v."""


def derivative(rhs: Flow, t: float, at: Blocks) -> tuple[Floats, Floats, Floats]:
    """dQ, dR, dv at a point, as arrays in the shapes of the blocks."""
    arguments = at[:4] if at.u is None else at
    dQ, dR, dv = (np.asarray(d, dtype=float) for d in rhs(t, *arguments))
    for name, d, block in (("dQ", dQ, at.Q), ("dR", dR, at.R), ("dv", dv, at.v)):
        if d.shape != np.shape(block):
            raise ValueError(f"{name} must have the shape {np.shape(block)}, has {d.shape}")
    return dQ, dR, dv
