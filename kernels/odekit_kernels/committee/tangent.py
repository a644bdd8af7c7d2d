"""J and ∂f/∂θ of white inputs at given states, by the reverse pass: what implicit steps need."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels._jit import kernel
from odekit_kernels.committee.reverse import prepare, pull, pull_error

__all__ = ["fill_points"]


@kernel
def fill_points(
    states: Any, eta: Any, system: Any, watch: Any, tape: Any, by: Any, flat: Any, W: int, out: Any
) -> None:
    """Derivatives of the right-hand side, and of errors, at states.

    Parameters
    ----------
    states, eta : ndarray, shapes (points, n) and (points, 1, 2)
        With the learning rates at each.
    system, watch, tape
        As in `passes.flow`.
    by, flat : Slopes and ndarray
        For n + W scalars.
    W : int
        0, or the number of tasks: whether their errors are wanted.
    out : variations.Stages
        Of one stage; receives them, θ in the order of `tape.Slopes` after y.
    """
    n = states.shape[1]
    unit, last = np.zeros(n), flat.shape[1] - 2
    for i in range(states.shape[0]):
        y = states[i]
        flat[:] = 0.0
        prepare(y, system, tape)
        for r in range(n):
            unit[r] = 1.0
            pull(r, y, eta[i, 0, 0], eta[i, 0, 1], system, unit, watch, tape, by)
            unit[r] = 0.0
        for w in range(W):
            out.e[i, 0, w] = pull_error(n + w, y, system, w, 1.0, watch, tape, by)
            out.e_y[i, 0, w] = flat[n + w, :n]
            out.e_theta[i, 0, w] = flat[n + w, n:last]
        out.J[i, 0] = flat[:n, :n]
        out.f[i, 0] = flat[:n, n:last]
        out.by_rate[i, 0] = flat[:n, last:]
