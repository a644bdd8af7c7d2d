"""Sizes of a batch, and where each block lies in the memory of a group of trajectories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..simd import WIDTH

__all__ = [
    "MACHINERY",
    "Plan",
    "Wiring",
    "constant_places",
    "lay_out",
    "machinery",
    "make_memory",
    "make_plan",
]

MACHINERY = [
    "n",
    "W",
    "y",
    "new",
    "trial",
    "weights",
    "k",
    "eta_w",
    "eta_v",
    "level",
    "error",
    "time",
    "begin",
    "end",
    "wish",
    "mark",
    "bound",
    "h",
    "after",
    "norm",
    "large",
    "ratio",
    "accepted",
    "unit",
    "theta",
    "low",
    "high",
    "at_low",
    "at_high",
    "size",
]
"""Fields of `Plan` that the integrators use: the plan of every system has them."""


def machinery(n: int, W: int, stages: int) -> dict[str, int]:
    """Sizes of the integrators' own blocks; all others of `MACHINERY` are single values."""
    blocks = {"y": n, "new": n, "trial": n, "weights": stages + 1, "k": (stages + 1) * n}
    return {**blocks, "level": W, "error": W}


def lay_out(fields: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """First index of each block, one after the other, and the ``size`` of them all."""
    places, end = {}, 0
    for name in fields:
        places[name] = end
        end += sizes.get(name, 1)
    return {**places, "size": end}


class Plan(NamedTuple):
    """Sizes, and the first index of each block, row-major, in a group's memory.

    Attributes
    ----------
    activation : int
        One of the codes in `odekit_kernels.moments`.
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
        (D, D), (S, D), (K, D)…: as in `odekit_kernels.work`.
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
    norm, large, ratio, accepted, unit, theta, low, high, at_low, at_high : int
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
    accepted: int
    unit: int
    theta: int
    low: int
    high: int
    at_low: int
    at_high: int
    size: int


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
    """

    head: NDArray[np.int64]
    move: NDArray[np.float64]
    anchor: NDArray[np.int64]
    v_head: NDArray[np.int64]
    watched_head: NDArray[np.int64]


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


def constant_places(m: Plan) -> NDArray[np.int64]:
    """Where the constants of a trajectory go in a group's memory, in the order of a batch's row.

    T (P, P), u (S, P), prob (S,), sigma (S,), inverse_batch, kappa_w, kappa_v, eta_w, eta_v,
    F, F_v, v_anchor (c, K), readouts of the watched tasks (W, P), their levels (W,).
    """
    fixed, tasks, watched = np.arange(m.P), np.arange(m.S), np.arange(m.W)
    single = [m.inverse_batch, m.kappa_w, m.kappa_v, m.eta_w, m.eta_v]
    copies = np.arange(m.c * m.K)
    parts: list[Any] = [
        m.C + (m.K + fixed[:, np.newaxis]) * m.D + m.K + fixed,
        m.coef + tasks[:, np.newaxis] * m.D + m.K + fixed,
        m.prob + tasks,
        m.sigma + tasks,
        np.array(single),
        m.F + copies,
        m.F_v + copies,
        m.v_anchor + copies,
        m.watched + watched[:, np.newaxis] * m.D + m.K + fixed,
        m.level + watched,
    ]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.int64)


def make_memory(size: int) -> NDArray[np.float64]:
    """Memory of one group on the CPU, shape (size, 8), from a cache line on."""
    block = np.zeros(size * WIDTH + WIDTH - 1)
    first = -(block.ctypes.data // 8) % WIDTH
    return block[first : first + size * WIDTH].reshape(size, WIDTH)
