"""Folds of a curve of fixed points, to the last digits."""

from __future__ import annotations

import numpy as np

from odekit.base.arrays import Floats
from odekit.dynamics.curve import Curve, shortest

STEP = 1e-4
"""Distance at which the Jacobian is differenced: that decides how fast Newton's method comes
closer, not where it ends."""
MOST_NEWTON = 20


def fold(curve: Curve, z: Floats, v: Floats) -> Floats:
    """Newton's method on f = 0, J v = 0, |v| = 1: a fold to the last digits.

    Parameters
    ----------
    curve : Curve
    z : ndarray, shape (n + 1,)
        A point near it.
    v : ndarray, shape (n,)
        Roughly the null vector there.

    Returns
    -------
    ndarray, shape (n + 1,)
        The fold; the point given where Newton's method does not come closer.
    """
    n, first, last = v.size, z, np.inf
    for _ in range(MOST_NEWTON):
        A, M = _fold_matrices(curve, z, v)
        residual = np.concatenate([curve.value(z), A[:, :n] @ v, [0.5 * (v @ v - 1.0)]])
        system = np.block(
            [[A, np.zeros((n, n))], [M, A[:, :n]], [np.zeros((1, n + 1)), v[np.newaxis]]]
        )
        if not (np.isfinite(system).all() and np.isfinite(residual).all()):
            return first
        step = shortest(system, -residual)
        size = float(np.linalg.norm(step))
        if size > 0.5 * last:  # as close as rounding lets it
            break
        z, v, last = z + step[: n + 1], v + step[n + 1 :], size
    return z if last < 1e-8 else first


def _fold_matrices(curve: Curve, z: Floats, v: Floats) -> tuple[Floats, Floats]:
    """[J, f_μ], and the derivative of J v by state and parameter."""
    n = v.size
    A = curve.matrix(z)
    ahead, back = (z + np.append(sign * STEP * v, 0.0) for sign in (1.0, -1.0))
    by_state = (curve.jacobian(ahead) - curve.jacobian(back)) * curve.size / (2 * STEP)
    step = STEP if z[-1] < 0.5 else -STEP
    shifted = z + np.append(np.zeros(n), step)
    by_parameter = (curve.jacobian(shifted) * curve.size - A[:, :n]) @ v / step
    return A, np.column_stack([by_state, by_parameter])
