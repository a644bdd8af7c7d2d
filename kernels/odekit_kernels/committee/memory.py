"""Sizes of a committee, where each block lies in a group's memory, and the constants of a phase."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.committee.one import Committee
from odekit_kernels.committee.work import inner
from odekit_kernels.lanes.memory import lay_out, machinery

__all__ = ["First", "Plan", "Wiring", "committee_of", "constants", "decode", "make_plan"]

Indices = NDArray[np.int64]


class Plan(NamedTuple):
    """Sizes, and the first index of each block, row-major, in a group's memory.

    Attributes
    ----------
    activation : int
        One of the codes in `odekit_kernels.committee.activations`.
    online : int
        1 if the η² term is there, 0 in gradient flow.
    K, P, D, H, S, c, W, n : int
        Units, fixed vectors, their sum, heads, tasks of the phase, consolidations in force, watched
        tasks, size of the state.
    y, new, trial : int
        (n,) State before a step, after it, and at a stage of it.
    weights : int
        (stages + 1,) Weights of the stages at a point inside the step.
    k : int
        (stages + 1, n) Derivatives at the stages; the first is that at y, the last that at `new`.
    C, coef, cbar, s, t, A : int
        (D, D), (S, D), (K, D)…: as in `work`.
    d, p, q : int
        (D,) The tilt of one pair of units: 1/√(1 + C̃_aa), and C̃ = C − x pᵀ − y qᵀ.
    row : int
        (max(S, W),) Sums over one row of pairs, by task.
    prob, sigma, inverse_batch, kappa_w, kappa_v, eta_w, eta_v : int
        Numbers of the phase, per trajectory: (S,), (S,) and single ones.
    F, F_v, v_anchor : int
        (c, K) Consolidations.
    watched, level, error : int
        (W, D), (W,), (W,) Coefficients of the watched tasks, thresholds, errors.
    time, begin, end, wish, mark : int
        The numbers of `batch.Batch`, in their order.
    bound, h, after : int
        Time not to step over; length of the step, and where it ends once accepted.
    norm, large, ratio, lean, accepted, unit, theta, low, high, at_low, at_high : int
        Of the step just tried: see `explicit` and `events`.
    size : int
        Values of the whole memory.
    """

    activation: int
    online: int
    K: int
    P: int
    D: int
    H: int
    S: int
    c: int
    W: int
    n: int
    y: int
    new: int
    trial: int
    weights: int
    k: int
    C: int
    coef: int
    cbar: int
    s: int
    t: int
    A: int
    d: int
    p: int
    q: int
    row: int
    prob: int
    sigma: int
    inverse_batch: int
    kappa_w: int
    kappa_v: int
    eta_w: int
    eta_v: int
    F: int
    F_v: int
    v_anchor: int
    watched: int
    level: int
    error: int
    time: int
    begin: int
    end: int
    wish: int
    mark: int
    bound: int
    h: int
    after: int
    norm: int
    large: int
    ratio: int
    lean: int
    accepted: int
    unit: int
    theta: int
    low: int
    high: int
    at_low: int
    at_high: int
    size: int


class First(NamedTuple):
    """First index of each constant of a phase in a row; their names and order are this class.

    T (P, P), u (S, P), p, sigma (S,), inverse_batch, kappa_w, kappa_v, eta_w, eta_v: as in
    `one.Committee`, with the learning rates as the phase begins; F, F_v, v_anchor (c, K); readouts
    of the watched tasks, watched (W, P), and their levels, level (W,).
    """

    T: int
    u: int
    p: int
    sigma: int
    inverse_batch: int
    kappa_w: int
    kappa_v: int
    eta_w: int
    eta_v: int
    F: int
    F_v: int
    v_anchor: int
    watched: int
    level: int


class Wiring(NamedTuple):
    """What all trajectories of a batch share; arrays are C-contiguous.

    Attributes
    ----------
    head : ndarray of int64, shape (S,)
        Head that each task of the phase trains and answers with.
    move : ndarray, shape (K,)
        1.0 where the unit's first-layer weights move, 0.0 where they are frozen.
    anchor : ndarray of int64, shape (c, K)
        Which fixed vectors are the copies a_k of each consolidation.
    v_head : ndarray of int64, shape (c,)
        Head that its readout penalty holds.
    watched_head : ndarray of int64, shape (W,)
        Head that each watched task answers with.
    first : First
        Where each constant begins in a row of `batch.Batch.constants`.
    """

    head: NDArray[np.int64]
    move: NDArray[np.float64]
    anchor: NDArray[np.int64]
    v_head: NDArray[np.int64]
    watched_head: NDArray[np.int64]
    first: First


def make_plan(
    K: int, P: int, H: int, S: int, c: int, W: int, activation: int, online: bool, stages: int
) -> Plan:
    """Lay out the memory of a group.

    Parameters
    ----------
    K, P, H, S, c, W, activation, online : int
        As in `Plan`.
    stages : int
        Stages of the integrator.
    """
    D, n = K + P, K * (K + 1) // 2 + K * P + H * K
    sizes = {
        **machinery(n, W, stages),
        "C": D * D,
        "coef": S * D,
        "cbar": K * D,
        "s": K * D,
        "t": K * D,
        "A": K * D,
        "d": D,
        "p": D,
        "q": D,
        "row": max(S, W, 1),
        "prob": S,
        "sigma": S,
        "F": c * K,
        "F_v": c * K,
        "v_anchor": c * K,
        "watched": W * D,
    }
    known = {"activation", "online", "K", "P", "D", "H", "S", "c", "W", "n", "size"}
    return Plan(
        activation=activation, online=int(online), K=K, P=P, D=D, H=H, S=S, c=c, W=W, n=n,
        **lay_out((name for name in Plan._fields if name not in known), sizes),
    )  # fmt: skip


def constants(m: Plan) -> dict[str, Indices]:
    """Every constant of a phase by name, in the order of a row: where it goes in a group's memory.

    The arrays have the shapes of the constants.
    """
    fixed, tasks, watched = np.arange(m.P), np.arange(m.S), np.arange(m.W)
    copies = np.arange(m.c)[:, np.newaxis] * m.K + np.arange(m.K)
    inside: dict[str, Any] = {
        "T": m.C + (m.K + fixed[:, np.newaxis]) * m.D + m.K + fixed,
        "u": m.coef + tasks[:, np.newaxis] * m.D + m.K + fixed,
        "p": m.prob + tasks,
        "sigma": m.sigma + tasks,
        "F": m.F + copies,
        "F_v": m.F_v + copies,
        "v_anchor": m.v_anchor + copies,
        "watched": m.watched + watched[:, np.newaxis] * m.D + m.K + fixed,
        "level": m.level + watched,
    }
    return {name: np.asarray(inside.get(name, getattr(m, name, 0))) for name in First._fields}


def decode(m: Any, w: Any, row: Any) -> Any:
    """The constants of one trajectory as the kernels of a single one take them."""
    P, S, c, K, at = m.P, m.S, m.c, m.K, w.first
    return Committee(
        m.activation,
        row[at.T : at.T + P * P].reshape((P, P)),
        row[at.u : at.u + S * P].reshape((S, P)),
        row[at.sigma : at.sigma + S],
        row[at.p : at.p + S],
        w.head,
        w.move,
        row[at.inverse_batch] * m.online,
        row[at.kappa_w],
        row[at.kappa_v],
        row[at.F : at.F + c * K].reshape((c, K)),
        w.anchor,
        row[at.F_v : at.F_v + c * K].reshape((c, K)),
        row[at.v_anchor : at.v_anchor + c * K].reshape((c, K)),
        w.v_head,
    )


committee_of = inner(decode)
