"""Right-hand side, Jacobian and generalisation errors of a committee's order parameters.

The state of one trajectory is flat: Q's upper triangle row by row, R row by row (K × P), then the
heads row by row (H × K). Where there are groups of inputs see `groups`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee import moments
from odekit_kernels.committee.activations import Code
from odekit_kernels.committee.inputs import Inputs
from odekit_kernels.committee.jacobian import jacobian
from odekit_kernels.committee.state import (
    fill_averages,
    fill_coefficients,
    fill_covariance,
    fill_pairs,
    fill_state,
)
from odekit_kernels.committee.work import Work, make_work
from odekit_kernels.simd import WIDTH, load, store

__all__ = [
    "Committee",
    "Inputs",
    "Work",
    "assemble_alone",
    "derivative",
    "errors",
    "fill_state_alone",
    "jacobian",
    "make_work",
    "product",
    "rhs",
    "weigh_alone",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Committee(NamedTuple):
    """One phase of one trajectory; arrays are C-contiguous, of float64 or int64.

    Attributes
    ----------
    activation : Code or int
        One of the codes in `odekit_kernels.committee.activations`; in its own type, kernels hold
        the moments of no other.
    T : ndarray, shape (P, P)
        Overlaps of the fixed vectors; (G P, P), one group below the other, if there are any.
    u : ndarray, shape (S, P)
        Teacher readouts of the S tasks that this phase samples.
    sigma, p : ndarray, shape (S,)
        Standard deviations of their label noise, and their probabilities.
    head : ndarray of int64, shape (S,)
        Head that each task trains and answers with.
    move : ndarray, shape (K,)
        1.0 where the unit's first-layer weights move, 0.0 where they are frozen.
    inverse_batch : float
        1/b; 0.0 is gradient flow, in which the η² term is neither added nor computed.
    kappa_w, kappa_v : float
        Weight decay of the two layers.
    F : ndarray, shape (c, K)
        λ F_k of each of the c consolidations in force; (c G, K), group by group, if there are any.
    anchor : ndarray of int64, shape (c, K)
        Which fixed vectors are the copies a_k.
    F_v, v_anchor : ndarray, shape (c, K)
        Readout penalties λ I2*(k, k) and the values v* they hold.
    v_head : ndarray of int64, shape (c,)
        Head that each readout penalty holds.
    inputs : Inputs or None
        Groups of inputs, if there are any.
    """

    activation: Code | int
    T: Array
    u: Array
    sigma: Array
    p: Array
    head: Indices
    move: Array
    inverse_batch: float
    kappa_w: float
    kappa_v: float
    F: Array
    anchor: Indices
    F_v: Array
    v_anchor: Array
    v_head: Indices
    inputs: Inputs | None = None


# ------------------------------------------------------------------------------------- two layers


@inner
def product(own: Any, E: Any, C: Any, K: int, D: int, A: Any) -> None:
    """Fill A_kb = D_k C_kb + Σ_a E_ka C_ab, for every passive vector b of one block of overlaps."""
    X, L = C.shape[1], A.shape[1]
    for k in range(K):
        for b in range(0, D, WIDTH):
            A_kb = own[k] * load(C, k * X + b)
            for a in range(D):
                A_kb = A_kb + E[k, a] * load(C, a * X + b)
            store(A, k * L + b, A_kb)


@inner
def first_layer(rate: float, move: Any, K: int, P: int, A: Any, dy: Any) -> None:
    """Write dQ and dR of one block without their η² term."""
    i = 0
    for k in range(K):
        for l in range(k, K):
            dy[i] = rate * (move[k] * A[k, l] + move[l] * A[l, k])
            i += 1
    for k in range(K):
        for n in range(P):
            dy[i] = rate * move[k] * A[k, K + n]
            i += 1


@inner
def noise_power(p: Any, sigma: Any, c: Any, k: int, l: int) -> float:
    """Σ_s p_s v_k v_l σ_s²."""
    power = 0.0
    for s in range(p.shape[0]):
        power += p[s] * c[s, k] * c[s, l] * sigma[s] * sigma[s]
    return power


@inner
def add_diffusion(rate: float, p: Any, system: Any, K: int, work: Any, dy: Any) -> None:
    """Add the η² term to dQ of one block; `rate` is η²/b."""
    move, i = system.move, 0
    for k in range(K):
        for l in range(k, K):
            noise = noise_power(p, system.sigma, work.c, k, l)
            dy[i] += rate * move[k] * move[l] * (work.S[k, l] + noise * work.J2[k, l])
            i += 1


@inner
def add_decay(rate: float, move: Any, K: int, P: int, y: Any, dy: Any) -> None:
    """Add weight decay of the first layer to one block."""
    i = 0
    for k in range(K):
        for l in range(k, K):
            dy[i] -= rate * (move[k] + move[l]) * y[i]
            i += 1
    for k in range(K):
        for _ in range(P):
            dy[i] -= rate * move[k] * y[i]
            i += 1


@inner
def add_consolidation(rate: float, F: Any, system: Any, K: int, P: int, C: Any, dy: Any) -> None:
    """Add the pull of every consolidation towards its anchors to one block, of overlaps C."""
    anchor, move = system.anchor, system.move
    for j in range(anchor.shape[0]):
        i = 0
        for k in range(K):
            for l in range(k, K):
                pull_k = move[k] * F[j, k] * (C[k, l] - C[l, K + anchor[j, k]])
                pull_l = move[l] * F[j, l] * (C[k, l] - C[k, K + anchor[j, l]])
                dy[i] -= rate * (pull_k + pull_l)
                i += 1
        for k in range(K):
            for n in range(P):
                distance = C[k, K + n] - C[K + anchor[j, k], K + n]
                dy[i] -= rate * move[k] * F[j, k] * distance
                i += 1


@inner
def second_layer(
    eta_v: float, p: Any, system: Any, K: int, P: int, start: int, y: Any, work: Any, dy: Any
) -> None:
    """Add dv of every head, which begin at `start`, to `dy`, after `moments.second`."""
    c, I2 = work.c, work.I2
    for s in range(p.shape[0]):
        head = start + system.head[s] * K
        for k in range(K):
            force = -system.kappa_v * y[head + k]
            for a in range(K + P):
                force += c[s, a] * I2[k, a]
            for j in range(system.F_v.shape[0]):
                if system.v_head[j] == system.head[s]:
                    force -= system.F_v[j, k] * (y[head + k] - system.v_anchor[j, k])
            dy[head + k] += eta_v * p[s] * force


# --------------------------------------------------------------------------------- right-hand side


@inner
def fill_moments(
    eta_w: float, eta_v: float, p: Any, system: Any, K: int, D: int, work: Any
) -> None:
    """Fill the drive, S and J2, and I2, as far as the two layers need them."""
    if eta_w != 0.0:
        fill_averages(p, K, D, work)
        if system.inverse_batch != 0.0:
            fill_pairs(p.shape[0], D, work)
        moments.drive(system.activation, work, K, D)
        if system.inverse_batch != 0.0:
            moments.diffusion(system.activation, work, p, K, D)
    if eta_v != 0.0:
        moments.second(system.activation, work, K, D)


@inner
def assemble(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """From the moments to dy/dt."""
    K, P = system.move.shape[0], system.T.shape[0]
    start = K * (K + 1) // 2 + K * P
    for i in range(0 if eta_w == 0.0 else start, dy.shape[0]):
        dy[i] = 0.0
    if eta_w != 0.0:
        product(work.own, work.E, work.C, K, K + P, work.A)
        first_layer(eta_w, system.move, K, P, work.A, dy)
        if system.inverse_batch != 0.0:
            add_diffusion(eta_w * eta_w * system.inverse_batch, system.p, system, K, work, dy)
        if system.kappa_w != 0.0:
            add_decay(eta_w * system.kappa_w, system.move, K, P, y, dy)
        add_consolidation(eta_w, system.F, system, K, P, work.C, dy)
    if eta_v != 0.0:
        second_layer(eta_v, system.p, system, K, P, start, y, work, dy)


@inner
def derivative(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs`, to be called by kernels."""
    K, P = system.move.shape[0], system.T.shape[0]
    fill_state(y, system, K, P, work)
    fill_moments(eta_w, eta_v, system.p, system, K, K + P, work)
    assemble(y, eta_w, eta_v, system, work, dy)


