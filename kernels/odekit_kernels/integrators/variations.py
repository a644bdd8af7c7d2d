"""Sensitivities through explicit steps, forward and backward, from derivatives at their stages.

A step is a function of the state and of numbers θ. Its lengths are frozen; what the stages need of
the equations was found before (`Stages`), so that this is linear algebra of any system.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import kernel

__all__ = ["Stages", "backward", "forward", "make_stages"]

Array = NDArray[np.float64]


class Stages(NamedTuple):
    """Derivatives at the stages of steps.

    Attributes
    ----------
    J, f, by_rate : ndarray, shapes (steps, s, n, n), (steps, s, n, d) and (steps, s, n, 2 + …)
        Of the right-hand side by the state, by θ, and by what moves in time: the learning rates of
        both layers, and more.
    e, e_y, e_theta : ndarray, shapes (steps, s, W), (steps, s, W, n) and (steps, s, W, d)
        Integrands, with their derivatives.
    """

    J: Array
    f: Array
    by_rate: Array
    e: Array
    e_y: Array
    e_theta: Array


def make_stages(steps: int, s: int, n: int, d: int, W: int, more: int = 0) -> Stages:
    """Memory for them, with so many numbers that move in time besides the learning rates."""
    last = ((n, n), (n, d), (n, 2 + more), (W,), (W, n), (W, d))
    return Stages(*(np.zeros((steps, s, *shape)) for shape in last))


@kernel
def forward(
    stages: Any, h: Any, row: Any, A: Any, B: Any, S: Any, theta: Any, along: Any, by_rate: Any,
    Z: Any, out_S: Any, out_Z: Any,
) -> None:  # fmt: skip
    """Carry sensitivities along steps.

    Parameters
    ----------
    stages : Stages
    h, row : ndarray, shape (steps,)
        Lengths, and which row the end of each is, or −1.
    A, B : ndarray, shapes (s, s) and (s,)
    S : ndarray, shape (n, m)
        ∂y/∂α of m parameters, moved along.
    theta : ndarray, shape (d, m)
        ∂θ/∂α.
    along : ndarray of int64, shape (r, 2)
        Of parameters that what moves in time depends on: which of it, and parameter.
    by_rate : ndarray, shape (r, steps, s)
        Its derivatives by them.
    Z : ndarray, shape (W, m)
        ∂/∂α of the integrals, moved along.
    out_S, out_Z : ndarray, shapes (rows, n, m), (rows, W, m)
        Receive what there is at the rows.
    """
    (n, m), s, d = S.shape, B.shape[0], theta.shape[0]
    K, T = np.zeros((s, n, m)), np.zeros((n, m))
    for step in range(h.shape[0]):
        for i in range(s):
            T[:] = S
            for b in range(i):
                if A[i, b] != 0.0:
                    for r in range(n):
                        for j in range(m):
                            T[r, j] += h[step] * A[i, b] * K[b, r, j]
            K[i] = 0.0
            for r in range(n):
                for l in range(n):
                    factor = stages.J[step, i, r, l]
                    for j in range(m):
                        K[i, r, j] += factor * T[l, j]
                for l in range(d):
                    factor = stages.f[step, i, r, l]
                    if factor != 0.0:
                        for j in range(m):
                            K[i, r, j] += factor * theta[l, j]
                for p in range(along.shape[0]):
                    rate = stages.by_rate[step, i, r, along[p, 0]]
                    K[i, r, along[p, 1]] += rate * by_rate[p, step, i]
            for w in range(Z.shape[0] if B[i] != 0.0 else 0):
                for j in range(m):
                    total = 0.0
                    for l in range(n):
                        total += stages.e_y[step, i, w, l] * T[l, j]
                    for l in range(d):
                        total += stages.e_theta[step, i, w, l] * theta[l, j]
                    Z[w, j] += h[step] * B[i] * total
        for i in range(s):
            for r in range(n):
                for j in range(m):
                    S[r, j] += h[step] * B[i] * K[i, r, j]
        if row[step] >= 0:
            out_S[row[step]] = S
            out_Z[row[step]] = Z


@kernel
def backward(
    stages: Any, h: Any, row: Any, A: Any, B: Any, lam: Any, zeta: Any, bump: Any, bump_zeta: Any,
    theta_bar: Any, by_rate: Any,
) -> None:  # fmt: skip
    """Carry derivatives of q scalars back along steps: the discrete adjoint.

    Parameters
    ----------
    stages, h, row, A, B
        As in `forward`.
    lam, zeta : ndarray, shapes (q, n) and (q, W)
        Derivatives by the state at the end, moved back, and by the integrals up to there.
    bump, bump_zeta : ndarray, shapes (rows, q, n) and (rows, q, W)
        What the rows add to them.
    theta_bar : ndarray, shape (q, d)
        Receives the derivatives by θ, added to what is there.
    by_rate : ndarray, shape (q, steps, s, 2 + …)
        Receives those by what moves in time at the stages.
    """
    (q, n), s, d = lam.shape, B.shape[0], theta_bar.shape[1]
    back, w = np.zeros((s, q, n)), np.zeros(n)
    for step in range(h.shape[0] - 1, -1, -1):
        if row[step] >= 0:
            lam += bump[row[step]]
            zeta += bump_zeta[row[step]]
        for i in range(s - 1, -1, -1):
            for x in range(q):
                for l in range(n):
                    w[l] = B[i] * lam[x, l]
                    for j in range(i + 1, s):
                        w[l] += A[j, i] * back[j, x, l]
                    w[l] *= h[step]
                    back[i, x, l] = 0.0
                for l in range(n):
                    if w[l] == 0.0:
                        continue
                    for j in range(n):
                        back[i, x, j] += w[l] * stages.J[step, i, l, j]
                    for j in range(d):
                        theta_bar[x, j] += w[l] * stages.f[step, i, l, j]
                    for j in range(by_rate.shape[3]):
                        by_rate[x, step, i, j] += w[l] * stages.by_rate[step, i, l, j]
                for task in range(zeta.shape[1] if B[i] != 0.0 else 0):
                    weight = h[step] * B[i] * zeta[x, task]
                    for j in range(n):
                        back[i, x, j] += weight * stages.e_y[step, i, task, j]
                    for j in range(d):
                        theta_bar[x, j] += weight * stages.e_theta[step, i, task, j]
        for i in range(s):
            lam += back[i]
