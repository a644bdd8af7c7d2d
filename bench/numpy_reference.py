"""The equations in vectorised numpy: broadcasting and einsum, no Python loop over units."""

import numpy as np


def covariance(y, T):
    P = len(T)
    # n = K (K + 1) / 2 + K P + K
    K = round((-(3 + 2 * P) + np.sqrt((3 + 2 * P) ** 2 + 8 * len(y))) / 2)
    nq = K * (K + 1) // 2
    Q = np.zeros((K, K))
    Q[np.triu_indices(K)] = y[:nq]
    Q = Q + np.triu(Q, 1).T
    R = y[nq : nq + K * P].reshape(K, P)
    return np.block([[Q, R], [R.T, T]]), y[nq + K * P :]


def rhs(y, eta, T, u, sigma):
    """One task, second layer fixed, as `literal.rhs`."""
    C, v = covariance(y, T)
    K = len(v)
    c = np.concatenate([-v, u])
    n = 1.0 + np.diag(C)
    S = C[:K]  # students against all fields
    L3 = n[:K, None] * n[None, :] - S**2  # (k, a)
    weights = (2 / np.pi) * c / np.sqrt(L3)
    A = weights @ C - S / n[:K, None] * np.sum(weights * S, axis=1)[:, None]

    L4 = L3[:, :K]  # (k, l)
    Sk, Sl = S[:, None, :], S[None, :, :]  # (k, l, c)
    nk, nl, Q = n[:K, None], n[None, :K], S[:, :K]
    L12 = (
        L4[..., None] * n
        - Sl**2 * nk[..., None]
        - Sk**2 * nl[..., None]
        + 2 * Q[..., None] * Sk * Sl
    )
    cross = np.einsum("kc,ld->klcd", S, S)
    L0 = (
        L4[..., None, None] * C
        - np.einsum("lc,ld,k->klcd", S, S, n[:K])
        - np.einsum("kc,kd,l->klcd", S, S, n[:K])
        + Q[..., None, None] * (cross + np.swapaxes(cross, 2, 3))
    )
    root = np.sqrt(L12)
    angle = np.arcsin(L0 / (root[..., :, None] * root[..., None, :]))
    power = (4 / np.pi**2) * (angle @ c @ c) + sigma**2 * (2 / np.pi)
    drift = v[:, None] * A
    dQ = eta * (drift[:, :K] + drift[:, :K].T)
    dQ += eta**2 * np.outer(v, v) * power / np.sqrt(L4)
    dR = eta * drift[:, K:]
    return np.concatenate([dQ[np.triu_indices(K)], dR.ravel(), np.zeros(K)])
