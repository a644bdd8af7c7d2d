"""Derivatives through steps of Radau IIA (order 5): those of its stages, solved to rounding.

A step is Y_i = y + h Σ_j a_ij f(Y_j), and ends at the last stage. Its derivatives take the Jacobian
of *every* stage. With that of the step alone, which simplified Newton iterations are content with,
they would be off by h² and nothing would tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odekit.base.arrays import Floats

_ROOT = 6.0**0.5
A = np.array([
    [(88 - 7 * _ROOT) / 360, (296 - 169 * _ROOT) / 1800, (-2 + 3 * _ROOT) / 225],
    [(296 + 169 * _ROOT) / 1800, (88 + 7 * _ROOT) / 360, (-2 - 3 * _ROOT) / 225],
    [(16 - _ROOT) / 36, (16 + _ROOT) / 36, 1 / 9],
])  # fmt: skip
B = A[-1]
C = np.array([(4 - _ROOT) / 10, (4 + _ROOT) / 10, 1.0])
ROUNDING = 1e-15
"""Correction of the stages, relative to the largest entry, below which they are solved."""
MOST_CORRECTIONS = 12


def system(h: float, J: Floats) -> Floats:
    """I − h A⊗J with a Jacobian for each stage, J of shape (3, n, n): the matrix of all stages."""
    n = J.shape[-1]
    found: Floats = -h * np.einsum("ij,jab->iajb", A, J).reshape(3 * n, 3 * n)
    found[np.diag_indices(3 * n)] += 1.0
    return found


def solved(
    y: Floats,
    h: float,
    stages: Floats,
    f: Callable[[int, Floats], Floats],
    jac: Callable[[int, Floats], Floats],
) -> Floats | None:
    """Stages of a step, from near ones, to rounding: Newton's method; None if it does not converge.

    Parameters
    ----------
    y : ndarray, shape (n,)
    stages : ndarray, shape (3, n)
        Near ones.
    f, jac : callable
        Take a stage and its state to derivative (n,) and Jacobian (n, n).
    """
    Y, last = stages.copy(), np.inf
    for _ in range(MOST_CORRECTIONS):
        slopes = np.array([f(i, Y[i]) for i in range(3)])
        J = np.array([jac(i, Y[i]) for i in range(3)])
        residual = y + h * (A @ slopes) - Y
        change = np.linalg.solve(system(h, J), residual.ravel()).reshape(Y.shape)
        size = float(np.abs(change).max())
        if not np.isfinite(size):
            return None
        Y = Y + change
        scale = float(np.abs(Y).max())
        # At rounding corrections stop shrinking.
        if size <= ROUNDING * scale or (size <= 1e3 * ROUNDING * scale and size > 0.1 * last):
            return Y
        last = size
    return None


def forward(
    stages: Any, h: Floats, row: Any, S: Floats, theta: Floats, along: Any, by_rate: Floats,
    Z: Floats, out_S: Floats, out_Z: Floats,
) -> None:  # fmt: skip
    """As `variations.forward`, through implicit steps."""
    n, m = S.shape
    for step in range(h.size):
        slopes = stages.f[step] @ theta
        for place, (layer, parameter) in enumerate(along):
            slopes[:, :, parameter] += (
                stages.by_rate[step, :, :, layer] * by_rate[place, step, :, np.newaxis]
            )
        right = S + h[step] * np.einsum("ij,jam->iam", A, slopes)
        T = np.linalg.solve(system(h[step], stages.J[step]), right.reshape(3 * n, m))
        T = T.reshape(3, n, m)
        Z += h[step] * np.einsum(
            "i,iwm->wm", B, stages.e_y[step] @ T + stages.e_theta[step] @ theta
        )
        S[:] = T[-1]
        if row[step] >= 0:
            out_S[row[step]], out_Z[row[step]] = S, Z


def backward(
    stages: Any, h: Floats, row: Any, lam: Floats, zeta: Floats, bump: Floats, bump_zeta: Floats,
    theta_bar: Floats, by_rate: Floats,
) -> None:  # fmt: skip
    """As `variations.backward`, through implicit steps: one solve with the transposed matrix."""
    q, n = lam.shape
    for step in range(h.size - 1, -1, -1):
        if row[step] >= 0:
            lam += bump[row[step]]
            zeta += bump_zeta[row[step]]
        weight = h[step] * B[:, np.newaxis, np.newaxis] * zeta
        right = weight @ stages.e_y[step]
        right[-1] += lam
        transposed = system(h[step], stages.J[step]).T
        mu = np.linalg.solve(transposed, right.transpose(0, 2, 1).reshape(3 * n, q))
        mu = mu.reshape(3, n, q)
        w = h[step] * np.einsum("ij,iaq->jqa", A, mu)
        theta_bar += np.einsum("jqa,jad->qd", w, stages.f[step])
        theta_bar += np.einsum("jqw,jwd->qd", weight, stages.e_theta[step])
        by_rate[:, step] += np.einsum("jqa,jal->qjl", w, stages.by_rate[step])
        lam[:] = mu.sum(axis=0).T