@kernel(_nrt=False)
def rhs(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """Right-hand side of the order parameters' equations, averaged over the tasks of the phase.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State: Q's upper triangle, R, heads.
    eta_w, eta_v : float
        Learning rates of the first and the second layer.
    system : Committee
        What is constant in the phase; its groups of inputs are those of `groups.rhs`.
    work : Work
        Scratch memory, from `make_work`.
    dy : ndarray, shape (n,)
        Receives dy/dt.
    """
    derivative(y, eta_w, eta_v, system, work, dy)


# For moments that no kernel computes: what comes before them, and what comes after.


@kernel(_nrt=False)
def fill_state_alone(y: Any, system: Any, work: Any) -> None:
    """Fill C, c and cbar."""
    K, P = system.move.shape[0], system.T.shape[0]
    fill_state(y, system, K, P, work)
    fill_averages(system.p, K, K + P, work)


@kernel(_nrt=False)
def assemble_alone(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`assemble`, after the drive, S and J2, and I2 were filled."""
    assemble(y, eta_w, eta_v, system, work, dy)


# ------------------------------------------------------------------------------------------ errors


@inner
def weigh(
    y: Any, u: Any, head: Any, s: int, K: int, P: int, blocks: int, work: Any, out: Any
) -> None:
    """From I2 to the error of task s."""
    c, I2, twice = work.row, work.I2, 0.0
    fill_coefficients(y, u, head, s, K, P, blocks, c)
    for a in range(K + P):
        for b in range(K + P):
            twice += c[a] * c[b] * I2[a, b]
    out[s] = 0.5 * twice


@kernel(_nrt=False)
def weigh_alone(y: Any, u: Any, head: Any, work: Any, out: Any) -> None:
    """`weigh` of all tasks, after I2 was filled."""
    for s in range(u.shape[0]):
        weigh(y, u, head, s, work.s.shape[0], u.shape[1], 1, work, out)


@kernel(_nrt=False)
def errors(y: Any, activation: int, T: Any, u: Any, head: Any, work: Any, out: Any) -> None:
    """Noise-free generalisation errors, ε_g = ½ Σ_ab c_a c_b I2(a, b), of any tasks.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State.
    activation : int
        Code of the activation.
    T : ndarray, shape (P, P)
        Overlaps of the fixed vectors.
    u : ndarray, shape (tasks, P)
        Teacher readouts of the tasks.
    head : ndarray of int64, shape (tasks,)
        Head that each answers with.
    work : Work
        Scratch memory for the same K and P; any number of tasks.
    out : ndarray, shape (tasks,)
        Receives the errors.
    """
    K, P = work.s.shape[0], T.shape[0]
    fill_covariance(y, T, K, P, work)
    moments.second(activation, work, K + P, K + P)
    for s in range(u.shape[0]):
        weigh(y, u, head, s, K, P, 1, work, out)
