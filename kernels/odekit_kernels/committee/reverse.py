"""One reverse pass of the right-hand side: Jᵀw, and wᵀ∂f/∂θ of every number θ of a phase.

First `prepare` at a state, then `pull` for as many w as there are. The derivatives by the entries
of C and by the coefficients c = (−v, u) are gathered first; those by the state, T and u are parts
of them. Nothing is divided by a learning rate: at η = 0 the derivative by η is there too.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations import ERF
from odekit_kernels.committee.pairs import drive_pair, second_pair, slope_pair
from odekit_kernels.committee.tape import fill_C, first_head
from odekit_kernels.integrators.spectrum import spectrum

__all__ = ["prepare", "pull", "pull_error", "radius"]

TWO_OVER_PI = 2.0 / math.pi


# ----------------------------------------------------------------------------------------- forward


@kernel(_nrt=False)
def prepare(y: Any, system: Any, tape: Any) -> None:
    """Fill C, c, their averages, and A with what it is made of.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State: Q's upper triangle, R, heads.
    system : Committee
        What is constant in the phase.
    tape : Tape
    """
    K, P, S = system.move.shape[0], system.T.shape[0], system.p.shape[0]
    C, c, mean, pair, A = tape.C, tape.c, tape.mean, tape.pair, tape.A
    fill_C(y, system.T, K, P, C)
    for s in range(S):
        head = first_head(K, P) + system.head[s] * K
        for k in range(K):
            c[s, k] = -y[head + k]
        for n in range(P):
            c[s, K + n] = system.u[s, n]
    for k in range(K):
        tape.share[k] = 0.0
        for a in range(K + P):
            mean[k, a] = 0.0
            for s in range(S):
                mean[k, a] -= system.p[s] * c[s, k] * c[s, a]
            drive_pair(system.activation, C[k, k], C[a, a], C[k, a], pair[k, a])
            tape.share[k] += mean[k, a] * pair[k, a, 1]
        for b in range(K + P):
            A[k, b] = tape.share[k] * C[k, b]
            for a in range(K + P):
                A[k, b] += mean[k, a] * pair[k, a, 0] * C[a, b]


# ---------------------------------------------------------------------------------------- backward


@inner
def pull_drive(tape: Any, K: int, D: int) -> None:
    """From Ā, with the learning rate in it, to C̄ and the derivatives by the averages."""
    C, C_bar, A_bar, pair, mean = tape.C, tape.C_bar, tape.A_bar, tape.pair, tape.mean
    for k in range(K):
        through, any_of_them = 0.0, False
        for b in range(D):
            if A_bar[k, b] != 0.0:
                any_of_them = True
                through += A_bar[k, b] * C[k, b]
                C_bar[k, b] += tape.share[k] * A_bar[k, b]
        for a in range(D):
            tape.mean_bar[k, a] = 0.0
            if not any_of_them:
                continue
            weight, own = mean[k, a] * pair[k, a, 0], 0.0
            for b in range(D):
                own += A_bar[k, b] * C[a, b]
                C_bar[a, b] += weight * A_bar[k, b]
            tape.mean_bar[k, a] = own * pair[k, a, 0] + through * pair[k, a, 1]
            C_bar[k, k] += mean[k, a] * (own * pair[k, a, 2] + through * pair[k, a, 5])
            C_bar[a, a] += mean[k, a] * (own * pair[k, a, 3] + through * pair[k, a, 6])
            C_bar[k, a] += mean[k, a] * (own * pair[k, a, 4] + through * pair[k, a, 7])


@inner
def pull_averages(q: int, system: Any, tape: Any, K: int, D: int, by: Any) -> None:
    """From the derivatives by the averages over tasks to those by p and c."""
    c, c_bar, mean_bar = tape.c, tape.c_bar, tape.mean_bar
    for s in range(system.p.shape[0]):
        for k in range(K):
            for a in range(D):
                by.p[q, s] -= mean_bar[k, a] * c[s, k] * c[s, a]
                c_bar[s, k] -= system.p[s] * mean_bar[k, a] * c[s, a]
                c_bar[s, a] -= system.p[s] * mean_bar[k, a] * c[s, k]


@inner
def fill_products(system: Any, tape: Any, k: int, l: int, D: int) -> float:
    """Fill M = Σ_s p_s v_k v_l c_s c_sᵀ, and return Σ_s p_s v_k v_l σ_s²."""
    c, noise = tape.c, 0.0
    for a in range(D):
        for b in range(D):
            tape.M[a, b] = 0.0
    for s in range(system.p.shape[0]):
        share = system.p[s] * c[s, k] * c[s, l]
        noise += share * system.sigma[s] * system.sigma[s]
        for a in range(D):
            for b in range(D):
                tape.M[a, b] += share * c[s, a] * c[s, b]
    return noise


@inner
def pull_tilted(tape: Any, k: int, l: int, g: float, D: int) -> float:
    """Σ_ab M_ab Ĩ2(a, b) of erf; adds g times its derivatives to C̄, and leaves Ĩ2 in M."""
    C, C_bar, M, G, tilt = tape.C, tape.C_bar, tape.M, tape.G, tape.tilt
    rest = 1.0 / ((1.0 + C[k, k]) + (C[l, l] + (C[k, k] * C[l, l] - C[k, l] * C[k, l])))
    kk, ll, kl = (1.0 + C[l, l]) * rest, (1.0 + C[k, k]) * rest, -C[k, l] * rest
    for a in range(D):
        x, y = C[a, k], C[a, l]
        tilt[a, 1], tilt[a, 2] = kk * x + kl * y, kl * x + ll * y
        tilt[a, 0] = 1.0 / math.sqrt(1.0 + C[a, a] - tilt[a, 1] * x - tilt[a, 2] * y)
    whole = 0.0
    for a in range(D):
        sums = 0.0
        for b in range(D):
            n = tilt[a, 0] * tilt[b, 0]
            r = (C[a, b] - tilt[a, 1] * C[b, k] - tilt[a, 2] * C[b, l]) * n
            r = min(max(r, -1.0), 1.0)
            value = TWO_OVER_PI * math.asin(r)
            f = g * TWO_OVER_PI * M[a, b] / math.sqrt(max((1.0 - r) * (1.0 + r), 1e-16))
            whole += M[a, b] * value
            sums += f * r
            G[a, b] = f * n
            M[a, b] = value
        G[a, a] -= sums * tilt[a, 0] * tilt[a, 0]
    pp, pq, qq = 0.0, 0.0, 0.0
    for a in range(D):
        tilt[a, 3], tilt[a, 4] = 0.0, 0.0
        for b in range(D):
            C_bar[a, b] += G[a, b]
            tilt[a, 3] += G[a, b] * tilt[b, 1]
            tilt[a, 4] += G[a, b] * tilt[b, 2]
        pp += tilt[a, 3] * tilt[a, 1]
        pq += tilt[a, 3] * tilt[a, 2]
        qq += tilt[a, 4] * tilt[a, 2]
    for a in range(D):
        C_bar[a, k] -= 2.0 * tilt[a, 3]
        C_bar[a, l] -= 2.0 * tilt[a, 4]
    C_bar[k, k] += pp
    C_bar[l, l] += qq
    C_bar[k, l] += 2.0 * pq
    return whole


@inner
def pull_plain(tape: Any, g: float, D: int) -> float:
    """The same of linear units: Σ_ab M_ab C_ab."""
    C, C_bar, M, whole = tape.C, tape.C_bar, tape.M, 0.0
    for a in range(D):
        for b in range(D):
            whole += M[a, b] * C[a, b]
            C_bar[a, b] += g * M[a, b]
            M[a, b] = C[a, b]
    return whole


@inner
def pull_power(q: int, system: Any, tape: Any, k: int, l: int, g: float, D: int, by: Any) -> float:
    """The η² term of one pair over η²/b; adds g times its derivatives."""
    c, c_bar, C, C_bar, M, out = tape.c, tape.c_bar, tape.C, tape.C_bar, tape.M, tape.out
    noise = fill_products(system, tape, k, l, D)
    slope_pair(system.activation, C[k, k], C[l, l], C[k, l], out)
    J2, by_k, by_l, by_kl = out[0], out[1], out[2], out[3]
    if system.activation == ERF:
        form = pull_tilted(tape, k, l, g * J2, D)
    else:
        form = pull_plain(tape, g * J2, D)
    whole = form + noise
    C_bar[k, k] += g * whole * by_k
    C_bar[l, l] += g * whole * by_l
    C_bar[k, l] += g * whole * by_kl
    for s in range(system.p.shape[0]):
        p, sigma = system.p[s], system.sigma[s]
        power, share = sigma * sigma, g * J2 * p * c[s, k] * c[s, l]
        for a in range(D):
            sums = 0.0
            for b in range(D):
                sums += M[a, b] * c[s, b]
            power += c[s, a] * sums
            c_bar[s, a] += 2.0 * share * sums
        by.p[q, s] += g * J2 * c[s, k] * c[s, l] * power
        by.sigma[q, s] += 2.0 * share * sigma
        c_bar[s, k] += g * J2 * p * c[s, l] * power
        c_bar[s, l] += g * J2 * p * c[s, k] * power
    return J2 * whole


@inner
def pull_diffusion(q: int, eta_w: float, system: Any, tape: Any, w: Any, by: Any) -> None:
    """The η² terms of dQ."""
    K, D, i = system.move.shape[0], tape.C.shape[0], 0
    for k in range(K):
        for l in range(k, K):
            g = w[i] * system.inverse_batch * system.move[k] * system.move[l]
            if g != 0.0:
                power = pull_power(q, system, tape, k, l, g * eta_w * eta_w, D, by)
                by.eta[q, 0] += 2.0 * eta_w * g * power
            i += 1


@inner
def pull_decay(q: int, eta_w: float, system: Any, y: Any, w: Any, by: Any) -> None:
    """Weight decay of the first layer."""
    K, P, i, total = system.move.shape[0], system.T.shape[0], 0, 0.0
    for k in range(K):
        for l in range(k, K):
            share = (system.move[k] + system.move[l]) * w[i]
            by.y[q, i] -= eta_w * system.kappa_w * share
            total += share * y[i]
            i += 1
    for k in range(K):
        for _ in range(P):
            by.y[q, i] -= eta_w * system.kappa_w * system.move[k] * w[i]
            total += system.move[k] * w[i] * y[i]
            i += 1
    by.kappa[q, 0] -= eta_w * total
    by.eta[q, 0] -= system.kappa_w * total


@inner
def pull_towards(
    q: int, eta_w: float, system: Any, tape: Any, j: int, k: int, x: Any, w: float, by: Any
) -> None:
    """A term −η_w F_k (C_x0,x1 − C_x2,x3) of one output, whose weight is w."""
    C, C_bar = tape.C, tape.C_bar
    rate = system.move[k] * w
    distance = C[x[0], x[1]] - C[x[2], x[3]]
    by.eta[q, 0] -= rate * system.F[j, k] * distance
    by.F[q, j, k] -= eta_w * rate * distance
    C_bar[x[0], x[1]] -= eta_w * rate * system.F[j, k]
    C_bar[x[2], x[3]] += eta_w * rate * system.F[j, k]


@inner
def pull_consolidation(q: int, eta_w: float, system: Any, tape: Any, w: Any, by: Any) -> None:
    """The pull of every consolidation towards its anchors."""
    K, P, anchor = system.move.shape[0], system.T.shape[0], system.anchor
    for j in range(system.F.shape[0]):
        i = 0
        for k in range(K):
            for l in range(k, K):
                a, b = K + anchor[j, k], K + anchor[j, l]
                pull_towards(q, eta_w, system, tape, j, k, (k, l, l, a), w[i], by)
                pull_towards(q, eta_w, system, tape, j, l, (k, l, k, b), w[i], by)
                i += 1
        for k in range(K):
            for n in range(P):
                x = (k, K + n, K + anchor[j, k], K + n)
                pull_towards(q, eta_w, system, tape, j, k, x, w[i], by)
                i += 1


@inner
def pull_second(q: int, eta_v: float, system: Any, tape: Any, y: Any, w: Any, by: Any) -> None:
    """The second layer."""
    K, P = system.move.shape[0], system.T.shape[0]
    C, C_bar, c, out = tape.C, tape.C_bar, tape.c, tape.out
    for s in range(system.p.shape[0]):
        head = first_head(K, P) + system.head[s] * K
        for k in range(K):
            if w[head + k] == 0.0:
                continue
            g = eta_v * system.p[s] * w[head + k]
            force = -system.kappa_v * y[head + k]
            by.kappa[q, 1] -= g * y[head + k]
            by.y[q, head + k] -= g * system.kappa_v
            for a in range(K + P):
                second_pair(system.activation, C[k, k], C[a, a], C[k, a], out)
                force += c[s, a] * out[0]
                tape.c_bar[s, a] += g * out[0]
                C_bar[k, k] += g * c[s, a] * out[1]
                C_bar[a, a] += g * c[s, a] * out[2]
                C_bar[k, a] += g * c[s, a] * out[3]
            for j in range(system.F_v.shape[0]):
                if system.v_head[j] == system.head[s]:
                    distance = y[head + k] - system.v_anchor[j, k]
                    force -= system.F_v[j, k] * distance
                    by.F_v[q, j, k] -= g * distance
                    by.v_anchor[q, j, k] += g * system.F_v[j, k]
                    by.y[q, head + k] -= g * system.F_v[j, k]
            by.eta[q, 1] += system.p[s] * force * w[head + k]
            by.p[q, s] += eta_v * force * w[head + k]


@inner
def gather(q: int, C_bar: Any, K: int, P: int, by: Any) -> None:
    """From C̄ to the derivatives by Q, R and T."""
    i = 0
    for k in range(K):
        for l in range(k, K):
            by.y[q, i] += C_bar[k, l] if k == l else C_bar[k, l] + C_bar[l, k]
            i += 1
    for k in range(K):
        for n in range(P):
            by.y[q, i] += C_bar[k, K + n] + C_bar[K + n, k]
            i += 1
    for n in range(P):
        for m in range(P):
            by.T[q, n, m] += C_bar[K + n, K + m]


@inner
def fill_A_bar(eta_w: float, system: Any, tape: Any, w: Any) -> float:
    """Fill Ā, the learning rate in it, and return the derivative by that rate."""
    K, P, A_bar, i = system.move.shape[0], system.T.shape[0], tape.A_bar, 0
    A_bar[:] = 0.0
    for k in range(K):
        for l in range(k, K):
            A_bar[k, l] += system.move[k] * w[i]
            A_bar[l, k] += system.move[l] * w[i]
            i += 1
    for k in range(K):
        for n in range(P):
            A_bar[k, K + n] = system.move[k] * w[i]
            i += 1
    total = 0.0
    for k in range(K):
        for b in range(K + P):
            total += A_bar[k, b] * tape.A[k, b]
            A_bar[k, b] *= eta_w
    return total


@kernel(_nrt=False)
def pull(
    q: int, y: Any, eta_w: float, eta_v: float, system: Any, w: Any, watch: Any, tape: Any, by: Any
) -> None:
    """Add Jᵀw and wᵀ∂f/∂θ to entry q of `by`, after `prepare`.

    Parameters
    ----------
    q : int
        Which scalar.
    y : ndarray, shape (n,)
        The state that was prepared.
    eta_w, eta_v : float
        Learning rates of the two layers.
    system : Committee
        What is constant in the phase.
    w : ndarray, shape (n,)
    watch : Watch
        Which tasks those of the phase are.
    tape : Tape
    by : Slopes
    """
    K, P = system.move.shape[0], system.T.shape[0]
    tape.C_bar[:] = 0.0
    tape.c_bar[:] = 0.0
    by.eta[q, 0] += fill_A_bar(eta_w, system, tape, w)
    if eta_w != 0.0:
        pull_drive(tape, K, K + P)
        pull_averages(q, system, tape, K, K + P, by)
        if system.inverse_batch != 0.0:
            pull_diffusion(q, eta_w, system, tape, w, by)
    pull_decay(q, eta_w, system, y, w, by)
    pull_consolidation(q, eta_w, system, tape, w, by)
    pull_second(q, eta_v, system, tape, y, w, by)
    gather(q, tape.C_bar, K, P, by)
    for s in range(system.p.shape[0]):
        head = first_head(K, P) + system.head[s] * K
        for k in range(K):
            by.y[q, head + k] -= tape.c_bar[s, k]
        for n in range(P):
            by.u[q, watch.task[s], n] += tape.c_bar[s, K + n]


@kernel(_nrt=False)
def pull_error(
    q: int, y: Any, system: Any, task: int, weight: float, watch: Any, tape: Any, by: Any
) -> float:
    """Generalization error of a task; adds `weight` times its derivatives by state, T and u.

    Parameters
    ----------
    task : int
        Which of `watch`.
    weight : float
    q, y, system, watch, tape, by
        As in `pull`; nothing need be prepared.
    """
    K, P = system.move.shape[0], system.T.shape[0]
    C, C_bar, c, out = tape.C, tape.C_bar, tape.row, tape.out
    fill_C(y, system.T, K, P, C)
    C_bar[:] = 0.0
    head, twice = first_head(K, P) + watch.head[task] * K, 0.0
    for k in range(K):
        c[k] = -y[head + k]
    for n in range(P):
        c[K + n] = watch.u[task, n]
    for a in range(K + P):
        by_c = 0.0
        for b in range(K + P):
            second_pair(system.activation, C[a, a], C[b, b], C[a, b], out)
            by_c += c[b] * out[0]
            g = 0.5 * weight * c[a] * c[b]
            C_bar[a, a] += g * out[1]
            C_bar[b, b] += g * out[2]
            C_bar[a, b] += g * out[3]
        twice += c[a] * by_c
        if a < K:
            by.y[q, head + a] -= weight * by_c
        else:
            by.u[q, task, a - K] += weight * by_c
    gather(q, C_bar, K, P, by)
    return 0.5 * twice


@kernel(_nrt=False)
def radius(
    y: Any, eta_w: float, eta_v: float, system: Any, watch: Any, tape: Any, by: Any, flat: Any,
    unit: Any, scratch: Any, three: Any,
) -> float:  # fmt: skip
    """Spectral radius of the Jacobian, with `by` and `flat` for n scalars, the rest scratch."""
    n = y.shape[0]
    prepare(y, system, tape)
    flat[:] = 0.0
    for i in range(n):
        unit[i] = 1.0
        pull(i, y, eta_w, eta_v, system, unit, watch, tape, by)
        unit[i] = 0.0
    size, _ = spectrum(flat[:n, :n], scratch, three)
    return float(size)
