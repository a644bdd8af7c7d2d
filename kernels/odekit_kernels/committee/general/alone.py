"""One trajectory: the same functions on a memory of shape (size,)."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.general import rhs as lanes

__all__ = ["errors", "rhs"]


@inner
def load(M: Any, first: int, values: Any) -> None:
    """Copy numbers into the memory."""
    for i in range(values.shape[0]):
        M[first + i] = values[i]


@kernel(_nrt=False)
def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any) -> None:
    """Right-hand side of the order parameters' equations, averaged over the tasks of the phase.

    Parameters
    ----------
    M : ndarray, shape (size,)
        Memory with the constants of the phase, learning rates among them.
    m : GeneralPlan
    w : Wiring
    y, dy : ndarray, shape (n,)
        State; receives its derivative.
    """
    load(M, m.y, y)
    lanes.rhs(M, m, w, m.y, m.new, M[m.eta_w] != 0.0, M[m.eta_v] != 0.0)
    for i in range(m.n):
        dy[i] = M[m.new + i]


@kernel(_nrt=False)
def errors(M: Any, m: Any, w: Any, y: Any, out: Any) -> None:
    """Noise-free generalisation errors of the watched tasks, shape (W,), each under its own law."""
    load(M, m.y, y)
    lanes.errors(M, m, w, m.y)
    for s in range(m.W):
        out[s] = M[m.error + s]
