"""theory.md sections 2 and 3 letter by letter: loops, Λs and sums over quadruples, plain numpy.

Slow on purpose, and written without a look at the kernels. Works on complex numbers too (erf and
linear), so that complex-step differentiation gives its Jacobian to rounding.
"""

from __future__ import annotations

import numpy as np

ERF, LINEAR, RELU = 0, 1, 2
PI = np.pi


def bare(activation):
    """The code of an activation, in whatever type it comes."""
    return int(np.ravel(activation)[0])


def asin(x):
    if not np.iscomplexobj(x):
        return np.arcsin(np.clip(x, -1.0, 1.0))
    # First order in the imaginary part is all that a complex step needs.
    return np.arcsin(x.real) + 1j * x.imag / np.sqrt(1.0 - x.real**2)


class Erf:
    def I2(self, C, a, b):
        return 2 / PI * asin(C[a, b] / np.sqrt((1 + C[a, a]) * (1 + C[b, b])))

    def I3(self, C, a, b, c):
        L3 = (1 + C[a, a]) * (1 + C[c, c]) - C[a, c] ** 2
        top = C[b, c] * (1 + C[a, a]) - C[a, b] * C[a, c]
        return 2 / PI * top / ((1 + C[a, a]) * np.sqrt(L3))

    def L4(self, C, a, b):
        return (1 + C[a, a]) * (1 + C[b, b]) - C[a, b] ** 2

    def J2(self, C, a, b):
        return 2 / PI / np.sqrt(self.L4(C, a, b))

    def I4(self, C, a, b, c, d):
        L4 = self.L4(C, a, b)
        L0 = (
            L4 * C[c, d]
            - C[b, c] * C[b, d] * (1 + C[a, a])
            - C[a, c] * C[a, d] * (1 + C[b, b])
            + C[a, b] * (C[a, c] * C[b, d] + C[a, d] * C[b, c])
        )

        def L12(e):
            return (
                L4 * (1 + C[e, e])
                - C[b, e] ** 2 * (1 + C[a, a])
                - C[a, e] ** 2 * (1 + C[b, b])
                + 2 * C[a, b] * C[a, e] * C[b, e]
            )

        return 4 / PI**2 / np.sqrt(L4) * asin(L0 / np.sqrt(L12(c) * L12(d)))


class Linear:
    def I2(self, C, a, b):
        return C[a, b]

    def I3(self, C, a, b, c):
        return C[b, c]

    def J2(self, C, a, b):
        return 1.0

    def I4(self, C, a, b, c, d):
        return C[c, d]


class ReLU:
    def r(self, C, a, b):
        return np.clip(C[a, b] / np.sqrt(C[a, a] * C[b, b]), -1.0, 1.0)

    def I2(self, C, a, b):
        r = self.r(C, a, b)
        norm = np.sqrt(C[a, a] * C[b, b])
        return norm * (np.sqrt(1 - r**2) + r * (PI - np.arccos(r))) / (2 * PI)

    def I3(self, C, a, b, c):
        rest = max(C[c, c] - C[a, c] ** 2 / C[a, a], 0.0)
        first = C[a, b] * np.sqrt(rest) / (2 * PI * np.sqrt(C[a, a]))
        return first + C[b, c] * (0.25 + np.arcsin(self.r(C, a, c)) / (2 * PI))

    def J2(self, C, a, b):
        return 0.25 + np.arcsin(self.r(C, a, b)) / (2 * PI)


ACTIVATIONS = {ERF: Erf(), LINEAR: Linear(), RELU: ReLU()}


def unpack(y, K, P):
    nq = K * (K + 1) // 2
    Q = np.zeros((K, K), dtype=y.dtype)
    Q[np.triu_indices(K)] = y[:nq]
    Q = Q + Q.T - np.diag(np.diag(Q))
    R = y[nq : nq + K * P].reshape(K, P)
    return Q, R, y[nq + K * P :].reshape(-1, K)


def pack(Q, R, heads):
    K = len(Q)
    return np.concatenate([Q[np.triu_indices(K)], np.ravel(R), np.ravel(heads)])


