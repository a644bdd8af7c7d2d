"""The equations as printed, compiled by Numba: every quadruple, every Λ, libm's asin.

Nothing is made slow on purpose: the same compiler flags as odekit's, scratch arrays from outside.
"""

import math

import numba
import numpy as np

FLAGS = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
TWO_OVER_PI = 2.0 / math.pi


@numba.njit(**FLAGS)
def I3(C, a, b, c):
    L3 = (1.0 + C[a, a]) * (1.0 + C[c, c]) - C[a, c] ** 2
    top = C[b, c] * (1.0 + C[a, a]) - C[a, b] * C[a, c]
    return TWO_OVER_PI * top / ((1.0 + C[a, a]) * math.sqrt(L3))


@numba.njit(**FLAGS)
def J2(C, a, b):
    return TWO_OVER_PI / math.sqrt((1.0 + C[a, a]) * (1.0 + C[b, b]) - C[a, b] ** 2)


@numba.njit(**FLAGS)
def I4(C, a, b, c, d):
    L4 = (1.0 + C[a, a]) * (1.0 + C[b, b]) - C[a, b] ** 2
    L0 = (
        L4 * C[c, d]
        - C[b, c] * C[b, d] * (1.0 + C[a, a])
        - C[a, c] * C[a, d] * (1.0 + C[b, b])
        + C[a, b] * (C[a, c] * C[b, d] + C[a, d] * C[b, c])
    )
    L1 = (
        L4 * (1.0 + C[c, c])
        - C[b, c] ** 2 * (1.0 + C[a, a])
        - C[a, c] ** 2 * (1.0 + C[b, b])
        + 2.0 * C[a, b] * C[a, c] * C[b, c]
    )
    L2 = (
        L4 * (1.0 + C[d, d])
        - C[b, d] ** 2 * (1.0 + C[a, a])
        - C[a, d] ** 2 * (1.0 + C[b, b])
        + 2.0 * C[a, b] * C[a, d] * C[b, d]
    )
    return TWO_OVER_PI**2 / math.sqrt(L4) * math.asin(L0 / math.sqrt(L1 * L2))


@numba.njit(**FLAGS)
def unpack(y, T, u, C, c):
    K, P = C.shape[0] - T.shape[0], T.shape[0]
    i = 0
    for k in range(K):
        for l in range(k, K):
            C[k, l] = C[l, k] = y[i]
            i += 1
    for k in range(K):
        for n in range(P):
            C[k, K + n] = C[K + n, k] = y[i]
            i += 1
    for n in range(P):
        for m in range(P):
            C[K + n, K + m] = T[n, m]
        c[K + n] = u[n]
    for k in range(K):
        c[k] = -y[i + k]


@numba.njit(**FLAGS)
def rhs(y, eta, T, u, sigma, C, c, A, dQ, dy):
    """One task, second layer fixed; C, c, A and dQ are scratch, so that nothing is allocated."""
    D, P = C.shape[0], T.shape[0]
    K = D - P
    unpack(y, T, u, C, c)
    for k in range(K):
        for b in range(D):
            A[k, b] = 0.0
            for a in range(D):
                A[k, b] += c[a] * I3(C, k, b, a)
    for k in range(K):
        for l in range(K):
            power = sigma * sigma * J2(C, k, l)
            for a in range(D):
                for b in range(D):
                    power += c[a] * c[b] * I4(C, k, l, a, b)
            dQ[k, l] = eta * (-c[k] * A[k, l] - c[l] * A[l, k]) + eta * eta * c[k] * c[l] * power
    i = 0
    for k in range(K):
        for l in range(k, K):
            dy[i] = dQ[k, l]
            i += 1
    for k in range(K):
        for n in range(P):
            dy[i] = -eta * c[k] * A[k, K + n]
            i += 1
    dy[i:] = 0.0


def make_scratch(K, P):
    D = K + P
    return np.zeros((D, D)), np.zeros(D), np.zeros((K, D)), np.zeros((K, K))
