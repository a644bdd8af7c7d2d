"""Right-hand side, Jacobian and errors of a committee whose moments come from quadrature.

The equations are those of `committee`, here as matrix products in numpy, for a g that no compiled
kernel knows. Moments enter as functions of the covariance C of all D = K + P fields:

``second(C, K)``
    I2(k, a), J2(k, a) and G2(k, a) = E[g''(x_k) g(x_a)], shape (K, D) each.
``fourth(C, K)``
    I4(k, l, a, b) for pairs k ≤ l row by row, shape (K (K + 1) / 2, D, D).
``variance(C)``
    I2(a, b) of all fields, shape (D, D).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["covariance", "errors", "jacobian", "rhs"]

Array = NDArray[np.float64]
Rhs = Callable[[Array], Array]

STEP = 6e-6
"""Step of central differences, ε^(1/3), relative to the largest value that an overlap can have."""


_upper = lru_cache(64)(np.triu_indices)
"""Made anew they were a third of the time that an error took."""


def unpack(y: Array, K: int, P: int) -> tuple[Array, Array, Array]:
    """Q (K, K), R (K, P) and the heads (H, K) of a flat state."""
    triangle = K * (K + 1) // 2
    Q = np.empty((K, K))
    k, l = _upper(K)
    Q[k, l] = Q[l, k] = y[:triangle]
    return Q, y[triangle : triangle + K * P].reshape(K, P), y[triangle + K * P :].reshape(-1, K)


def covariance(y: Array, T: Array, K: int) -> Array:
    """C = [[Q, R], [Rᵀ, T]]."""
    Q, R, _ = unpack(y, K, len(T))
    return _joint(Q, R, T)


def _joint(Q: Array, R: Array, T: Array) -> Array:
    K = len(Q)
    C = np.empty((K + len(T), K + len(T)))
    C[:K, :K], C[:K, K:], C[K:, :K], C[K:, K:] = Q, R, R.T, T
    return C


def rhs(y: Array, eta_w: float, eta_v: float, system: Any, second: Any, fourth: Any) -> Array:
    """Time derivative of a flat state, shape (n,).

    Parameters
    ----------
    y : ndarray, shape (n,)
        Q's upper triangle, R, heads.
    eta_w, eta_v : float
        Learning rates of the two layers.
    system : Committee
        What is constant in the phase.
    second, fourth : callable
        Moments, see above; the fourth are asked for only if the η² term is wanted.
    """
    K, P = len(system.move), len(system.T)
    Q, R, heads = unpack(y, K, P)
    C = _joint(Q, R, system.T)
    I2, J2, G2 = second(C, K)
    v = heads[system.head]
    c = np.concatenate([-v, system.u], axis=1)
    # Σ_s p_s v_k c_a; with it A_kb is summed over tasks, and holds the factor v_k.
    mean = np.einsum("s,sk,sa->ka", system.p, v, c)
    A = C[:K] * (mean * G2).sum(axis=1)[:, None] + (mean * J2) @ C
    rate = eta_w * system.move
    drive = rate[:, None] * A
    dQ = drive[:, :K] + drive[:, :K].T
    dR = drive[:, K:]
    if system.inverse_batch != 0.0 and eta_w != 0.0:
        dQ = dQ + system.inverse_batch * np.outer(rate, rate) * _power(
            system, v, c, J2, fourth(C, K)
        )
    dQ, dR = _pull(dQ, dR, Q, R, system, eta_w)
    dv = _second_layer(heads, c @ I2.T, system)
    k, l = _upper(K)
    return np.concatenate([dQ[k, l], dR.ravel(), eta_v * dv.ravel()])


def _power(system: Any, v: Array, c: Array, J2: Array, I4: Array) -> Array:
    """Σ_s p_s v_k v_l (Σ_ab c_a c_b I4 + σ² J2), shape (K, K)."""
    K = v.shape[1]
    k, l = _upper(K)
    whole = np.einsum("iab,sa,sb->si", I4, c, c, optimize=True)
    whole += system.sigma[:, None] ** 2 * J2[k, l]
    power = np.empty((K, K))
    power[k, l] = power[l, k] = (system.p[:, None] * v[:, k] * v[:, l] * whole).sum(axis=0)
    return power


def _pull(
    dQ: Array, dR: Array, Q: Array, R: Array, system: Any, eta_w: float
) -> tuple[Array, Array]:
    """Weight decay, and the pull of every consolidation towards its copies."""
    rate = eta_w * system.move
    pull_Q, pull_R = system.kappa_w * rate[:, None] * Q, system.kappa_w * rate[:, None] * R
    for F, anchor in zip(system.F, system.anchor, strict=True):
        strength = (rate * F)[:, None]
        # Row k holds F_k (Q_kl − P_lk), with P_lk the overlap of unit l with the copy of k.
        pull_Q = pull_Q + strength * (Q - R[:, anchor].T)
        pull_R = pull_R + strength * (R - system.T[anchor])
    return dQ - pull_Q - pull_Q.T, dR - pull_R


def _second_layer(heads: Array, drive: Array, system: Any) -> Array:
    """dv over η_v, shape (H, K), from Σ_a c_a I2(k, a) of each task (S, K)."""
    dv = np.zeros_like(heads)
    for s, h in enumerate(system.head):
        total = drive[s] - system.kappa_v * heads[h]
        for F, held, head in zip(system.F_v, system.v_anchor, system.v_head, strict=True):
            if head == h:
                total = total - F * (heads[h] - held)
        dv[h] += system.p[s] * total
    return dv


def errors(y: Array, T: Array, u: Array, head: Any, K: int, variance: Any) -> Array:
    """Generalization error ½ Σ_ab c_a c_b I2(a, b) of each task, shape (S,)."""
    _, _, heads = unpack(y, K, len(T))
    c = np.concatenate([-heads[head], u], axis=1)
    I2 = variance(covariance(y, T, K))
    return 0.5 * np.einsum("sa,ab,sb->s", c, I2, c)


def jacobian(f: Rhs, y: Array, T: Array, K: int) -> Array:
    """Jacobian of f at y by central differences, shape (n, n)."""
    columns = []
    for j, h in enumerate(STEP * _scales(y, T, K)):
        e = np.zeros_like(y)
        e[j] = h
        columns.append((f(y + e) - f(y - e)) / ((y[j] + h) - (y[j] - h)))
    return np.array(columns).T


def _scales(y: Array, T: Array, K: int) -> Array:
    """Largest modulus that each entry of a state can have."""
    Q, _, heads = unpack(y, K, len(T))
    s, t = (np.sqrt(np.maximum(np.diagonal(x), 0.0)) for x in (Q, T))
    v = np.full(heads.size, np.abs(heads).max(initial=0.0))
    scales = np.concatenate([np.outer(s, s)[_upper(K)], np.outer(s, t).ravel(), v])
    return np.maximum(scales, np.maximum(1e-8 * scales.max(), 1e-12))
