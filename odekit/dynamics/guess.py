"""Where a search begins: rows of a run, the end of one solved to a time, labelled arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import is_labelled
from odekit.base.errors import ProblemError
from odekit.base.status import Status
from odekit.dynamics.many import PhasePoints
from odekit.integrate.options import SolverOptions
from odekit.integrate.run import Run
from odekit.problem.axes import Axis, at, points

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem

ALIKE = 1e-9
"""Relative difference of entries of a guess that are one number of the state."""


class Patient:
    """Never asks to stop."""

    asked = False


def given(phase: PhasePoints, guess: Any) -> Floats:
    """States (m, n) of a guess: flat states, or labelled arrays that may have sweep dims.

    What labelled arrays leave out is as the phase begins. NaN stands for no guess.
    """
    m, n = phase.size
    if not isinstance(guess, Mapping) and not hasattr(guess, "data_vars"):
        flat = _numbers("guess", guess)
        if flat.shape not in ((n,), (m, n)):
            rule = f"must be labelled arrays, or a flat state of {n} entries"
            raise ProblemError("guess", rule, f"shape {flat.shape}", "See `odekit.equations`.")
        return np.array(np.broadcast_to(flat, (m, n)))
    names = [name for name in phase.layout if name in guess]
    strange = [] if hasattr(guess, "data_vars") else [k for k in guess if k not in phase.layout]
    if strange or not names:
        rule = f"must have variables of the state ({', '.join(phase.layout)})"
        raise ProblemError("guess", rule, strange or list(guess), "")
    return phase.pack({name: _block(phase, name, guess[name]) for name in names})


def _numbers(name: str, value: Any) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ProblemError(name, "must be numbers", repr(value)[:80], "") from None


def _block(phase: PhasePoints, name: str, value: Any) -> Floats:
    """A variable of a guess, (m or 1, …)."""
    block, where = phase.layout[name], f"guess[{name!r}]"
    if is_labelled(value):
        lead = [d for d in value.dims if d not in block.dims]
        if set(block.dims) - set(value.dims) or set(lead) - set(phase.points.dims):
            rule = f"must have the dims {block.dims}, and sweep dims of the problem"
            raise ProblemError(where, rule, value.dims, "Choose one row: .isel(time=-1).")
        sizes = dict(zip(phase.points.dims, phase.points.shape, strict=True))
        wrong = [d for d in lead if value.sizes[d] != sizes[str(d)]]
        if wrong:
            rule = f"must have {sizes[str(wrong[0])]} entries along {wrong[0]!r}"
            raise ProblemError(where, rule, value.sizes[wrong[0]], "")
        array = phase.points.values(value.transpose(*lead, *block.dims), len(block.dims))
    else:
        array = _numbers(where, value)[np.newaxis]
    if array.shape[1:] != block.places.shape:
        rule = f"must have shape {block.places.shape} over {block.dims}"
        raise ProblemError(where, rule, array.shape[1:], "")
    _check_mirrors(where, array, block.places)
    found: Floats = array
    return found


def _check_mirrors(where: str, array: Floats, places: Any) -> None:
    """Entries of an array that are one number of the state must be equal."""
    flat, order = array.reshape(len(array), -1), places.ravel()
    unique, first = np.unique(order, return_index=True)
    mirror = flat[:, first[np.searchsorted(unique, order)]]
    known = np.isfinite(flat) & np.isfinite(mirror)
    off = np.abs(np.where(known, flat - mirror, 0.0)).max(initial=0.0)
    if off > ALIKE * np.abs(flat[np.isfinite(flat)]).max(initial=0.0):
        raise ProblemError(where, "must be symmetric", f"entries {off:.3g} apart", "")


def solved_to(
    problem: AnyProblem,
    found: Mapping[str, Axis],
    index: int,
    times: Floats,
    options: SolverOptions,
) -> tuple[PhasePoints, Floats, Any]:
    """A phase at every point, with the copies and states that the runs have at their times.

    What rows do not show, overlaps with copies of units, is among them.

    Parameters
    ----------
    problem : AnyProblem
    found : mapping
        Its sweep dims.
    index : int
        Which phase.
    times : ndarray, shape (m,)
        Since the run began.

    Returns
    -------
    PhasePoints
        Its `start` is the states at these times.
    since : ndarray, shape (m,)
        Times since the phase began.
    reached : ndarray of bool, shape (m,)
        Whether the runs got there, within that phase.
    """
    phase = PhasePoints(problem, found, index)
    every = [at(problem, place) for _, place in points(found)]
    since = np.zeros(len(every))
    states: list[list[Floats]] = []
    reached = np.ones(len(every), dtype=bool)
    for i, one in enumerate(every):
        run = _ends(one, index, float(times[i]), options)
        states.append(run.ends)
        reached[i] = len(run.ends) == index + 1 and run.status == Status.COMPLETED
        begin = run.end_times[index - 1] if index and len(run.end_times) >= index else 0.0
        since[i] = float(times[i]) - begin
    reached &= since >= 0.0
    frame, y = phase.points.start()
    for before in range(index + 1):
        frame, y = phase.points.enter(before, frame, y)
        for i, own in enumerate(states):
            if len(own) > before and (before < index or since[i] > 0.0):
                y[i] = own[before]
    phase.set(frame, y)
    return phase, np.maximum(since, 0.0), reached


def _ends(problem: AnyProblem, index: int, time: float, options: SolverOptions) -> Run:
    """A run that ends at a time in a phase."""
    before = problem.phases[:index]
    if before:
        head = Run(problem.replace(phases=before), options, np.array([0.0]), None)
        head.integrate(Patient())
        if len(head.end_times) < index or head.status != Status.COMPLETED:
            return head
        begin = head.end_times[-1]
    else:
        begin = 0.0
    left = max(time - begin, np.finfo(float).tiny)
    last = replace(problem.phases[index], duration=left, until=None)
    run = Run(problem.replace(phases=[*before, last]), options, np.array([0.0]), None)
    run.integrate(Patient())
    return run