def covariance(Q, R, T):
    return np.block([[Q, R], [R.T, T.astype(Q.dtype)]])


def rhs(y, eta_w, eta_v, system):
    K, P = len(system.move), len(system.T)
    Q, R, heads = unpack(y, K, P)
    C = covariance(Q, R, system.T)
    g = ACTIVATIONS[bare(system.activation)]
    dQ, dR, dv = np.zeros_like(Q), np.zeros_like(R), np.zeros_like(heads)
    for s, p_s in enumerate(system.p):
        parts = one_task(g, C, heads, s, system, eta_w, eta_v)
        for whole, part in zip((dQ, dR, dv[system.head[s]]), parts, strict=True):
            whole += p_s * part
    penalties(Q, R, heads, system, eta_w, eta_v, dQ, dR, dv)
    return pack(dQ, dR, dv)


def one_task(g, C, heads, s, system, eta_w, eta_v):
    K = len(system.move)
    v = heads[system.head[s]]
    c = np.concatenate([-v, system.u[s]])
    fields = range(len(C))
    # Frozen units: η_w = 0 for their rows.
    eta = eta_w * system.move
    A = [[sum(c[a] * g.I3(C, k, b, a) for a in fields) for b in fields] for k in range(K)]
    dR = np.array([[eta[k] * v[k] * A[k][b] for b in fields[K:]] for k in range(K)])
    dQ = np.zeros((K, K), dtype=C.dtype)
    for k in range(K):
        for l in range(K):
            dQ[k, l] = eta[k] * v[k] * A[k][l] + eta[l] * v[l] * A[l][k]
            if system.inverse_batch:
                I4 = sum(c[a] * c[b] * g.I4(C, k, l, a, b) for a in fields for b in fields)
                power = I4 + system.sigma[s] ** 2 * g.J2(C, k, l)
                dQ[k, l] += eta[k] * eta[l] * system.inverse_batch * v[k] * v[l] * power
    dv = np.array([eta_v * sum(c[a] * g.I2(C, k, a) for a in fields) for k in range(K)])
    return dQ, dR, dv


def penalties(Q, R, heads, system, eta_w, eta_v, dQ, dR, dv):
    K, P = R.shape
    eta = eta_w * system.move
    for k in range(K):
        dR[k] -= eta[k] * system.kappa_w * R[k]
        for l in range(K):
            dQ[k, l] -= (eta[k] + eta[l]) * system.kappa_w * Q[k, l]
    for F, anchor in zip(system.F, system.anchor, strict=True):
        for k in range(K):
            for n in range(P):
                dR[k, n] -= eta[k] * F[k] * (R[k, n] - system.T[anchor[k], n])
            for l in range(K):
                dQ[k, l] -= eta[k] * F[k] * (Q[k, l] - R[l, anchor[k]])
                dQ[k, l] -= eta[l] * F[l] * (Q[k, l] - R[k, anchor[l]])
    for h in range(len(heads)):
        trained = system.p[system.head == h].sum()
        dv[h] -= eta_v * trained * system.kappa_v * heads[h]
        for F_v, v_anchor, v_head in zip(system.F_v, system.v_anchor, system.v_head, strict=True):
            if v_head == h:
                dv[h] -= eta_v * trained * F_v * (heads[h] - v_anchor)


def errors(y, activation, T, u, head, K):
    Q, R, heads = unpack(y, K, len(T))
    C = covariance(Q, R, T)
    g = ACTIVATIONS[bare(activation)]
    result = []
    for u_s, h in zip(u, head, strict=True):
        c = np.concatenate([-heads[h], u_s])
        fields = range(len(C))
        result.append(0.5 * sum(c[a] * c[b] * g.I2(C, a, b) for a in fields for b in fields))
    return np.array(result)


def complex_step_jacobian(y, eta_w, eta_v, system, step=1e-30):
    """∂dy_i/∂y_j to rounding: no difference is taken."""
    columns = []
    for j in range(len(y)):
        shifted = y.astype(complex)
        shifted[j] += 1j * step
        columns.append(rhs(shifted, eta_w, eta_v, system).imag / step)
    return np.array(columns).T
