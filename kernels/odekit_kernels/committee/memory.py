"""Sizes of a committee, where each block lies in a group's memory, and the constants of a phase."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.committee.activations import ERF, Code, check, kind_of
from odekit_kernels.committee.equations import (
    at_corner,
    errors,
    errors_of_groups,
    fixed,
    jacobian,
    jacobian_of_groups,
    parts,
    parts_of_groups,
    rhs,
    rhs_of_groups,
    rhs_with_sizes,
    tolerance,
)
from odekit_kernels.committee.sized import PLACES, SIZES, STEPS, has_sizes
from odekit_kernels.integrators.registry import register
from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery

__all__ = ["CommitteePlan", "First", "GroupsPlan", "SizedPlan", "Wiring", "constants", "make_plan"]

Indices = NDArray[np.int64]


class CommitteePlan(NamedTuple):
    """Sizes, and the first index of each block, row-major, in a group's memory.

    Attributes
    ----------
    activation : Code or int
        One of the codes in `odekit_kernels.committee.activations`, in the type that kernels are
        compiled for.
    online : int
        1 if the η² term is there, 0 in gradient flow.
    K, P, D, H, S, c, W, G, V, n : int
        Units, fixed vectors, their sum, heads, tasks of the phase, consolidations in force, watched
        tasks, groups of inputs (0 where all are alike), laws of the inputs, size of the state.
    y, new, trial : int
        (n,) State before a step, after it, and at a stage of it.
    k : int
        (stages + 1, n) Derivatives at the stages; the first is that at y, the last that at `new`.
    C, coef, cbar, s, own, E, A : int
        (D, D), (S, D), (K, D), (K, D), (K,), (K, D): as in `work`; A of one group after the other.
    d, p, q : int
        (D,) The tilt of one pair of units: 1/√(1 + C̃_aa), and C̃ = C − x pᵀ − y qᵀ.
    sine, weight_of_pair : int
        (D (D + 1) / 2,) Of every pair of fields, under the tilt of one pair of units: what the
        inverse sine is taken of, and the weight of the result.
    row : int
        (max(S, W),) Sums over one row of pairs, by task.
    prob, sigma, inverse_batch, kappa_w, kappa_v, eta_w, eta_v : int
        Numbers of the phase, per trajectory: (S,), (S,) and single ones.
    F, F_v, v_anchor : int
        (c, K) Consolidations; F one group after the other for each of them.
    overlaps : int
        (G, D, D) Overlaps in each group; C itself where all inputs are alike.
    weight : int
        (S,) Probabilities of the tasks; `prob` holds those under one law, or is the same block.
    power : int
        (K (K + 1) / 2,) The η² terms of the pairs under one law.
    share, pace, ss, st, tt : int
        (G,), (G,), (V, G)…: as in `groups.Inputs`.
    watched, level, error : int
        (W, D), (W,), (W,) Coefficients of the watched tasks, thresholds, errors.
    time, begin, end, wish, mark : int
        The numbers of `batch.Batch`, in their order.
    bound, h, after : int
        Time not to step over; length of the step, and where it ends once accepted.
    norm, large, ratio, lean, accepted, unit, theta, low, high, at_low, at_high, factor : int
        Of the step just tried: see `explicit`, `inside` and `stepping`.
    busy, fresh, rejected, shrinks, steps, calls, stiff, easy, due, look, odd : int
        Of the trajectory in a lane: see `batch.enter`.
    size : int
        Values of the whole memory.
    """

    activation: Code | int
    online: int
    K: int
    P: int
    D: int
    H: int
    S: int
    c: int
    W: int
    G: int
    V: int
    n: int
    y: int
    new: int
    trial: int
    k: int
    C: int
    coef: int
    cbar: int
    s: int
    own: int
    E: int
    A: int
    d: int
    p: int
    q: int
    sine: int
    weight_of_pair: int
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
    overlaps: int
    weight: int
    power: int
    share: int
    pace: int
    ss: int
    st: int
    tt: int
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
    factor: int
    busy: int
    fresh: int
    rejected: int
    shrinks: int
    steps: int
    calls: int
    stiff: int
    easy: int
    due: int
    look: int
    odd: int
    size: int


FIRST = (
    "C", "coef", "cbar", "s", "own", "E", "A", "d", "p", "q", "sine", "weight_of_pair", "prob",
    "sigma", "inverse_batch", "kappa_w", "kappa_v", "F", "F_v", "v_anchor", "overlaps", "weight",
    "power", "share", "pace", "ss", "st", "tt", "eta_w", "eta_v",
)  # fmt: skip
"""Blocks that come first in memory, since no number of stages or of watched tasks moves them."""
LAST = {"n", "W", "k", "level", "error", "size", *FIRST}
SECOND = tuple(name for name in MACHINERY if name not in LAST)
"""After them those of the integrators of which the same is true."""


class GroupsPlan(CommitteePlan):
    """The same with groups of inputs: of a type of its own, so that each compiles apart."""

    __slots__ = ()


class SizedPlan(CommitteePlan):
    """A plan of the sizes in `sized`, which are constants where kernels are compiled for it."""

    __slots__ = ()


# Here, and not where the equations are: who has a plan has what the integrators need.
register(
    CommitteePlan,
    rhs=rhs,
    errors=errors,
    jacobian=jacobian,
    at_corner=at_corner,
    tolerance=tolerance,
    parts=parts,
)
register(
    SizedPlan,
    rhs=rhs_with_sizes,
    errors=errors,
    jacobian=jacobian,
    at_corner=at_corner,
    tolerance=tolerance,
    parts=parts,
    fixed=fixed,
)
register(
    GroupsPlan,
    rhs=rhs_of_groups,
    errors=errors_of_groups,
    jacobian=jacobian_of_groups,
    parts=parts_of_groups,
)


class First(NamedTuple):
    """First index of each constant of a phase in a row; their names and order are this class.

    T (P, P) or (G P, P), u (S, P), p, sigma (S,), inverse_batch, kappa_w, kappa_v, eta_w, eta_v: as
    in `one.Committee`, with the learning rates as the phase begins; F (c, K) or (c G, K), F_v and
    v_anchor (c, K); readouts of the watched tasks, watched (W, P), and their levels, level (W,);
    share, pace (G,), ss, st, tt (V, G): as in `groups.Inputs`.
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
    share: int
    pace: int
    ss: int
    st: int
    tt: int


