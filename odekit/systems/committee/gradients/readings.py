"""What derivatives are taken of: names, and linear readings of the numbers that are carried."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.gradients.columns import Columns, laws_of
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.kernels import Kernels
from odekit.systems.committee.gradients.places import Places, of_frame, unit_rows
from odekit.systems.committee.gradients.signs import misclassified
from odekit.systems.committee.gradients.structured import kernels_of
from odekit.systems.committee.misclassified import classified

DIMS = {
    "generalization_error": ("task",),
    "integrated_error": ("task",),
    "Q": ("student", "student_other"),
    "R": ("student", "teacher"),
    "Q_group": ("group", "student", "student_other"),
    "R_group": ("group", "student", "teacher"),
    "readout": ("head", "student"),
    "bias": ("student",),
    "misclassification": ("task",),
    "phase_end": ("phase_index",),
}
"""What there are derivatives of, with the dims of each."""
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?")


@dataclass
class Reading:
    """A name that was asked for.

    Attributes
    ----------
    base : str
        Key of `DIMS`.
    picked : ndarray of int
        Entries of the flattened whole.
    dims, shape : of what is left of it
    """

    name: str
    base: str
    picked: Any
    dims: tuple[str, ...]
    shape: tuple[int, ...]


def readings_of(points: Any, of: Sequence[str]) -> list[Reading]:
    """Names and their entries, checked."""
    K, P, labels = points.K, points.P, {"task": points.tasks, "head": points.heads}
    labels |= {"group": list(points.problem.groups or ())}
    known = _dims(points.problem)
    phases = len(points.problem.phases)
    sizes = {"student": K, "student_other": K, "teacher": P, "phase_index": phases}
    sizes |= {dim: len(names) for dim, names in labels.items()} | {
        "output": points.problem.outputs or 1
    }
    found = []
    for name in of:
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None or match[1] not in known:
            listed = ", ".join(known)
            remedy = "With an entry: 'generalization_error[main]', 'R[0, 1]'."
            raise ProblemError("of", f"must be of {listed}", repr(name), remedy)
        dims = known[match[1]]
        keys = [] if match[2] is None else [key.strip().strip("'\"") for key in match[2].split(",")]
        if len(keys) > len(dims):
            raise ProblemError("of", f"must have at most the dims {dims}", name)
        index = tuple(
            _entry(name, dim, key, sizes[dim], labels) for dim, key in zip(dims, keys, strict=False)
        )
        whole = np.arange(int(np.prod([sizes[d] for d in dims]))).reshape([sizes[d] for d in dims])
        part = whole[index]
        found.append(Reading(name, match[1], part.ravel(), dims[len(keys) :], part.shape))
    if len({reading.name for reading in found}) < len(found):
        raise ProblemError("of", "must name each quantity once", ", ".join(of))
    return found


def _entry(name: str, dim: str, key: str, size: int, labels: Mapping[str, list[str]]) -> int:
    if dim in labels:
        if key in labels[dim]:
            return labels[dim].index(key)
        known = ", ".join(labels[dim])
        raise ProblemError("of", f"must name a {dim} of the problem ({known})", name)
    if key.isdigit() and int(key) < size:
        return int(key)
    raise ProblemError("of", f"must have an entry of 0 to {size - 1} along {dim}", name)


def _dims(problem: Any) -> dict[str, tuple[str, ...]]:
    """What a problem has derivatives of, with the dims of each."""
    found = dict(DIMS)
    if problem.groups is None:
        del found["Q_group"], found["R_group"]
    if problem.biases is None:
        del found["bias"]
    if problem.outputs is not None:
        found["readout"] = ("head", "output", "student")
    if not classified(problem):
        del found["misclassification"]
    return found


@dataclass
class Site:
    """Readings at one time of a run: values, and derivatives by what is carried and directly.

    Attributes
    ----------
    values : ndarray, shape (q,)
    C, D : ndarray, shapes (q, size) and (q, m)
    """

    values: Floats
    C: Floats
    D: Floats


def site(
    taken: Taken,
    leg: Leg,
    columns: Columns,
    readings: Sequence[Reading],
    state: tuple[Floats, Floats],
    since: float,
    *,
    fixed: bool,
    before: bool = False,
) -> Site:
    """Readings of a state and its integrals, in a phase or, with `before`, as it was before it.

    Parameters
    ----------
    since : float
        Time since the phase began.
    fixed : bool
        Whether the time of the run is fixed: then what makes the phase begin later makes it less.
    """
    y, Z = state
    frame = leg.before if before else leg.frame
    places = of_frame(taken.points, frame, Z.size)
    kernels = _before(taken, leg) if before else taken.kernels(leg)
    found, by = kernels.errors(y)
    values, C, D = [], [], []
    whole = np.zeros(places.size)
    whole[places.state], whole[places.Z] = y, Z
    for reading in readings:
        at, direct = reading.picked, np.zeros((reading.picked.size, columns.m))
        if reading.base == "generalization_error":
            rows = np.zeros((at.size, places.size))
            rows[:, places.state], rows[:, places.framed] = by.y[at], by.frame[at]
            direct = by.direct[at]
            values.append(found[at])
        elif reading.base == "misclassification":
            wrong = misclassified(taken.points, columns, places, y)
            rows = np.zeros((at.size, places.size))
            rows[:, places.state], direct = wrong.by_y[at], wrong.direct[at]
            values.append(wrong.values[at])
        else:
            rows = _rows(taken.points, places, reading.base)[at]
            values.append(rows @ whole)
        C.append(rows)
        D.append(direct)
    joined = Site(*(np.concatenate(parts) for parts in (values, C, D)))
    if fixed:
        pace = np.zeros(places.size)
        pace[places.state] = kernels.derivative(y, tuple(taken.rates(leg.index, since)))
        pace[places.Z] = found[: Z.size]
        joined.C[:, places.begin] -= joined.C @ pace
    return joined


def _rows(points: Any, places: Places, base: str) -> Floats:
    """Matrix from what is carried to a quantity, whose rows are its entries."""
    R = places.R[..., : points.P]
    where = {"Q": places.Q, "R": R, "Q_group": places.Q, "R_group": R, "readout": places.v,
             "bias": places.b, "integrated_error": places.Z}[base]  # fmt: skip
    rows = unit_rows(where, places.size)
    if points.G and base in ("Q", "R"):
        rows = np.tensordot(laws_of(points).share[0], rows.reshape(points.G, -1, places.size), 1)
    return rows


def _before(taken: Taken, leg: Leg) -> Kernels:
    """What kernels are given of the state before the first phase."""
    phase = taken.problem.phases[leg.index]
    return kernels_of(taken.points, leg.index, phase, leg.before, taken.columns)
