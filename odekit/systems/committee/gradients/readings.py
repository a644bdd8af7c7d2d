"""What derivatives are taken of: names, and linear readings of the numbers that are carried."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.gradients import measured
from odekit.systems.committee.gradients.columns import Columns, laws_of
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.kernels import ErrorSlopes, Kernels
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
    "phase_end_error": ("phase_index", "task"),
    "forgetting": ("task",),
    "transfer": ("task",),
    **measured.DIMS,
}
"""What there are derivatives of, with the dims of each."""
SINCE_SWITCH = {"forgetting": 1.0, "transfer": -1.0}
"""Sign of the error gained since the second phase began."""
TAKEN = {"mean": 0, "maximum": 0, "escape_time": 1, "hitting_time": 2}
"""Numbers of whole curves, and by how many numbers each is said: see `curves`."""
LOG = "log10"
"""Logarithm of a number, row by row; of those since a switch the difference of two."""
NOT_OVER_TIME = ("integrated_error", "phase_end", "phase_end_error")
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?(?:\.(\w+)(?:\(([^()]*)\))?)?")


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
    taken : str
        Key of `TAKEN`, or nothing.
    given : tuple of float
    log : bool
        Whether its logarithm to the base 10 is meant.
    """

    name: str
    base: str
    picked: Any
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    taken: str = ""
    given: tuple[float, ...] = ()
    log: bool = False


def readings_of(problem: Any, of: Sequence[str]) -> list[Reading]:
    """Names and their entries, checked."""
    K, P = problem.state.student, problem.state.teacher
    labels = {"task": list(problem.tasks), "head": list(problem.heads)}
    labels |= {"group": list(problem.groups or ())}
    known = _dims(problem)
    phases = len(problem.phases)
    sizes = {"student": K, "student_other": K, "teacher": P, "phase_index": phases}
    sizes |= {dim: len(names) for dim, names in labels.items()} | {"output": problem.outputs or 1}
    found = []
    for name in of:
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None or match[1] not in known:
            listed = ", ".join(known)
            remedy = "With an entry: 'generalization_error[main]', 'R[0, 1]'."
            raise ProblemError("of", f"must be of {listed}", repr(name), remedy)
        _has_switch(name, match[1], phases)
        dims = known[match[1]]
        keys = [] if match[2] is None else [key.strip().strip("'\"") for key in match[2].split(",")]
        if len(keys) > len(dims):
            raise ProblemError("of", f"must have at most the dims {dims}", name)
        if match[1] in SINCE_SWITCH:
            keys = [_trained(problem, name, match[1], keys)]
        index = tuple(
            _entry(name, dim, key, sizes[dim], labels) for dim, key in zip(dims, keys, strict=False)
        )
        whole = np.arange(int(np.prod([sizes[d] for d in dims]))).reshape([sizes[d] for d in dims])
        part = whole[index]
        own = (name, match[1], part.ravel(), dims[len(keys) :], part.shape)
        found.append(Reading(*own, *_taken(name, match), match[3] == LOG))
    if len({reading.name for reading in found}) < len(found):
        raise ProblemError("of", "must name each quantity once", ", ".join(of))
    return found


