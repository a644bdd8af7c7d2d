"""What a phase makes of sensitivities as it begins and as it ends: linear maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.anchors import Map, consolidate
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.places import Places, is_structured, of_frame


def start(columns: Columns, places: Places) -> Floats:
    """Sensitivities of the start, (size, m)."""
    X = np.zeros((places.size, columns.m))
    for where, given in ((places.Q, columns.Q), (places.R, columns.R), (places.v, columns.v),
                         (places.T, columns.T), (places.b, columns.b)):  # fmt: skip
        if not where.size:
            continue
        X[where.ravel()] = given.reshape(where.size, -1)
    return X


def enter(taken: Taken, leg: Leg, columns: Columns, W: int) -> Map | None:
    """Copies of units and of heads; None where there are none."""
    phase = taken.problem.phases[leg.index]
    old, new = of_frame(taken.points, leg.before, W), of_frame(taken.points, leg.frame, W)
    same = not is_structured(taken.points) or _kinds(leg.before) == _kinds(leg.frame)
    if same and phase.consolidation is None and not phase.copy_heads:
        return None
    A, B = np.zeros((new.size, old.size)), np.zeros((new.size, columns.m))
    P, c = old.P, old.c
    for here, there in (
        (new.Q, old.Q), (new.R[..., :P], old.R), (new.v, old.v), (new.T[..., :P, :P], old.T),
        (new.F[:c], old.F), (new.F_v[:c], old.F_v), (new.v_anchor[:c], old.v_anchor),
        (new.begin, old.begin), (new.Z, old.Z), (new.b, old.b), *_carried(taken.points, leg),
    ):  # fmt: skip
        A[here, there] = 1.0
    if phase.consolidation is not None:
        consolidate(taken, leg, columns, (old, new), (A, B))
    copied = A.copy(), B.copy()
    for target, source in (phase.copy_heads or {}).items():
        places = (new.v[taken.points.heads.index(name)] for name in (target, source))
        here, there = places
        A[here], B[here] = copied[0][there], copied[1][there]
    return A, B


def _kinds(frame: Any) -> tuple[int, int]:
    return frame.heavy, frame.adaptive


def _carried(points: Any, leg: Leg) -> Iterator[tuple[Any, Any]]:
    """Where what momentum and normalised rates carry along is, and was; it may begin here."""
    if not is_structured(points):
        return
    new, old = (
        {name: first + np.arange(math.prod(shape)).reshape(shape)
         for name, (first, shape) in points.layout(frame).items()}
        for frame in (leg.frame, leg.before)
    )  # fmt: skip
    if leg.frame.adaptive != leg.before.adaptive:
        old.pop("accumulated", None)
    for name in ("velocities", "head_velocities", "bias_velocities", "accumulated"):
        if name in new and name in old:
            P, copies = leg.before.T.shape[-1], leg.frame.T.shape[-1] > leg.before.T.shape[-1]
            moved = name == "velocities" and copies
            yield new[name], points.with_copies(old[name], P) if moved else old[name]


def leave(taken: Taken, leg: Leg, columns: Columns, W: int) -> Map | None:
    """The end of a phase moves; a strength that was a table stays what it is at the table's end.

    None where neither is so.
    """
    end = _end(taken, leg, columns, W)
    if leg.frame.held is None or not isinstance(leg.frame.held[0], Schedule):
        return end
    table, *units = leg.frame.held
    places = of_frame(taken.points, leg.frame, W)
    A, B = end or (np.eye(places.size), np.zeros((places.size, columns.m)))
    for where, unit in zip((places.F[-1], places.F_v[-1]), units, strict=True):
        A[where], B[where] = table.values[-1] * A[where], table.values[-1] * B[where]
        B[where] += unit[0][..., np.newaxis] * columns.phases[leg.index].strength
    return A, B


def _end(taken: Taken, leg: Leg, columns: Columns, W: int) -> Map | None:
    """The end of a phase moves with its duration, or with what its threshold depends on."""
    own = columns.phases[leg.index]
    if not leg.moved or (leg.ended_by is None and not own.duration.any()):
        return None
    places = of_frame(taken.points, leg.frame, W)
    A = np.eye(places.size)
    kernels = taken.kernels(leg)
    f = kernels.derivative(leg.y_end, leg.duration)
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