_NONE = np.zeros(0, dtype=np.int64)


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
    law, watched_law : ndarray of int64, shape (S,) and (W,)
        Laws of the inputs of these tasks; empty where all inputs are alike.
    """

    head: NDArray[np.int64]
    move: NDArray[np.float64]
    anchor: NDArray[np.int64]
    v_head: NDArray[np.int64]
    watched_head: NDArray[np.int64]
    first: First
    law: NDArray[np.int64] = _NONE
    watched_law: NDArray[np.int64] = _NONE


@functools.lru_cache
def make_plan(
    K: int,
    P: int,
    H: int,
    S: int,
    c: int,
    W: int,
    activation: int,
    online: bool,
    stages: int,
    groups: tuple[int, int] = (0, 0),
) -> CommitteePlan:
    """Lay out the memory of a group of trajectories.

    Parameters
    ----------
    K, P, H, S, c, W, activation, online : int
        As in `CommitteePlan`.
    stages : int
        Stages of the integrator.
    groups : tuple of int
        Groups of inputs, and laws of them; none where all inputs are alike.

    Raises
    ------
    ValueError
        If the activation has no such code.
    """
    G, V = groups
    D, n = K + P, max(G, 1) * (K * (K + 1) // 2 + K * P) + H * K
    sizes = {
        **machinery(n, W, stages),
        "C": D * D,
        "coef": S * D,
        "cbar": K * D,
        "s": K * D,
        "own": K,
        "E": K * D,
        "A": max(G, 1) * K * D,
        "d": D,
        "p": D,
        "q": D,
        "sine": D * (D + 1) // 2,
        "weight_of_pair": D * (D + 1) // 2,
        "row": max(S, W, 1),
        "prob": S,
        "sigma": S,
        "F": c * max(G, 1) * K,
        "F_v": c * K,
        "v_anchor": c * K,
        "overlaps": G * D * D,
        "weight": min(G, 1) * S,
        "power": min(G, 1) * (K * (K + 1) // 2),
        "share": G,
        "pace": G,
        "ss": V * G,
        "st": V * G,
        "tt": V * G,
        "watched": W * D,
    }
    known = {"activation", "online", "K", "P", "D", "H", "S", "c", "W", "G", "V", "n", "size"}
    rest = (x for x in CommitteePlan._fields if x not in known.union(FIRST, SECOND))
    places = lay_out([*FIRST, *SECOND, *rest], sizes)
    if not G:
        places |= {"overlaps": places["C"], "weight": places["prob"]}
    kind = GroupsPlan if G else CommitteePlan
    plan = kind(
        activation=kind_of(check(activation)), online=int(online), K=K, P=P, D=D, H=H, S=S, c=c,
        W=W, G=G, V=V, n=n, **places,
    )  # fmt: skip
    return SizedPlan(*plan) if has_sizes(plan) else plan


def constants(m: CommitteePlan) -> dict[str, Indices]:
    """Every constant of a phase by name, in the order of a row: where it goes in a group's memory.

    The arrays have the shapes of the constants, and are not to be written to.
    """
    return dict(_constants(m))


@functools.lru_cache
def _constants(m: CommitteePlan) -> dict[str, Indices]:
    fixed, tasks, watched = np.arange(m.P), np.arange(m.S), np.arange(m.W)
    copies = np.arange(m.c)[:, np.newaxis] * m.K + np.arange(m.K)
    pulls = np.arange(m.c * max(m.G, 1))[:, np.newaxis] * m.K + np.arange(m.K)
    blocks = np.arange(max(m.G, 1))[:, np.newaxis] * m.D**2 + (m.K + fixed) * m.D + m.K
    groups, laws = np.arange(m.G), np.arange(m.V)[:, np.newaxis] * m.G + np.arange(m.G)
    inside: dict[str, Any] = {
        "T": m.overlaps + blocks.reshape(-1, 1) + fixed,
        "u": m.coef + tasks[:, np.newaxis] * m.D + m.K + fixed,
        "p": m.weight + tasks,
        "sigma": m.sigma + tasks,
        "F": m.F + pulls,
        "F_v": m.F_v + copies,
        "v_anchor": m.v_anchor + copies,
        "watched": m.watched + watched[:, np.newaxis] * m.D + m.K + fixed,
        "level": m.level + watched,
        "share": m.share + groups,
        "pace": m.pace + groups,
        "ss": m.ss + laws,
        "st": m.st + laws,
        "tt": m.tt + laws,
    }
    found = {name: np.asarray(inside.get(name, getattr(m, name, 0))) for name in First._fields}
    for places in found.values():
        places.flags.writeable = False
    return found


def _places(names: Iterable[str]) -> dict[str, int]:
    """Where such blocks begin in every `SizedPlan`."""
    sizes = {name: SIZES[name] for name in ("K", "P", "H", "S", "c", "online")}
    plan = make_plan(**sizes, W=0, activation=ERF, stages=0)
    return {name: getattr(plan, name) for name in names}


PLACES.update(_places(FIRST))
STEPS.update(_places(SECOND))
