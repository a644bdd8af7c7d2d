"""Jacobian of the right-hand side, output by output.

The moments' derivatives come with respect to the entries of C; `Work.place` says which of them are
entries of the state.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee import moments
from odekit_kernels.committee.inputs import enter_law, fill_groups, weigh_pairs
from odekit_kernels.committee.state import fill_averages, fill_readouts, fill_state

__all__ = ["fill", "fill_with_groups", "jacobian", "jacobian_of_groups"]


@inner
def first_head(K: int, D: int) -> int:
    """Place of the heads in a state of one block, and the size of a block."""
    return K * (K + 1) // 2 + K * (D - K)


# ----------------------------------------------------------- derivatives by C, to row i of a matrix


@inner
def scatter_fields(work: Any, rate: float, i: int, k: int, K: int, D: int, J: Any) -> None:
    """Add the derivatives by C_ka and C_aa."""
    place, by_k, by_a = work.place, work.by_k, work.by_a
    for a in range(D):
        J[i, place[k, a]] += rate * by_k[a]
    for a in range(K):
        J[i, place[a, a]] += rate * by_a[a]


@inner
def scatter_heads(
    work: Any, p: Any, head: Any, rate: float, i: int, k: int, K: int, D: int, start: int, J: Any
) -> None:
    """Add the derivatives of A_kb by the heads, which begin at `start`, through cbar_ka."""
    by_c, c = work.by_c, work.c
    for s in range(p.shape[0]):
        first, weight, total = start + head[s] * K, rate * p[s], 0.0
        for a in range(D):
            total += by_c[a] * c[s, a]
        J[i, first + k] += weight * total
        for a in range(K):
            J[i, first + a] += weight * c[s, k] * by_c[a]


@inner
def scatter_diffusion(
    work: Any, p: Any, head: Any, rate: float, i: int, k: int, l: int, K: int, D: int, J: Any
) -> None:
    """Add the derivatives of one pair's η² term by C and by the heads."""
    B, c, m, e, place = work.B, work.c, work.m, work.e, work.place
    for a in range(K):
        J[i, place[a, a]] += rate * B[a, a]
        for b in range(a + 1, D):
            J[i, place[a, b]] += 2.0 * rate * B[a, b]
    for s in range(p.shape[0]):
        first, weight = first_head(K, D) + head[s] * K, rate * p[s]
        J[i, first + k] -= weight * c[s, l] * e[s]
        J[i, first + l] -= weight * c[s, k] * e[s]
        for a in range(K):
            J[i, first + a] -= 2.0 * weight * c[s, k] * c[s, l] * m[s, a]


@inner
def scatter_passive(
    work: Any, own: Any, E: Any, rate: float, i: int, first: int, k: int, b: int, K: int, J: Any
) -> None:
    """Add the derivatives of A_kb by the overlaps of b, in the block that begins at `first`."""
    place = work.place
    J[i, first + place[k, b]] += rate * own[k]
    if b < K:
        for a in range(place.shape[1]):
            J[i, first + place[b, a]] += rate * E[k, a]
    else:
        for a in range(K):
            J[i, first + place[a, b]] += rate * E[k, a]


# ------------------------------------------------------------------------------------ one block


