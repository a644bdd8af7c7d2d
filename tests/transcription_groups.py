"""theory-inputs.md section 10 letter by letter, without the drive form: plain numpy, slow.

The overlap of unit k with a vector b in group τ changes with E[g'(λ_k) δ φ], φ the part of b's
field that the inputs of the group make, as the student sees them. So every such part is a field of
its own here, and I3 is that of `transcription`, of the first part. Complex numbers pass through.
"""

from __future__ import annotations

import numpy as np

import transcription
from transcription import ACTIVATIONS, bare


def unpack(y, K, P, G):
    """Overlaps of every group, (G, K, K) and (G, K, P), and the heads."""
    size = K * (K + 1) // 2 + K * P
    parts = [transcription.unpack(y[g * size : (g + 1) * size], K, P)[:2] for g in range(G)]
    Q, R = (np.array(x) for x in zip(*parts, strict=True))
    return Q, R, y[G * size :].reshape(-1, K)


def covariance(Q, R, T, inputs, v):
    """C under law v, and of all fields with the parts (g, b): (D, D) and (D, G, D)."""
    G, K, P = R.shape
    f, ss, st, tt = inputs.share, inputs.ss[v], inputs.st[v], inputs.tt[v]
    C = np.zeros((K + P, K + P), dtype=Q.dtype)
    parts = np.zeros((K + P, G, K + P), dtype=Q.dtype)
    for g in range(G):
        whole = transcription.covariance(Q[g], R[g], T[g])
        teacher = np.arange(K + P) >= K
        both = np.add.outer(teacher.astype(int), teacher.astype(int))
        C = C + f[g] * np.choose(both, [ss[g], st[g], tt[g]]) * whole
        # Parts are as the student sees the inputs.
        parts[:, g] = f[g] * np.where(teacher, st[g], ss[g])[:, None] * whole
    return C, parts


def rhs(y, eta_w, eta_v, system):
    inputs, K, P = system.inputs, len(system.move), system.T.shape[1]
    G = len(inputs.share)
    T = system.T.reshape(G, P, P)
    Q, R, heads = unpack(y, K, P, G)
    dQ, dR, dv = np.zeros_like(Q), np.zeros_like(R), np.zeros_like(heads)
    g = ACTIVATIONS[bare(system.activation)]
    eta = eta_w * np.outer(inputs.pace, system.move)
    for s, p_s in enumerate(system.p):
        v = heads[system.head[s]]
        C, parts = covariance(Q, R, T, inputs, inputs.law[s])
        c = np.concatenate([-v, system.u[s]])
        A = drive(g, C, parts, c, K)
        for t in range(G):
            ss = inputs.ss[inputs.law[s], t]
            for k in range(K):
                dR[t, k] += p_s * eta[t, k] * v[k] * A[k, t, K:] / inputs.share[t]
                for l in range(K):
                    both = eta[t, k] * v[k] * A[k, t, l] + eta[t, l] * v[l] * A[l, t, k]
                    dQ[t, k, l] += p_s * both / inputs.share[t]
                    if system.inverse_batch:
                        rate = eta[t, k] * eta[t, l] * system.inverse_batch * ss
                        noise = system.sigma[s] ** 2
                        dQ[t, k, l] += p_s * rate * v[k] * v[l] * power(g, C, c, k, l, noise)
        fields = range(len(C))
        for k in range(K):
            dv[system.head[s], k] += p_s * eta_v * sum(c[a] * g.I2(C, k, a) for a in fields)
    for t in range(G):
        own = system._replace(T=T[t], F=system.F[t::G], move=system.move * inputs.pace[t])
        transcription.penalties(Q[t], R[t], heads, own, eta_w, 0.0, dQ[t], dR[t], dv)
    none = np.zeros_like
    transcription.penalties(
        Q[0], R[0], heads, system._replace(T=T[0], F=system.F[::G]), 0.0, eta_v,
        none(Q[0]), none(R[0]), dv,
    )  # fmt: skip
    blocks = [transcription.pack(dQ[t], dR[t], []) for t in range(G)]
    return np.concatenate([*blocks, dv.ravel()])


def drive(g, C, parts, c, K):
    """Σ_a c_a I3(k, (group, b), a), shape (K, G, D)."""
    D, G = len(C), parts.shape[1]
    A = np.zeros((K, G, D), dtype=C.dtype)
    wide = np.zeros((D + 1, D + 1), dtype=C.dtype)
    wide[:D, :D] = C
    for t in range(G):
        for b in range(D):
            wide[:D, D] = wide[D, :D] = parts[:, t, b]
            for k in range(K):
                A[k, t, b] = sum(c[a] * g.I3(wide, k, D, a) for a in range(D))
    return A


def power(g, C, c, k, l, noise):
    fields = range(len(C))
    I4 = sum(c[a] * c[b] * g.I4(C, k, l, a, b) for a in fields for b in fields)
    return I4 + noise * g.J2(C, k, l)


def errors(y, activation, T, inputs, u, head, K):
    P, G = T.shape[1], len(inputs.share)
    Q, R, heads = unpack(y, K, P, G)
    g, found = ACTIVATIONS[bare(activation)], []
    for u_s, h, v in zip(u, head, inputs.law, strict=True):
        C, _ = covariance(Q, R, T.reshape(G, P, P), inputs, v)
        c = np.concatenate([-heads[h], u_s])
        fields = range(len(C))
        found.append(0.5 * sum(c[a] * c[b] * g.I2(C, a, b) for a in fields for b in fields))
    return np.array(found)


def complex_step_jacobian(y, eta_w, eta_v, system, step=1e-30):
    """∂dy_i/∂y_j to rounding: no difference is taken."""
    columns = []
    for j in range(len(y)):
        shifted = y.astype(complex)
        shifted[j] += 1j * step
        columns.append(rhs(shifted, eta_w, eta_v, system).imag / step)
    return np.array(columns).T
