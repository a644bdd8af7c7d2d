"""From the state to the law of the fields: overlaps, coefficients, covariance and means.

A sample has the law v of its task. In group τ the student sees a_vτ x + s_vτ ξ of inputs x of mean
Σ_n s_vn B_n and variance m_vτ, so that (theory-inputs sections 10 and 11)

    C_ab = Σ_τ f_τ m_vτ^(ab) G^τ_ab,    M_a = b_a + Σ_τ f_τ (a_vτ of a student) Σ_n s_vn G^τ_an.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.lanes.values import fill, get
from odekit_kernels.lanes.views import matrix, vector

__all__ = [
    "block",
    "coefficients",
    "enter_law",
    "fill_law",
    "first_bias",
    "first_head",
    "group",
    "mean_of",
    "overlaps",
    "projections",
    "velocities",
]

# ---------------------------------------------------------------------------- the layout of a state


@inner
def block(m: Any) -> Any:
    """Overlaps of a group in the state."""
    return m.K * (m.K + 1) // 2 + m.K * m.P


@inner
def first_head(m: Any) -> Any:
    """Where the heads begin in the state."""
    return m.G * block(m)


@inner
def first_bias(m: Any) -> Any:
    """Where the biases begin in the state."""
    return first_head(m) + m.H * m.O * m.K


@inner
def velocities(m: Any, g: Any) -> Any:
    """Where the velocities' overlaps of a group begin in the state; those of the heads at G."""
    return first_bias(m) + m.biases * m.K + g * (m.K * m.K + block(m))


@inner
def group(M: Any, m: Any, g: int) -> Any:
    """The overlaps of all fields with all passive vectors of a group."""
    return matrix(M, m.overlaps + g * m.D * m.L, m.D, m.L)


# ------------------------------------------------------------------------------- state and readouts


@inner
def overlaps(M: Any, m: Any, y: int) -> None:
    """Write the overlaps of every group and the biases of the state at `y`; T lies there."""
    K, D = m.K, m.D
    for g in range(m.G):
        G, state, i = group(M, m, g), vector(M, y + g * block(m), block(m)), 0
        for k in range(K):
            for l in range(k, K):
                G[k, l] = G[l, k] = state[i]
                i += 1
        for k in range(K):
            for n in range(K, D):
                G[k, n] = G[n, k] = state[i]
                i += 1
        if m.heavy != 0:
            moving(M, m, g, y)
    bias = vector(M, m.bias, K)
    for k in range(K):
        bias[k] = get(M, y + first_bias(m) + k) if m.biases != 0 else fill(M, 0.0)


@inner
def moving(M: Any, m: Any, g: int, y: int) -> None:
    """Write the overlaps of the velocities with all fields of a group."""
    K, D, G, first = m.K, m.D, group(M, m, g), y + velocities(m, g)
    with_units = matrix(M, first, K, K)
    with_fixed = matrix(M, first + K * K, K, m.P)
    for j in range(K):
        for k in range(K):
            G[k, D + j] = with_units[j, k]
        for n in range(K, D):
            G[n, D + j] = with_fixed[j, n - K]


@inner
def coefficients(M: Any, m: Any, w: Any, y: int) -> None:
    """Write c = (−V, u) of the tasks of the phase, H and H⁰; u lies there already."""
    K, D, O = m.K, m.D, m.O
    for s in range(m.S):
        V = matrix(M, y + first_head(m) + w.head[s] * O * K, O, K)
        c, label = matrix(M, m.coef + s * O * D, O, D), vector(M, m.label + s * O, O)
        H, H0 = matrix(M, m.H_ka + s * K * D, K, D), vector(M, m.H0 + s * K, K)
        for k in range(K):
            for o in range(O):
                c[o, k] = -V[o, k]
        for k in range(K):
            whole = fill(M, 0.0)
            for o in range(O):
                whole = whole + V[o, k] * label[o]
            H0[k] = whole
            for a in range(D):
                whole = fill(M, 0.0)
                for o in range(O):
                    whole = whole + V[o, k] * c[o, a]
                H[k, a] = whole


# ------------------------------------------------------------------------------------ law by law


@inner
def seen(m: Any, v: int, a: int, b: int) -> Any:
    """Where the second moments lie under which fields a ≤ b see the inputs."""
    if a >= m.K:
        return m.tt + v * m.G
    return (m.ss if b < m.K else m.st) + v * m.G


@inner
def projections(M: Any, m: Any, v: int, g: int, b: int) -> Any:
    """Σ_n s_vn G^τ_nb: the mean of the inputs of a group along a passive vector."""
    G, s, whole = group(M, m, g), vector(M, m.mean + v * m.P, m.P), fill(M, 0.0)
    for n in range(m.P):
        whole = whole + s[n] * G[m.K + n, b]
    return whole


@inner
def mean_of(M: Any, m: Any, v: int, a: int) -> Any:
    """M_a."""
    whole, share = get(M, m.bias + a), vector(M, m.share, m.G)
    for g in range(m.G):
        part = share[g] * projections(M, m, v, g, a)
        whole = whole + (part * get(M, m.gain + v * m.G + g) if a < m.K else part)
    return whole


@inner
def fill_law(M: Any, m: Any, v: int) -> None:
    """Write C and the means under law v."""
    D, share = m.D, vector(M, m.share, m.G)
    C, mean = matrix(M, m.C, D, D), vector(M, m.M, D)
    for a in range(D):
        mean[a] = mean_of(M, m, v, a)
        for b in range(a, D):
            moment, whole = vector(M, seen(m, v, a, b), m.G), fill(M, 0.0)
            for g in range(m.G):
                whole = whole + share[g] * moment[g] * get(M, m.overlaps + (g * D + a) * m.L + b)
            C[a, b] = C[b, a] = whole


@inner
def enter_law(M: Any, m: Any, w: Any, v: int) -> bool:
    """Write C and means under law v; False, with nothing written, if no task has it."""
    has = False
    for s in range(m.S):
        has = has or w.law[s] == v
    if has:
        fill_law(M, m, v)
    return has