def _taken(name: str, match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    """The number that is taken of a whole curve, and what says which."""
    base, taken = match[1], match[3]
    if taken == LOG and base == "phase_end":
        raise ProblemError("of", "must take log10 of errors or of the state", name)
    if taken in (None, LOG):
        return "", ()
    if taken not in TAKEN:
        rule = f"must take one of {', '.join(TAKEN)}, {LOG} of a curve"
        remedy = "Plateaus and rates at the start have no derivative here: a plateau ends where an "
        raise ProblemError("of", rule, name, remedy + "escape_time or hitting_time says.")
    if base in NOT_OVER_TIME:
        raise ProblemError("of", f"must take the {taken} of a curve over time", name)
    if taken == "mean" and base not in ("generalization_error", *SINCE_SWITCH):
        rule = "must take the mean of errors: integrals of others are not carried along"
        raise ProblemError("of", rule, name)
    if TAKEN[taken] and base in SINCE_SWITCH:
        rule = "must take times of errors or of the state, since the beginning"
        raise ProblemError("of", rule, name)
    try:
        given = tuple(float(x) for x in (match[4] or "").split(",") if x.strip())
    except ValueError:
        given = (np.nan,)
    if len(given) != TAKEN[taken] or not np.isfinite(given).all():
        rule = f"must give {taken} {TAKEN[taken]} numbers"
        remedy = "Write Q[0, 0].escape_time(0.5), or Q[0, 0].hitting_time(1, 0.01)."
        raise ProblemError("of", rule, name, remedy)
    if taken == "hitting_time" and not given[1] > 0.0:
        raise ProblemError("of", "must have a distance > 0", name)
    return taken, given


def _has_switch(name: str, base: str, phases: int) -> None:
    if base in SINCE_SWITCH and phases < 2:
        raise ProblemError("of", "must be of a problem with two phases", name)


def _trained(problem: Any, name: str, base: str, keys: Sequence[str]) -> str:
    """The task whose error is followed: by default the one trained before, or after, the switch."""
    index = 0 if base == "forgetting" else 1
    shares = problem.phases[index].mixture.items()
    trained = [task for task, share in shares if getattr(share, "largest", share) > 0.0]
    if not keys and len(trained) > 1:
        rule = "must name one of the tasks that are trained there"
        raise ProblemError("of", rule, name, f"Write {base}[{trained[0]}].")
    task = keys[0] if keys else trained[0]
    if base == "forgetting" and task in problem.tasks and task not in trained:
        rule = f"must be of a task that the first phase trains ({', '.join(trained)})"
        raise ProblemError("of", rule, name, "What was never learnt cannot be forgotten.")
    return task


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
        found |= {"readout": ("head", "output", "student"), **measured.BY_OUTPUT}
    if not classified(problem):
        del found["misclassification"]
    return found


def log10_of(values: Floats, *slopes: Floats) -> tuple[Floats, ...]:
    """Logarithms and their derivatives, the last axis of `slopes`; NaN of what is not above 0."""
    known = np.where(values > 0.0, values, np.nan)
    turn = 1.0 / (np.log(10.0) * known[..., np.newaxis])
    return np.log10(known), *(turn * slope for slope in slopes)


class Site(NamedTuple):
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
    parts = [_read(one, taken, columns, (places, frame), state, (found, by)) for one in readings]
    parts = [
        Site(*log10_of(*part)) if one.log and one.base != "phase_end_error" else part
        for one, part in zip(readings, parts, strict=True)
    ]
    joined = Site(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    if fixed:
        pace = np.zeros(places.size)
        pace[places.state] = kernels.derivative(y, since)
        pace[places.Z] = found[: Z.size]
        joined.C[:, places.begin] -= joined.C @ pace
    return joined


def closing(taken: Taken, leg: Leg, columns: Columns, W: int) -> Site:
    """Errors of all tasks at the end of a phase, wherever that moves; W integrals are carried."""
    tasks = np.arange(len(taken.points.tasks))
    every = Reading("", "generalization_error", tasks, ("task",), (tasks.size,))
    return site(taken, leg, columns, [every], (leg.y_end, np.zeros(W)), leg.duration, fixed=False)


def _read(
    reading: Reading,
    taken: Taken,
    columns: Columns,
    where: tuple[Places, Any],
    state: tuple[Floats, Floats],
    errors: tuple[Floats, ErrorSlopes],
) -> Site:
    """One reading of a state and its integrals, given the errors of all tasks there."""
    (places, frame), (y, Z), (found, by) = where, state, errors
    points, base, at = taken.points, reading.base, reading.picked
    rows, direct = np.zeros((at.size, places.size)), np.zeros((at.size, columns.m))
    if base in ("generalization_error", *SINCE_SWITCH):
        rows[:, places.state], rows[:, places.framed] = by.y[at], by.frame[at]
        return Site(found[at], rows, by.direct[at])
    if base == "misclassification":
        wrong = misclassified(points, columns, places, y)
        rows[:, places.state] = wrong.by_y[at]
        return Site(wrong.values[at], rows, wrong.direct[at])
    if base == "phase_end_error":  # the same at all times: see `Chain`
        return Site(np.zeros(at.size), rows, direct)
    if base in measured.MEASURES:
        share = laws_of(points).share[0] if points.G else None
        one = measured.MEASURES[base](measured.overlaps(points, places, frame, y, share))
        return Site(one.values.ravel()[at], one.rows.reshape(-1, places.size)[at], direct)
    rows, whole = _rows(points, places, base)[at], np.zeros(places.size)
    whole[places.state], whole[places.Z] = y, Z
    return Site(rows @ whole, rows, direct)


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