@inner
def first_layer(eta_w: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of dQ and dR without the η² term."""
    p, head, start = system.p, system.head, first_head(K, D)
    for k in range(K):
        if system.move[k] == 0.0:
            continue
        for b in range(D):
            # dQ_kk holds A_kk twice.
            rate = eta_w * system.move[k] * (2.0 if b == k else 1.0)
            i = work.place[k, b]
            moments.drive_gradient(system.activation, work, work.C, b, k, D)
            scatter_fields(work, rate, i, k, K, D, J)
            scatter_heads(work, p, head, rate, i, k, K, D, start, J)
            scatter_passive(work, work.own, work.E, rate, i, 0, k, b, K, J)


@inner
def diffusion(eta_w: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of the η² term."""
    move, p = system.move, system.p
    for k in range(K):
        for l in range(k, K):
            rate = eta_w * eta_w * system.inverse_batch * move[k] * move[l]
            if rate == 0.0:
                continue
            moments.diffusion_gradient(system.activation, work, p, system.sigma, k, l, D)
            i = work.place[k, l]
            scatter_diffusion(work, p, system.head, rate, i, k, l, K, D, J)


@inner
def fill_second_gradient(activation: int, work: Any, s: int, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a c_a I2(k, a) of task s."""
    for a in range(D):
        work.row[a] = work.c[s, a]
    moments.second_gradient(activation, work, k, D)


@inner
def scatter_forces(
    work: Any, system: Any, rate: float, s: int, k: int, K: int, start: int, J: Any
) -> None:
    """Add the derivatives of dv_k of task s by its head, which C does not carry."""
    head = start + system.head[s] * K
    i = head + k
    J[i, i] -= rate * system.kappa_v
    for a in range(K):
        J[i, head + a] -= rate * work.I2[k, a]
    for j in range(system.F_v.shape[0]):
        if system.v_head[j] == system.head[s]:
            J[i, i] -= rate * system.F_v[j, k]


@inner
def second_layer(eta_v: float, system: Any, K: int, D: int, work: Any, J: Any) -> None:
    """Add the derivatives of dv, after `moments.second`."""
    start = first_head(K, D)
    for s in range(system.p.shape[0]):
        rate = eta_v * system.p[s]
        for k in range(K):
            fill_second_gradient(system.activation, work, s, k, D)
            scatter_fields(work, rate, start + system.head[s] * K + k, k, K, D, J)
            scatter_forces(work, system, rate, s, k, K, start, J)


# ---------------------------------------------------------------------------------------- penalties


@inner
def decay(rate: float, move: Any, K: int, P: int, i: int, J: Any) -> None:
    """Add the derivatives of the first layer's weight decay, in the block that begins at i."""
    for k in range(K):
        for l in range(k, K):
            J[i, i] -= rate * (move[k] + move[l])
            i += 1
    for k in range(K):
        for _ in range(P):
            J[i, i] -= rate * move[k]
            i += 1


@inner
def consolidation(eta_w: float, F: Any, system: Any, K: int, P: int, first: int, J: Any) -> None:
    """Add the derivatives of every consolidation in force, in the block that begins at `first`."""
    anchor, move = system.anchor, system.move
    R = first + K * (K + 1) // 2
    for j in range(anchor.shape[0]):
        i = first
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
def fill(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, J: Any) -> None:
    """`jacobian`, to be called by kernels."""
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
        decay(eta_w * system.kappa_w, system.move, K, P, 0, J)
        consolidation(eta_w, system.F, system, K, P, 0, J)
    if eta_v != 0.0:
        moments.second(system.activation, work, K, D)
        second_layer(eta_v, system, K, D, work, J)


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
    fill(y, eta_w, eta_v, system, work, J)


# --------------------------------------------------------------------------------- groups of inputs


@inner
def spread(rate: float, inputs: Any, v: int, i: int, K: int, D: int, work: Any, J: Any) -> None:
    """Add derivatives by C and the heads, in `z`, as those by every group's overlaps."""
    z, size, Q, G = work.of_groups.z, first_head(K, D), K * (K + 1) // 2, inputs.share.shape[0]
    for g in range(G):
        ss, st = rate * inputs.share[g] * inputs.ss[v, g], rate * inputs.share[g] * inputs.st[v, g]
        for j in range(Q):
            J[i, g * size + j] += ss * z[0, j]
        for j in range(Q, size):
            J[i, g * size + j] += st * z[0, j]
    for j in range(size, z.shape[1]):
        J[i, (G - 1) * size + j] += rate * z[0, j]


@inner
def fill_passive(inputs: Any, v: int, g: int, b: int, K: int, D: int, work: Any) -> None:
    """Write the overlaps of b in a group as the drive takes them."""
    for a in range(D):
        seen = inputs.ss[v, g] if a < K else inputs.st[v, g]
        work.of_groups.x[0, a] = seen * work.of_groups.G[g, b, a]


@inner
def first_layer_of_group(
    eta: float, p: Any, system: Any, v: int, g: int, K: int, D: int, work: Any, J: Any
) -> None:
    """Add the derivatives of dQ and dR of one group without the η² term."""
    inputs, size = system.inputs, first_head(K, D)
    weigh_pairs(inputs, v, g, K, D, work)
    for k in range(K):
        if system.move[k] == 0.0:
            continue
        for b in range(D):
            rate = eta * system.move[k] * (2.0 if b == k else 1.0)
            i = g * size + work.place[k, b]
            fill_passive(inputs, v, g, b, K, D, work)
            moments.drive_gradient(system.activation, work, work.of_groups.x, 0, k, D)
            work.of_groups.z[:] = 0.0
            scatter_fields(work, 1.0, 0, k, K, D, work.of_groups.z)
            scatter_heads(work, p, system.head, 1.0, 0, k, K, D, size, work.of_groups.z)
            spread(rate, inputs, v, i, K, D, work, J)
            scatter_passive(
                work, work.of_groups.own, work.of_groups.E, rate, i, g * size, k, b, K, J
            )


@inner
def diffusion_of_groups(
    eta_w: float, p: Any, system: Any, v: int, K: int, D: int, work: Any, J: Any
) -> None:
    """Add the derivatives of the η² term in every group."""
    move, inputs = system.move, system.inputs
    for k in range(K):
        for l in range(k, K):
            pair = eta_w * eta_w * system.inverse_batch * move[k] * move[l]
            if pair == 0.0:
                continue
            moments.diffusion_gradient(system.activation, work, p, system.sigma, k, l, D)
            work.of_groups.z[:] = 0.0
            scatter_diffusion(work, p, system.head, 1.0, 0, k, l, K, D, work.of_groups.z)
            for g in range(inputs.share.shape[0]):
                rate = pair * inputs.pace[g] * inputs.pace[g] * inputs.ss[v, g]
                i = g * first_head(K, D) + work.place[k, l]
                spread(rate, inputs, v, i, K, D, work, J)


@inner
def second_layer_of_groups(
    eta_v: float, p: Any, system: Any, v: int, K: int, D: int, work: Any, J: Any
) -> None:
    """Add the derivatives of dv of the tasks of one law, after `moments.second`."""
    start = system.inputs.share.shape[0] * first_head(K, D)
    for s in range(p.shape[0]):
        rate = eta_v * p[s]
        for k in range(K if rate != 0.0 else 0):
            fill_second_gradient(system.activation, work, s, k, D)
            work.of_groups.z[:] = 0.0
            scatter_fields(work, 1.0, 0, k, K, D, work.of_groups.z)
            i = start + system.head[s] * K + k
            spread(rate, system.inputs, v, i, K, D, work, J)
            scatter_forces(work, system, rate, s, k, K, start, J)


@inner
def fill_with_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, J: Any) -> None:
    """`jacobian_of_groups`, to be called by kernels."""
    K, P, inputs = system.move.shape[0], system.T.shape[1], system.inputs
    D, G = K + P, inputs.share.shape[0]
    fill_groups(y, system.T, K, P, work)
    fill_readouts(y, system, K, P, G, work)
    J[:] = 0.0
    for v in range(inputs.ss.shape[0]):
        if not enter_law(system, v, K, D, work):
            continue
        p = work.of_groups.p[: system.p.shape[0]]
        if eta_w != 0.0:
            fill_averages(p, K, D, work)
            moments.drive(system.activation, work, K, D)
            for g in range(G):
                first_layer_of_group(eta_w * inputs.pace[g], p, system, v, g, K, D, work, J)
            if system.inverse_batch != 0.0:
                diffusion_of_groups(eta_w, p, system, v, K, D, work, J)
        if eta_v != 0.0:
            moments.second(system.activation, work, K, D)
            second_layer_of_groups(eta_v, p, system, v, K, D, work, J)
    for g in range(G if eta_w != 0.0 else 0):
        eta, first = eta_w * inputs.pace[g], g * first_head(K, D)
        decay(eta * system.kappa_w, system.move, K, P, first, J)
        consolidation(eta, system.F[g::G], system, K, P, first, J)


@kernel(_nrt=False)
def jacobian_of_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, J: Any) -> None:
    """`jacobian` of `groups.rhs`: derivatives by C once for each law, then by every group."""
    fill_with_groups(y, eta_w, eta_v, system, work, J)
