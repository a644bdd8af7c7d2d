"""The equations once more for the peers that bring their own arrays or symbols.

erf, one task, T = I, u = v = 1, no noise. Every pair of units has one tilted covariance
C̃ = C − C_k pᵀ − C_l qᵀ, so that I4(k, l, a, b) = J2(k, l) (2/π) asin(C̃_ab d_a d_b) with
d_a = 1/√(1 + C̃_aa): one asin for each pair of units and each pair of fields, no more than odekit
evaluates. `arrays` writes it for numpy, JAX and PyTorch, `scalars` for symbols.
"""

from __future__ import annotations

import math

import numpy as np

TWO_OVER_PI = 2.0 / math.pi


def places(K):
    """Constant index arrays for K = M: the covariance from (y, 0, 1), pairs of units, of fields."""
    D, upper = 2 * K, np.triu_indices(K)
    overlaps = len(upper[0]) + K * K
    C = np.full((D, D), overlaps)  # index of the zero
    C[upper] = np.arange(len(upper[0]))
    C[:K, K:] = len(upper[0]) + np.arange(K * K).reshape(K, K)
    C[np.tril_indices(D, -1)] = C.T[np.tril_indices(D, -1)]
    C[np.arange(K, D), np.arange(K, D)] = overlaps + 1  # index of the one
    return C, upper, np.triu_indices(D)


def weights(K):
    """Coefficients c of the error, and c_a c_b of each pair of fields, twice where a ≠ b."""
    c = np.concatenate([-np.ones(K), np.ones(K)])
    a, b = np.triu_indices(2 * K)
    return c, np.where(a == b, 1.0, 2.0) * c[a] * c[b]


def arrays(K, eta, xp, constant=np.asarray, cat=None):
    """Right-hand side of states (..., overlaps), for an array library `xp`."""
    where, (k, l), (a, b) = places(K)
    c, cc = (constant(x) for x in weights(K))
    ends = constant(np.array([0.0, 1.0]))
    cat = cat or (lambda parts: xp.concatenate(parts, axis=-1))
    diagonal = where.diagonal()

    def rhs(y):
        y = cat([y, xp.broadcast_to(ends, (*y.shape[:-1], 2))])
        n, C = 1.0 + y[..., diagonal], y[..., where]
        S = C[..., :K, :]
        L3 = n[..., :K, None] * n[..., None, :] - S * S
        w = TWO_OVER_PI * c / xp.sqrt(L3)
        drop = (w * S).sum(-1)[..., None] / n[..., :K, None]
        A = w @ C - S * drop
        Sk, Sl, nk, nl, Q = S[..., k, :], S[..., l, :], n[..., k], n[..., l], C[..., k, l]
        det = nk * nl - Q * Q
        p = (nl[..., None] * Sk - Q[..., None] * Sl) / det[..., None]
        q = (nk[..., None] * Sl - Q[..., None] * Sk) / det[..., None]
        d = 1.0 / xp.sqrt(n[..., None, :] - Sk * p - Sl * q)
        tilted = C[..., a, b][..., None, :] - Sk[..., a] * p[..., b] - Sl[..., a] * q[..., b]
        power = TWO_OVER_PI**2 * (xp.arcsin(tilted * d[..., a] * d[..., b]) @ cc) / xp.sqrt(det)
        dQ = eta * (A[..., k, l] + A[..., l, k]) + eta**2 * power
        return cat([dQ, eta * A[..., :, K:].reshape(*y.shape[:-1], K * K)])

    return rhs


def scalars(y, K, eta, sqrt, asin, total=sum):
    """Right-hand side, a list, of a list of overlaps that are symbols or numbers."""
    where, (ks, ls), (a, b) = places(K)
    D = 2 * K
    c, cc = weights(K)
    C = [[[*y, 0.0, 1.0][i] for i in row] for row in where]
    n = [1.0 + C[i][i] for i in range(D)]
    A = [[None] * D for _ in range(K)]
    for k in range(K):
        w = [TWO_OVER_PI * c[i] / sqrt(n[k] * n[i] - C[k][i] * C[k][i]) for i in range(D)]
        drop = total([w[i] * C[k][i] for i in range(D)]) / n[k]
        for j in range(D):
            kept = [w[i] * C[i][j] for i in range(D) if where[i, j] != len(y)]
            A[k][j] = total(kept) - C[k][j] * drop
    dQ = []
    for k, l in zip(ks, ls, strict=True):
        det = n[k] * n[l] - C[k][l] * C[k][l]
        p = [(n[l] * C[k][i] - C[k][l] * C[l][i]) / det for i in range(D)]
        q = [(n[k] * C[l][i] - C[k][l] * C[k][i]) / det for i in range(D)]
        d = [1.0 / sqrt(n[i] - C[k][i] * p[i] - C[l][i] * q[i]) for i in range(D)]
        angles = [
            w * asin((C[i][j] - C[k][i] * p[j] - C[l][i] * q[j]) * d[i] * d[j])
            for w, i, j in zip(cc, a, b, strict=True)
        ]
        power = TWO_OVER_PI**2 * total(angles) / sqrt(det)
        dQ.append(eta * (A[k][l] + A[l][k]) + eta**2 * power)
    return dQ + [eta * A[k][K + m] for k in range(K) for m in range(K)]
