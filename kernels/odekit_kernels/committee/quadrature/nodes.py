"""Right-hand side, Jacobian and errors of a committee whose moments come from quadrature.

The equations are the compiled ones of `committee.one`, for a g that no compiled kernel knows: here
are its moments, contracted as those kernels take them. They enter as functions of the covariance C
of all D = K + P fields:

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

from odekit_kernels.committee import groups
from odekit_kernels.committee.one import assemble_alone, fill_state_alone, weigh_alone

__all__ = ["covariance", "covariances", "errors", "errors_of_groups", "jacobian", "rhs"]

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
    C = np.empty((K + len(T), K + len(T)))
    C[:K, :K], C[:K, K:], C[K:, :K], C[K:, K:] = Q, R, R.T, T
    return C


def rhs(
    y: Array, eta_w: float, eta_v: float, system: Any, work: Any, second: Any, fourth: Any
) -> Array:
    """Time derivative of a flat state, shape (n,).

    Parameters
    ----------
    y : ndarray, shape (n,)
        Q's upper triangle, R, heads.
    eta_w, eta_v : float
        Learning rates of the two layers.
    system : Committee
        What is constant in the phase.
    work : Work
        Scratch memory, from `work.make_work`.
    second, fourth : callable
        Moments, see above; the fourth are asked for only if the η² term is wanted.
    """
    dy = np.zeros_like(y)
    rates, moves = (eta_w, eta_v), eta_w != 0.0
    if system.inputs is None:
        fill_state_alone(y, system, work)
        _fill_moments(system.p, system, work, moves, second, fourth)
        assemble_alone(y, *rates, system, work, dy)
        return dy
    groups.fill_groups_alone(y, system, work)
    for v in range(len(system.inputs.ss)):
        if groups.enter_law_alone(system, v, work):
            _fill_moments(work.of_groups.p[: len(system.p)], system, work, moves, second, fourth)
            groups.assemble_alone(y, *rates, system, v, work, dy)
    groups.add_penalties_alone(y, eta_w, system, work, dy)
    return dy


def _fill_moments(p: Array, system: Any, work: Any, moves: bool, second: Any, fourth: Any) -> None:
    """Fill the drive, S and J2, and I2, from the moments at the covariance in `work`."""
    K, D = len(system.move), len(work.C)
    C = np.ascontiguousarray(work.C[:, :D])
    I2, J2, G2 = second(C, K)
    cbar = work.cbar[:, :D]
    work.I2[:K, :D] = I2
    work.own[:], work.E[:, :D] = (cbar * G2).sum(axis=1), cbar * J2
    if system.inverse_batch != 0.0 and moves:
        work.J2[:] = J2[:, :K]
        work.S[_upper(K)] = _power(p, work.c[:, :D], K, fourth(C, K))


def _power(p: Array, c: Array, K: int, I4: Array) -> Array:
    """Σ_s p_s v_k v_l Σ_ab c_a c_b I4(k, l, a, b) of the pairs of I4."""
    k, l = _upper(K)
    c = c[: len(p)]
    whole = np.einsum("iab,sa,sb->si", I4, c, c, optimize=True)
    return (p[:, None] * c[:, k] * c[:, l] * whole).sum(axis=0)


def errors(y: Array, T: Array, u: Array, head: Any, work: Any, variance: Any) -> Array:
    """Generalization error ½ Σ_ab c_a c_b I2(a, b) of each task, shape (S,)."""
    D, out = len(work.C), np.empty(len(u))
    work.I2[:, :D] = variance(covariance(y, T, D - len(T)))
    weigh_alone(y, u, head, work, out)
    return out


def covariances(y: Array, T: Array, inputs: Any, K: int) -> list[Array]:
    """C under each law of the inputs; T of one group below the other."""
    if inputs is None:
        return [covariance(y, T, K)]
    P, G = T.shape[1], inputs.share.size
    blocks, found = _blocks(y, T, G, K), []
    for ss, st, tt in zip(inputs.ss, inputs.st, inputs.tt, strict=True):
        C = np.empty((K + P, K + P))
        C[:K, :K] = np.tensordot(inputs.share * ss, blocks[:, :K, :K], 1)
        C[:K, K:] = np.tensordot(inputs.share * st, blocks[:, :K, K:], 1)
        C[K:, :K] = C[:K, K:].T
        C[K:, K:] = np.tensordot(inputs.share * tt, blocks[:, K:, K:], 1)
        found.append(C)
    return found


def _blocks(y: Array, T: Array, G: int, K: int) -> Array:
    """Overlaps in each group, shape (G, D, D)."""
    P = T.shape[1]
    size = K * (K + 1) // 2 + K * P
    parts = zip(y[: G * size].reshape(G, size), T.reshape(G, P, P), strict=True)
    return np.array([covariance(part, T_g, K) for part, T_g in parts])


def errors_of_groups(
    y: Array, T: Array, inputs: Any, u: Array, head: Any, work: Any, variance: Any
) -> Array:
    """`errors` of each task under its own law."""
    D, out, K = len(work.C), np.empty(len(u)), len(work.s)
    for v, C in enumerate(covariances(y, T, inputs, K)):
        if (inputs.law == v).any():
            work.I2[:, :D] = variance(C)
            groups.errors_under_law(y, u, head, inputs.law, v, work, out)
    return out


def jacobian(f: Rhs, y: Array, T: Array, K: int) -> Array:
    """Jacobian of f at y by central differences, shape (n, n)."""
    columns = []
    for j, h in enumerate(STEP * _scales(y, T, K)):
        e = np.zeros_like(y)
        e[j] = h
        columns.append((f(y + e) - f(y - e)) / ((y[j] + h) - (y[j] - h)))
    return np.array(columns).T


def _scales(y: Array, T: Array, K: int) -> Array:
    """Largest modulus that each entry of a state can have; T of one group below the other."""
    P = T.shape[1]
    G, size = max(len(T) // P, 1) if P else 1, K * (K + 1) // 2 + K * P
    blocks = []
    for block in _blocks(y, T, G, K):
        s = np.sqrt(np.maximum(np.diagonal(block), 0.0))
        blocks += [np.outer(s[:K], s[:K])[_upper(K)], np.outer(s[:K], s[K:]).ravel()]
    heads = y[G * size :]
    scales = np.concatenate([*blocks, np.full(heads.size, np.abs(heads).max(initial=0.0))])
    return np.maximum(scales, np.maximum(1e-8 * scales.max(), 1e-12))
