"""Jacobian of the right-hand side, output by output.

The moments' derivatives come with respect to the entries of C; `Work.place` says which of them are
entries of the state.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee import moments
from odekit_kernels.committee.state import fill_averages, fill_state

__all__ = ["jacobian"]


@inner
def first_head(K: int, D: int) -> int:
    """Place of the heads in the state."""
    return K * (K + 1) // 2 + K * (D - K)


@inner
def scatter_fields(work: Any, rate: float, i: int, k: int, K: int, D: int, J: Any) -> None:
    """Add the derivatives by C_ka and C_aa to row i of J."""
    place, by_k, by_a = work.place, work.by_k, work.by_a
    for a in range(D):
        J[i, place[k, a]] += rate * by_k[a]
    for a in range(K):
        J[i, place[a, a]] += rate * by_a[a]


@inner
def scatter_drive(
    work: Any, system: Any, rate: float, i: int, k: int, b: int, K: int, D: int, J: Any
) -> None:
    """Add the derivatives of A_kb by C_ba, and by the heads through cbar_ka = Σ_s p_s v_k c_a."""
    place, by_b, by_c, c, p = work.place, work.by_b, work.by_c, work.c, system.p
    if b < K:
        for a in range(D):
            J[i, place[b, a]] += rate * by_b[a]
    else:
        for a in range(K):
            J[i, place[a, b]] += rate * by_b[a]
    for s in range(p.shape[0]):
        head = first_head(K, D) + system.head[s] * K
        weight, total = rate * p[s], 0.0
        for a in range(D):
            total += by_c[a] * c[s, a]
        J[i, head + k] += weight * total
        for a in range(K):
            J[i, head + a] += weight * c[s, k] * by_c[a]


@inner
def first_layer(eta_w: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of dQ and dR without the η² term."""
    for k in range(K):
        if system.move[k] == 0.0:
            continue
        for b in range(D):
            # dQ_kk holds A_kk twice.
            rate = eta_w * system.move[k] * (2.0 if b == k else 1.0)
            i = work.place[k, b]
            moments.drive_gradient(system.activation, work, k, b, D)
            scatter_fields(work, rate, i, k, K, D, J)
            scatter_drive(work, system, rate, i, k, b, K, D, J)


@inner
def diffusion(eta_w: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of the η² term."""
    move = system.move
    for k in range(K):
        for l in range(k, K):
            rate = eta_w * eta_w * system.inverse_batch * move[k] * move[l]
            if rate == 0.0:
                continue
            moments.diffusion_gradient(system.activation, work, system.p, system.sigma, k, l, D)
            scatter_diffusion(work, system, rate, k, l, K, D, J)


@inner
def scatter_diffusion(
    work: Any, system: Any, rate: float, k: int, l: int, K: int, D: int, J: Any
) -> None:
    """Add the derivatives of one pair's η² term to its row of J."""
    B, c, m, e, p, place = work.B, work.c, work.m, work.e, system.p, work.place
    i = place[k, l]
    for a in range(K):
        J[i, place[a, a]] += rate * B[a, a]
        for b in range(a + 1, D):
            J[i, place[a, b]] += 2.0 * rate * B[a, b]
    for s in range(p.shape[0]):
        head, weight = first_head(K, D) + system.head[s] * K, rate * p[s]
        J[i, head + k] -= weight * c[s, l] * e[s]
        J[i, head + l] -= weight * c[s, k] * e[s]
        for a in range(K):
            J[i, head + a] -= 2.0 * weight * c[s, k] * c[s, l] * m[s, a]


@inner
def decay(rate: float, move: Any, K: int, P: int, J: Any) -> None:
    """Add the derivatives of the first layer's weight decay."""
    i = 0
    for k in range(K):
        for l in range(k, K):
            J[i, i] -= rate * (move[k] + move[l])
            i += 1
    for k in range(K):
        for _ in range(P):
            J[i, i] -= rate * move[k]
            i += 1


@inner
def consolidation(eta_w: float, system: Any, K: int, P: int, J: Any) -> None:
    """Add the derivatives of every consolidation in force."""
    F, anchor, move = system.F, system.anchor, system.move
    R = K * (K + 1) // 2
    for j in range(F.shape[0]):
        i = 0
        for k in range(K):
            for l in range(k, K):
                pull_k, pull_l = eta_w * move[k] * F[j, k], eta_w * move[l] * F[j, l]
                J[i, i] -= pull_k + pull_l
                J[i, R + l * P + anchor[j, k]] += pull_k
                J[i, R + k * P + anchor[j, l]] += pull_l
                i += 1
        for k in range(K):
            for _ in range(P):
                J[i, i] -= eta_w * move[k] * F[j, k]
                i += 1


@inner
def second_layer(eta_v: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of dv, after `moments.second`."""
    c, I2, p, row = work.c, work.I2, system.p, work.row
    for s in range(p.shape[0]):
        head, rate = first_head(K, D) + system.head[s] * K, eta_v * p[s]
        for a in range(D):
            row[a] = c[s, a]
        for k in range(K):
            i = head + k
            moments.second_gradient(system.activation, work, k, D)
            scatter_fields(work, rate, i, k, K, D, J)
            J[i, i] -= rate * system.kappa_v
            for a in range(K):
                J[i, head + a] -= rate * I2[k, a]
            for j in range(system.F_v.shape[0]):
                if system.v_head[j] == system.head[s]:
                    J[i, i] -= rate * system.F_v[j, k]


@kernel(_nrt=False)
def jacobian(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, J: Any) -> None:
    """Jacobian of `committee.rhs`, analytic: J_ij = ∂(dy_i/dt)/∂y_j.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State: Q's upper triangle, R, heads.
    eta_w, eta_v : float
        Learning rates of the first and the second layer.
    system : Committee
        What is constant in the phase.
    work : Work
        Scratch memory, from `make_work`.
    J : ndarray, shape (n, n)
        Receives the Jacobian.
    """
    K, P = system.move.shape[0], system.T.shape[0]
    D = K + P
    fill_state(y, system, K, P, work)
    J[:] = 0.0
    if eta_w != 0.0:
        fill_averages(system.p, K, K + P, work)
        moments.drive(system.activation, work, K, D)
        first_layer(eta_w, system, K, D, work, J)
        if system.inverse_batch != 0.0:
            diffusion(eta_w, system, K, D, work, J)
        decay(eta_w * system.kappa_w, system.move, K, P, J)
        consolidation(eta_w, system, K, P, J)
    if eta_v != 0.0:
        moments.second(system.activation, work, K, D)
        second_layer(eta_v, system, K, D, work, J)
