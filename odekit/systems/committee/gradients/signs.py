"""Misclassification of one unit, and its derivatives, by differences of fourth order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.names import get, replace
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.places import Places
from odekit.systems.committee.misclassified import of_rows
from odekit.systems.committee.packing import points_of

STEP = 1e-3
DIRECT = ("state.T", "tasks", "teacher_biases")
"""Numbers that labels and inputs are made of, and not the state alone."""


@dataclass
class Wrong:
    """Misclassification of all tasks, with derivatives by the state and directly by parameters.

    Attributes
    ----------
    values, by_y, direct : ndarray, shapes (W,), (W, n) and (W, m)
    """

    values: Floats
    by_y: Floats
    direct: Floats


def misclassified(points: Any, columns: Columns, places: Places, y: Floats) -> Wrong:
    """Of one unit, at a state."""
    problem = points.problem
    scale = np.maximum(np.abs(y), np.abs(y[places.Q]).min() ** 0.5)

    def of(states: Floats, problem: Any = problem, points: Any = points) -> Floats:
        shape = (1, len(states), -1, 1)
        Q = states[:, places.Q].reshape(*shape, 1)
        R = states[:, places.R[..., : points.P]].reshape(*shape, points.P)
        v = states[:, places.v].reshape(1, len(states), len(points.heads), 1)
        bias = states[np.newaxis, :, places.b] if places.b.size else 0.0
        found: Floats = of_rows(problem, points, Q, R, v, bias)[0]
        return found

    by_y = _slope(lambda x: of(y + x * np.diag(scale)), 1.0) / scale[:, np.newaxis]
    direct = np.zeros((len(points.tasks), columns.m))
    for j, name in enumerate(columns.entries):
        if name.startswith(DIRECT):
            own = float(get(problem, name))

            def at(x: float, name: str = name, own: float = own) -> Floats:
                changed = replace(problem, name, own + x)
                return of(y[np.newaxis], changed, points_of(changed, {}))

            direct[:, j] = _slope(at, max(abs(own), 0.1))[0]
    return Wrong(of(y[np.newaxis])[0], by_y.T, direct)


def _slope(f: Callable[[float], Floats], scale: float) -> Floats:
    h = STEP * scale
    return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
