"""Whether trajectories that hardly move are at rest: on a plateau, too, a mode grows."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import kernel
from odekit_kernels.integrators import batch as lane_of
from odekit_kernels.integrators.batch import INDEX, JACOBIANS
from odekit_kernels.integrators.registry import jacobian
from odekit_kernels.integrators.spectrum import spectrum
from odekit_kernels.integrators.stepping import set_driven
from odekit_kernels.lanes.values import pick

__all__ = ["growths"]


@kernel(_nrt=False)
def growths(
    M: Any, I: Any, m: Any, b: Any, scheduled: bool, todo: Any, scratch: Any, work: Any, out: Any
) -> None:
    """Write the rate of the fastest growing mode of trajectories where they stand, 0 if none grows.

    Parameters
    ----------
    M, I, m, b, scratch, work
        As of `implicit.advance_implicit`; all lanes are idle.
    scheduled : bool
        Whether constants follow schedules.
    todo : ndarray of int64
        Trajectories to look at.
    out : ndarray, shape (todo,)
        NaN where the Jacobian is not finite.
    """
    for j in range(todo.shape[0]):
        lane_of.enter(M, I, m, b, todo[j], 0)
        if scheduled:
            set_driven(M, I, m, b, 0.0)
        for l in range(m.n):
            scratch.y[l] = pick(M, m.y + l, 0)
        lane_of.fill_row(M, b, todo[j], 0, scratch.row)
        jacobian(M, m, b, scratch.row, 0, work, scratch.y, scratch.dense)
        _, out[j] = spectrum(scratch.dense, scratch.H, scratch.p)
        b.counts[todo[j], JACOBIANS] += 1
        I[INDEX, 0] = -1
