"""What a phase makes of sensitivities as it begins and as it ends: linear maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.places import Places, of_frame
from odekit_kernels.committee.activations import ERF, LINEAR

TWO_OVER_PI = 2.0 / math.pi
Map = tuple[Floats, Floats]
"""A and B of X' = A X + B, B by the parameters."""


def start(columns: Columns, places: Places) -> Floats:
    """Sensitivities of the start, (size, m)."""
    X = np.zeros((places.size, columns.m))
    for where, given in ((places.Q, columns.Q), (places.R, columns.R), (places.v, columns.v),
                         (places.T, columns.T), (places.b, columns.b)):  # fmt: skip
        if not where.size:
            continue
        X[where.ravel()] = given.reshape(where.size, -1)
    return X


def enter(taken: Taken, leg: Leg, columns: Columns, W: int) -> Map:
    """Copies of units and of heads."""
    phase = taken.problem.phases[leg.index]
    old, new = of_frame(taken.points, leg.before, W), of_frame(taken.points, leg.frame, W)
    if phase.consolidation is None and not phase.copy_heads:
        return np.eye(new.size), np.zeros((new.size, columns.m))
    A, B = np.zeros((new.size, old.size)), np.zeros((new.size, columns.m))
    P, c = old.P, old.c
    for here, there in (
        (new.Q, old.Q), (new.R[..., :P], old.R), (new.v, old.v), (new.T[..., :P, :P], old.T),
        (new.F[:c], old.F), (new.F_v[:c], old.F_v), (new.v_anchor[:c], old.v_anchor),
        (new.begin, old.begin), (new.Z, old.Z), (new.b, old.b), (new.rest, old.rest),
    ):  # fmt: skip
        A[here, there] = 1.0
    if phase.consolidation is not None:
        _consolidate(taken, leg, columns, (old, new), (A, B))
    copied = A.copy(), B.copy()
    for target, source in (phase.copy_heads or {}).items():
        places = (new.v[taken.points.heads.index(name)] for name in (target, source))
        here, there = places
        A[here], B[here] = copied[0][there], copied[1][there]
    return A, B


def _consolidate(
    taken: Taken, leg: Leg, columns: Columns, places: tuple[Places, Places], made: Map
) -> None:
    (old, new), (A, B) = places, made
    strength = columns.phases[leg.index].strength
    points, P, K = taken.points, old.P, old.K
    consolidation = taken.problem.phases[leg.index].consolidation
    task = points.tasks.index(protected_task(taken.problem, leg.index))
    head = int(points.head_index[task])
    A[new.T[..., P:, :P], old.R] = 1.0
    A[new.T[..., :P, P:], old.R.swapaxes(-1, -2)] = 1.0
    A[new.T[..., P:, P:], old.Q] = 1.0
    A[new.R[..., P:], old.Q] = 1.0
    A[new.v_anchor[-1], old.v[head]] = 1.0
    Q, _, v = points.unpack(leg.y_before)
    lam, fisher = float(consolidation.strength), consolidation.kind == "fisher"
    groups, blocks = max(points.G, 1), Q.reshape(-1, K, K)
    places_Q, F = old.Q.reshape(-1, K, K), new.F[-1].reshape(groups, K)
    share, seen, by_seen = _seen(points, columns, task)
    for k in range(K):
        # Of inputs in groups, the norm of a unit is that of what it sees.
        q, v_k = float(share * seen @ blocks[:, k, k]), v[head, k]
        q_direct = (share * blocks[:, k, k]) @ by_seen
        I2, dI2, J2, dJ2 = _moments(points.code, q)
        importance, by_v, by_q = {
            "fisher": (v_k**2 * J2, 2.0 * v_k * J2, v_k**2 * dJ2),
            "node": (v_k**2, 2.0 * v_k, 0.0),
            "quadratic": (1.0, 0.0, 0.0),
        }[consolidation.kind]
        for g in range(groups):
            weight = seen[g] if fisher else 1.0
            A[F[g, k], old.v[head, k]] += lam * weight * by_v
            A[F[g, k], places_Q[:, k, k]] += lam * weight * by_q * share * seen
            B[F[g, k]] += importance * weight * strength + lam * weight * by_q * q_direct
            if fisher:
                B[F[g, k]] += lam * importance * by_seen[g]
        A[new.F_v[-1, k], places_Q[:, k, k]] += lam * dI2 * share * seen
        B[new.F_v[-1, k]] += I2 * strength + lam * dI2 * q_direct


def _seen(points: Any, columns: Columns, task: int) -> tuple[Floats, Floats, Floats]:
    """Fractions of the groups, second moments that the student sees, and theirs by parameters."""
    if not points.G:
        return np.ones(1), np.ones(1), np.zeros((1, columns.m))
    law = int(points.seen.law[task])
    return points.seen.share[0], points.seen.ss[0, law], columns.ss[law]


def _moments(code: int, q: float) -> tuple[float, float, float, float]:
    """I2(k, k), J2(k, k), each with its derivative by Q_kk."""
    if code == ERF:
        root = math.sqrt(1.0 + 2.0 * q)
        J2 = TWO_OVER_PI / root
        I2, slope = TWO_OVER_PI * math.asin(q / (1.0 + q)), TWO_OVER_PI / ((1.0 + q) * root)
        return I2, slope, J2, -J2 / (1.0 + 2.0 * q)
    return (q, 1.0, 1.0, 0.0) if code == LINEAR else (0.5 * q, 0.5, 0.5, 0.0)


def leave(taken: Taken, leg: Leg, columns: Columns, W: int) -> Map:
    """The end of a phase moves with its duration, or with what its threshold depends on."""
    places, own = of_frame(taken.points, leg.frame, W), columns.phases[leg.index]
    A, B = np.eye(places.size), np.zeros((places.size, columns.m))
    if not leg.moved or (leg.ended_by is None and not own.duration.any()):
        return A, B
    kernels = taken.kernels(leg)
    f = kernels.derivative(leg.y_end, tuple(taken.rates(leg.index, leg.duration)))
    found, by = kernels.errors(leg.y_end)
    pace = np.zeros(places.size)
    pace[places.state], pace[places.begin] = f, 1.0
    pace[places.Z] = found[:W]
    if leg.ended_by is None:
        return A, np.outer(pace, own.duration)
    task = int(taken.points.watched(taken.problem.phases[leg.index])[leg.ended_by])
    slope = float(by.y[task] @ f)
    row = np.zeros(places.size)
    row[places.state], row[places.framed] = -by.y[task] / slope, -by.frame[task] / slope
    level = (own.level[leg.ended_by] - by.direct[task]) / slope
    return A + np.outer(pace, row), np.outer(pace, level)
