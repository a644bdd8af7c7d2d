"""One reverse pass of the right-hand side: Jᵀw, and wᵀ∂f/∂θ of every number θ of a phase.

First `prepare` at a state, then `pull` for as many w as there are. The derivatives by the entries
of C and by the coefficients c = (−v, u) are gathered first; those by the state, T and u are parts
of them. Nothing is divided by a learning rate: at η = 0 the derivative by η is there too.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.diffusion import pull_diffusion
from odekit_kernels.committee.pairs import drive_row, second_row
from odekit_kernels.committee.penalties import pull_consolidation, pull_decay
from odekit_kernels.committee.readouts import pull_second
from odekit_kernels.committee.tape import fill_C, first_head
from odekit_kernels.integrators.spectrum import radius_beyond
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = ["prepare", "pull", "pull_error", "radius"]


# ----------------------------------------------------------------------------------------- forward


@kernel(forceinline=True, _nrt=False)
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
    c = tape.c
    fill_C(y, system.T, K, P, tape.C, tape.diag)
    for s in range(S):
        head = first_head(K, P) + system.head[s] * K
        for k in range(K):
            c[s, k] = -y[head + k]
        for n in range(P):
            c[s, K + n] = system.u[s, n]
    for k in range(K):
        drive_row(system.activation, tape, k, K + P)
        tape.share[k] = fill_mean(system.p, tape, k, K + P)
        fill_drive(tape, k, K + P)


@inner
def fill_mean(p: Any, tape: Any, k: int, D: int) -> float:
    """Fill the averages over tasks of one unit, and return Σ_a mean_ka h_ka."""
    c, L, share = tape.c, tape.c.shape[1], splat(0.0)
    for a in range(0, D, WIDTH):
        mean = splat(0.0)
        for s in range(p.shape[0]):
            mean = mean - (p[s] * c[s, k]) * load(c, s * L + a)
        store(tape.mean, k * L + a, mean)
        share = share + mean * load(tape.pair, (8 * k + 1) * L + a)
    return total(share)


@inner
def fill_drive(tape: Any, k: int, D: int) -> None:
    """Fill one row of A."""
    C, L = tape.C, tape.C.shape[1]
    for b in range(0, D, WIDTH):
        sums = tape.share[k] * load(C, k * L + b)
        for a in range(D):
            sums = sums + (tape.mean[k, a] * tape.pair[k, 0, a]) * load(C, a * L + b)
        store(tape.A, k * L + b, sums)


# ---------------------------------------------------------------------------------------- backward


@inner
def pull_drive(tape: Any, K: int, D: int) -> None:
    """From Ā, with the learning rate in it, to C̄ and the derivatives by the averages."""
    C_bar, A_bar, L = tape.C_bar, tape.A_bar, tape.C.shape[1]
    for k in range(K):
        through, any_of_them, row = splat(0.0), False, k * L
        for b in range(D):
            any_of_them = any_of_them or A_bar[k, b] != 0.0
        if not any_of_them:
            tape.mean_bar[k] = 0.0
            continue
        for b in range(0, D, WIDTH):
            through = through + load(A_bar, row + b) * load(tape.C, row + b)
            own = load(C_bar, row + b) + tape.share[k] * load(A_bar, row + b)
            store(C_bar, row + b, own)
        by_k = pull_pairs(tape, k, total(through), D)  # adds to C_kk, too
        C_bar[k, k] += by_k
        for a in range(D):
            weight = tape.mean[k, a] * tape.pair[k, 0, a]
            for b in range(0, D, WIDTH):
                at = a * L + b
                store(C_bar, at, load(C_bar, at) + weight * load(A_bar, row + b))


@inner
def pull_pairs(tape: Any, k: int, through: float, D: int) -> float:
    """Derivatives of the drive of one unit by what its pairs are made of; returns that by C_kk."""
    C, C_bar, A_bar, pair, diag_bar = tape.C, tape.C_bar, tape.A_bar, tape.pair, tape.diag_bar
    L, by_k = C.shape[1], splat(0.0)
    first, row = k * 8 * L, k * L
    for a in range(0, D, WIDTH):
        own, at = splat(0.0), first + a
        for b in range(D):
            own = own + A_bar[k, b] * load(C, b * L + a)
        mean = load(tape.mean, row + a)
        store(tape.mean_bar, row + a, own * load(pair, at) + through * load(pair, at + L))
        x = own * load(pair, at + 2 * L) + through * load(pair, at + 5 * L)
        y = own * load(pair, at + 3 * L) + through * load(pair, at + 6 * L)
        z = own * load(pair, at + 4 * L) + through * load(pair, at + 7 * L)
        by_k = by_k + mean * x
        store(diag_bar, a, load(diag_bar, a) + mean * y)
        store(C_bar, row + a, load(C_bar, row + a) + mean * z)
    return total(by_k)


@inner
def pull_averages(q: int, system: Any, tape: Any, K: int, D: int, by: Any) -> None:
    """From the derivatives by the averages over tasks to those by p and c."""
    c, c_bar, mean_bar, L = tape.c, tape.c_bar, tape.mean_bar, tape.c.shape[1]
    for s in range(system.p.shape[0]):
        for k in range(K):
            sums, share = splat(0.0), system.p[s] * c[s, k]
            for a in range(0, D, WIDTH):
                row, at = load(mean_bar, k * L + a), s * L + a
                sums = sums + row * load(c, at)
                store(c_bar, at, load(c_bar, at) - share * row)
            by.p[q, s] -= c[s, k] * total(sums)
            c_bar[s, k] -= system.p[s] * total(sums)


@inner
def gather(q: int, tape: Any, K: int, P: int, by: Any) -> None:
    """From C̄ to the derivatives by Q, R and T."""
    C_bar, i = tape.C_bar, 0
    for a in range(K + P):
        C_bar[a, a] += tape.diag_bar[a]
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


@kernel(forceinline=True, _nrt=False)
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
    tape.diag_bar[:] = 0.0
    tape.c_bar[:] = 0.0
    by.eta[q, 0] += fill_A_bar(eta_w, system, tape, w)
    if eta_w != 0.0:
        pull_drive(tape, K, K + P)
        pull_averages(q, system, tape, K, K + P, by)
        if system.inverse_batch != 0.0:
            pull_diffusion(q, eta_w, system, tape, w, K + P, by)
    pull_decay(q, eta_w, system, y, w, by)
    pull_consolidation(q, eta_w, system, tape, w, by)
    pull_second(q, eta_v, system, tape, y, w, by)
    gather(q, tape, K, P, by)
    for s in range(system.p.shape[0]):
        head = first_head(K, P) + system.head[s] * K
        for k in range(K):
            by.y[q, head + k] -= tape.c_bar[s, k]
        for n in range(P):
            by.u[q, watch.task[s], n] += tape.c_bar[s, K + n]


@kernel(forceinline=True, _nrt=False)
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
    c, twice = tape.row, 0.0
    fill_C(y, system.T, K, P, tape.C, tape.diag)
    tape.C_bar[:] = 0.0
    tape.diag_bar[:] = 0.0
    head = first_head(K, P) + watch.head[task] * K
    for k in range(K):
        c[k] = -y[head + k]
    for n in range(P):
        c[K + n] = watch.u[task, n]
    for a in range(K + P):
        second_row(system.activation, tape, a, K + P)
        by_c = pull_row(a, 0.5 * weight * c[a], tape, K + P)
        twice += c[a] * by_c
        if a < K:
            by.y[q, head + a] -= weight * by_c
        else:
            by.u[q, task, a - K] += weight * by_c
    gather(q, tape, K, P, by)
    return 0.5 * twice


@inner
def pull_row(a: int, g: float, tape: Any, D: int) -> float:
    """Σ_b c_b I2(a, b); adds g times its derivatives by C, after `second_row`."""
    c, C_bar, second, L = tape.row, tape.C_bar, tape.second, tape.C.shape[1]
    by_c, by_a = splat(0.0), splat(0.0)
    for b in range(0, D, WIDTH):
        own, at = load(c, b), a * L + b
        by_c = by_c + own * load(second, b)
        by_a = by_a + own * load(second, L + b)
        store(tape.diag_bar, b, load(tape.diag_bar, b) + g * own * load(second, 2 * L + b))
        store(C_bar, at, load(C_bar, at) + g * own * load(second, 3 * L + b))
    C_bar[a, a] += g * total(by_a)
    return total(by_c)


@kernel(forceinline=True, _nrt=False)
def radius(
    y: Any, eta_w: float, eta_v: float, enough: float, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    """Spectral radius of the Jacobian, see `radius_beyond`; `by` and `flat` are for n scalars."""
    n = y.shape[0]
    prepare(y, system, tape)
    flat[:] = 0.0
    for i in range(n):
        unit[i] = 1.0
        pull(i, y, eta_w, eta_v, system, unit, watch, tape, by)
        unit[i] = 0.0
    return radius_beyond(flat[:n, :n], enough, scratch, three)
