"""From the flat state to the scratch arrays."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.simd import WIDTH, load, store

__all__ = [
    "continue_covariance",
    "fill_averages",
    "fill_coefficients",
    "fill_covariance",
    "fill_pairs",
    "fill_readouts",
    "fill_state",
]


@inner
def fill_covariance(y: Any, T: Any, K: int, P: int, work: Any) -> None:
    """Write C = [[Q, R], [Rᵀ, T]], its diagonal, and the cyclic continuation of both."""
    C, i = work.C, 0
    for k in range(K):
        for l in range(k, K):
            C[k, l] = y[i]
            C[l, k] = y[i]
            i += 1
    for k in range(K):
        for n in range(P):
            C[k, K + n] = y[i]
            C[K + n, k] = y[i]
            i += 1
    for n in range(P):
        for m in range(P):
            C[K + n, K + m] = T[n, m]
    continue_covariance(K, K + P, work)


@inner
def continue_covariance(K: int, D: int, work: Any) -> None:
    """Write the diagonal of C, and the cyclic continuation of both."""
    C, diag = work.C, work.diag
    for a in range(D):
        diag[a] = C[a, a]
    for b in range(D // 2):
        diag[D + b] = diag[b]
        for k in range(K):
            C[k, D + b] = C[k, b]


@inner
def fill_coefficients(
    y: Any, u: Any, head: Any, s: int, K: int, P: int, blocks: int, out: Any
) -> None:
    """Write c = (−v, u) of task s, with the head `head` of it, to `out`."""
    start = blocks * (K * (K + 1) // 2 + K * P) + head[s] * K
    for k in range(K):
        out[k] = -y[start + k]
    for n in range(P):
        out[K + n] = u[s, n]


@inner
def fill_averages(p: Any, K: int, D: int, work: Any) -> None:
    """Write cbar_ka = Σ_s p_s v_k c_a."""
    c, cbar = work.c, work.cbar
    for k in range(K):
        for a in range(D):
            cbar[k, a] = -p[0] * c[0, k] * c[0, a]
        for s in range(1, p.shape[0]):
            for a in range(D):
                cbar[k, a] -= p[s] * c[s, k] * c[s, a]


@inner
def fill_pairs(S: int, D: int, work: Any) -> None:
    """Write C and c_a c_b of every pair of fields, in the cyclic order of `Work.ring`."""
    C, ring, c, cyclic, cc = work.C, work.ring, work.c, work.cyclic, work.cc
    L, X = c.shape[1], cyclic.shape[1]
    for j in range(D // 2 + 1):
        for a in range(D - j):
            ring[j, a] = C[a, a + j]
        for a in range(j):
            ring[j, D - j + a] = C[a, D - j + a]
    for s in range(S):
        for a in range(D):
            cyclic[s, a] = c[s, a]
        for a in range(D // 2):
            cyclic[s, D + a] = c[s, a]
        for j in range(D // 2 + 1):
            # At j = 0 a pair is (a, a); at j = D/2 it comes twice, as (a, b) and as (b, a).
            twice = 1.0 if j == 0 or 2 * j == D else 2.0
            for a in range(0, D, WIDTH):
                product = twice * load(c, s * L + a) * load(cyclic, s * X + a + j)
                store(cc, (s * (D // 2 + 1) + j) * L + a, product)


@inner
def fill_readouts(y: Any, system: Any, K: int, P: int, blocks: int, work: Any) -> None:
    """Write the coefficients of every task of the phase; the heads come after so many blocks."""
    for s in range(system.p.shape[0]):
        fill_coefficients(y, system.u, system.head, s, K, P, blocks, work.c[s])


@inner
def fill_state(y: Any, system: Any, K: int, P: int, work: Any) -> None:
    """Write covariance and coefficients, where all inputs are alike."""
    fill_covariance(y, system.T, K, P, work)
    fill_readouts(y, system, K, P, 1, work)
