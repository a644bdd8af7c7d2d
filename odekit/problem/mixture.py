"""Probabilities of the tasks of a mixture, which may change in time, and sum to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import agree, is_labelled, label, mapping, number
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
    agree("tasks", found.values())
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
    kind = Kind.of(tables[0]) if len(tables) == 1 else _common(tables)
    if kind is None or is_labelled(total):
        rule = "must be given where no one table is what the others leave"
        remedy = "Give all but the rest as linear tables, and as plain numbers."
        raise ProblemError(argument, rule, repr(REST), remedy)
    values = 1.0 - total - np.sum([p.at(kind.times) for p in tables], axis=0)
    if values.min() < -SUM:
        raise _improbable(argument, float(values.min()))
    return kind.table(np.maximum(values, 0.0))


# --------------------------------------------------------------------------------- making room


class Kind(NamedTuple):
    """Times of a table, and what is between them."""

    times: Floats
    interpolation: str
    kinks: Floats

    @classmethod
    def of(cls, table: Schedule) -> Kind:
        """That of a table."""
        return cls(table.times, table.interpolation, table.kinks)

    def table(self, values: Floats) -> Schedule:
        """One with these values."""
        return Schedule(self.times, values, self.interpolation, self.kinks)


def _common(tables: Sequence[Schedule]) -> Kind | None:
    """What sums of tables are tables of; None where they are none: of cubic ones, between times."""
    first = Kind.of(tables[0])
    if all(p.interpolation == "linear" for p in tables):
        return first._replace(times=np.unique(np.concatenate([p.times for p in tables])))
    alike = all(
        np.array_equal(p.times, first.times) and np.array_equal(p.kinks, first.kinks)
        for p in tables
    )
    return first if alike and all(p.interpolation == "spline" for p in tables) else None


def parts_of(mixture: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What part each other task has of what one leaves: numbers, with sweep dims or not, or tables.

    Equal parts where it leaves nothing.
    """
    others = {name: p for name, p in mixture.items() if name != task}
    tables = any(isinstance(p, Schedule) for p in others.values())
    whole: Any = 1.0 - mixture[task] if tables else sum(others.values())
    none = whole <= 0.0
    if tables and none:
        return dict.fromkeys(others, 1.0 / len(others))
    parts = {name: _times(p, 1.0 / (whole + none)) for name, p in others.items()}
    return parts if tables else {name: p + none / len(others) for name, p in parts.items()}


def kind_beside(
    mixture: Mapping[str, Any], task: str, share: Schedule, argument: str, *, moved: bool
) -> Kind:
    """Of the tables of all tasks beside one whose probability is, or becomes, a table.

    Parameters
    ----------
    share : Schedule
        The table.
    argument : str
        Which is wrong where others that change in proportion are no tables.
    moved : bool
        Whether its times differ from what they were: they are then those of all tables.
    """
    tables = [p for p in mixture.values() if isinstance(p, Schedule)]
    if moved and not all(np.array_equal(p.times, tables[0].times) for p in tables):
        rule = "must be a time that all tables of the mixture have, beside two tasks or more"
        raise ProblemError(argument, rule, f"one of {task}", "Give their tables the same times.")
    kind = _common(tables if moved else [share, *tables])
    if kind is None:
        rule = "must be of linear tables, or of splines with the same times, beside two tasks"
        given = f"the probability of {task}"
        remedy = "Between the times of other tables no others are in proportion."
        raise ProblemError(argument, rule, given, remedy)
    return kind


def parts_in_time(
    mixture: Mapping[str, Any], task: str, share: Schedule, argument: str
) -> tuple[Kind, dict[str, Floats]]:
    """`parts_of` beside a probability that is, or becomes, a table: at the times of all tables."""
    old, others = mixture[task], {name: p for name, p in mixture.items() if name != task}
    moved = isinstance(old, Schedule) and not np.array_equal(old.times, share.times)
    before = kind_beside(mixture, task, share, argument, moved=moved)
    each = np.array([_at(p, before.times) for p in others.values()])
    whole = each.sum(axis=0)
    some = whole > 0.0
    parts = np.where(some, each / np.where(some, whole, 1.0), 1.0 / len(each))
    return Kind.of(share) if moved else before, dict(zip(others, parts, strict=True))


def with_share(
    mixture: Mapping[str, Any], task: str, share: Any, argument: str = "name"
) -> dict[str, Any]:
    """A mixture with another probability of a task: others change in proportion, at all times."""
    if not isinstance(share, Schedule):
        parts = parts_of(mixture, task)
        found = {name: _times(part, 1.0 - share) for name, part in parts.items()}
    elif len(mixture) == 2:
        found = dict.fromkeys(mixture, REST)
    else:
        kind, rows = parts_in_time(mixture, task, share, argument)
        left = 1.0 - share.at(kind.times)
        found = {name: kind.table(np.maximum(left * row, 0.0)) for name, row in rows.items()}
    return {name: share if name == task else found[name] for name in mixture}


def _times(part: Any, factor: float) -> Any:
    if isinstance(part, Schedule):
        return replace(part, values=factor * part.values)
    return factor * part


def _at(p: Any, times: Floats) -> Floats:
    return p.at(times) if isinstance(p, Schedule) else np.full(times.shape, float(p))


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
