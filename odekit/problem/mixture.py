"""Probabilities of the tasks of a mixture, which may change in time, and sum to one."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.checks import is_labelled, label, mapping, number
from odekit.base.errors import ProblemError
from odekit.problem.schedule import Schedule, scheduled
from odekit.problem.tabulation import TOLERANCE

SUM = 1e-9
"""By how much probabilities may miss one."""
REST = "rest"


def probabilities(tasks: Any, duration: Any) -> dict[str, Any]:
    """Probability of every task: numbers, and schedules where they change in time.

    Parameters
    ----------
    tasks : mapping
        By name; ``"rest"`` in place of one is what the others leave.
    duration : float or DataArray
        For which functions of time are tabulated.

    Raises
    ------
    ProblemError
        If one is no probability, or they do not sum to one at all times.
    """
    given = {label("tasks", name): p for name, p in mapping("tasks", tasks).items()}
    left = [name for name, p in given.items() if isinstance(p, str) and p == REST]
    found = {
        name: scheduled(f"tasks[{name!r}]", p, duration, _probability)
        for name, p in given.items()
        if name not in left
    }
    for name, p in found.items():
        if isinstance(p, Schedule) and p.largest > 1.0 + SUM + TOLERANCE:
            raise _improbable(f"tasks[{name!r}]", p.largest)
    if len(left) > 1:
        raise ProblemError("tasks", "must have one rest at most", ", ".join(left), "")
    if left:
        found[left[0]] = _rest(f"tasks[{left[0]!r}]", list(found.values()))
    found = {name: found[name] for name in given}
    _check_sum(list(found.values()))
    return found


def _probability(argument: str, value: Any) -> Any:
    remedy = "Give the fraction of samples from the task."
    return number(argument, value, "be >= 0 and <= 1", lambda x: (x >= 0) & (x <= 1), remedy)


def _improbable(argument: str, value: float) -> ProblemError:
    remedy = "Give the fraction of samples from the task."
    return ProblemError(argument, "must be >= 0 and <= 1", f"{value:.12g}", remedy)


def _rest(argument: str, others: list[Any]) -> Any:
    """What other probabilities leave."""
    tables = [p for p in others if isinstance(p, Schedule)]
    total: Any = sum(p for p in others if not isinstance(p, Schedule))
    if not tables:
        return _probability(argument, 1.0 - total)
    times, kinks = tables[0].times, tables[0].kinks
    alike = all(
        np.array_equal(p.times, times) and np.array_equal(p.kinks, kinks) for p in tables[1:]
    )
    kind = {p.interpolation for p in tables}
    # Between their times sums of cubic tables are no cubic table.
    sums = len(tables) == 1 or kind == {"linear"} or (kind == {"spline"} and alike)
    if not sums or is_labelled(total):
        rule = "must be given where no one table is what the others leave"
        remedy = "Give all but the rest as linear tables, and as plain numbers."
        raise ProblemError(argument, rule, repr(REST), remedy)
    if not alike:
        times = np.unique(np.concatenate([p.times for p in tables]))
    values = 1.0 - total - np.sum([p.at(times) for p in tables], axis=0)
    if values.min() < -SUM:
        raise _improbable(argument, float(values.min()))
    return Schedule(times, np.maximum(values, 0.0), tables[0].interpolation, kinks)


def _check_sum(found: list[Any]) -> None:
    tables = [p for p in found if isinstance(p, Schedule)]
    total = np.asarray(sum(p for p in found if not isinstance(p, Schedule)), dtype=float)
    allowed = SUM + TOLERANCE * sum(p.interpolation == "spline" for p in tables)
    where = ""
    if tables:
        knots = np.unique(np.concatenate([p.times for p in tables]))
        times = np.union1d(knots, 0.5 * (knots[1:] + knots[:-1]))
        curve = np.sum([p.at(times) for p in tables], axis=0)
        total = total.ravel()[:, np.newaxis] + curve
        where = f" at t = {times[np.abs(total - 1.0).max(axis=0).argmax()]:g}"
    off = np.abs(total - 1.0)
    if np.any(off > allowed):
        worst = float(np.ravel(total)[off.argmax()])
        rule = "must have probabilities that sum to 1"
        remedy = f"Rescale them, or write {REST!r} for one of them."
        raise ProblemError("tasks", rule, f"{worst:.12g}{where}", remedy)
