"""Measures by name, as figures ask for them: ``forgetting.final``, ``Q[0,1].switch``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from odekit.base.errors import ProblemError
from odekit.base.status import Status
from odekit.dataset.assemble import system_in
from odekit.dataset.provenance import problem_of
from odekit.measures.adjusted import adjusted
from odekit.measures.curves import (
    at_switch,
    forgetting,
    log_change,
    switch_row,
    trained_task,
    transfer,
)
from odekit.measures.fresh import tabula_rasa
from odekit.measures.logs import known_from
from odekit.measures.summaries import final, initial_rate, maximum, time_mean
from odekit.measures.times import escape_time, hitting_time
from odekit.problem.system import Measured, System

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem


def _log_forgetting(ds: xr.Dataset, task: str | None = None) -> xr.DataArray:
    """NaN where errors are rounding: one converged run of a sweep spoils no picture."""
    chosen = task or trained_task(ds, 0, "log_forgetting")
    return log_change(ds, chosen, 1, None, None, refuse=False)


def _log_transfer(ds: xr.Dataset, task: str | None = None) -> xr.DataArray:
    chosen = task or trained_task(ds, 1, "log_transfer")
    return -log_change(ds, chosen, 1, None, None, refuse=False)


def _adjusted(ds: xr.Dataset) -> xr.DataArray:
    return adjusted(ds, None, None, 1, refuse=False)


def _tabula_rasa(ds: xr.Dataset, task: str | None = None) -> xr.DataArray:
    return tabula_rasa(ds, task=task)


CURVES = {
    "forgetting": forgetting,
    "transfer": transfer,
    "log_forgetting": _log_forgetting,
    "log_transfer": _log_transfer,
    "tabula_rasa": _tabula_rasa,
}
OF_CURVES = {"final": final, "maximum": maximum, "initial_rate": initial_rate, "mean": time_mean}
OF_STATES = ("final", "switch", "maximum", "mean")
TIMES: dict[str, tuple[Callable[..., xr.DataArray], int]] = {
    "escape_time": (escape_time, 1),
    "hitting_time": (hitting_time, 2),
}
"""Times that are taken of a course, and how many numbers say which."""
AFTER_A_SWITCH = {
    "forgetting": Measured("forgetting", r"$\Delta\epsilon_g$"),
    "transfer": Measured("transfer", r"$-\Delta\epsilon_g$"),
    "log_forgetting": Measured("forgetting", r"$\Delta\log_{10}\epsilon_g$"),
    "log_transfer": Measured("transfer", r"$-\Delta\log_{10}\epsilon_g$"),
    "adjusted_forgetting": Measured(
        "adjusted forgetting", r"$\Delta\log_{10}\epsilon_g$", _adjusted
    ),
    "tabula_rasa": Measured("transfer over a fresh student", r"$\Delta\epsilon_g$"),
}
ALWAYS = {**AFTER_A_SWITCH, "generalization_error": Measured("error", r"$\epsilon_g$")}
"""What can be shown of a result of any system."""
TAKEN_WORDS = {
    "final": "{}",
    "maximum": "maximum of {}",
    "mean": "mean of {}",
    "initial_rate": "initial rate of {}",
    "switch": "{} at the switch",
    "escape_time": "escape time of {}",
    "hitting_time": "hitting time of {}",
}
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?(?:\.(\w+)(?:\(([^()]*)\))?)?")


def catalogue(system: System | None) -> dict[str, Measured]:
    """All that can be shown of a system's results: of an unknown system, the errors."""
    return {**ALWAYS, **({} if system is None else system.measures())}


def taken_of(base: str) -> tuple[str, ...]:
    """The numbers that can be taken from the course of a measure over time."""
    if base == "adjusted_forgetting":
        return ("final",)
    return tuple(OF_CURVES) if base in CURVES else OF_STATES


@dataclass(frozen=True)
class Measure:
    """A measure's name, taken apart by `parse`.

    Attributes
    ----------
    name : str
        The whole.
    base : str
        Of the `catalogue`.
    labels : tuple of str
        Of the dims that are left beside the sweep's and time: a task, a head, units.
    taken : str
        The number taken from the course over time.
    absolute : bool
    given : tuple of float
        What says which time, of `TIMES`.
    """

    name: str
    base: str
    labels: tuple[str, ...]
    taken: str
    absolute: bool
    given: tuple[float, ...] = ()


def parse(name: str, known: Mapping[str, Measured]) -> Measure:
    """Take the name of a measure apart.

    Parameters
    ----------
    name : str
        ``base[labels].taken``, such as ``"forgetting.final"``, ``"transfer[2].maximum"`` for a
        task, ``"student_cosine[0,1].switch"`` for two units where the second phase begins, or
        ``"Q[0,0].escape_time(0.5)"`` and ``"Q[0,0].hitting_time(1, 0.01)"``, between the rows.
        Bars around it stand for the absolute value.
    known : mapping
        The measures there are, from `catalogue`.

    Raises
    ------
    ProblemError
        If there is no such measure.

    Examples
    --------
    >>> measure = parse("|generalization_error[a].final|", catalogue(None))
    >>> measure.base, measure.labels, measure.taken, measure.absolute
    ('generalization_error', ('a',), 'final', True)
    """
    absolute = len(name) > 2 and name[0] == name[-1] == "|"
    match = _NAME.fullmatch(name[1:-1] if absolute else name)
    base, labels, taken, given = match.groups() if match else (name, None, None, None)
    if base not in known:
        raise ProblemError(
            "measures", f"must be of {', '.join(known)}", repr(name), "Write forgetting.final."
        )
    numbers = _numbers(name, base, taken, given)
    listed = tuple(label.strip() for label in labels.split(",")) if labels else ()
    return Measure(name, base, listed, taken or "final", absolute, numbers)


def _numbers(name: str, base: str, taken: str | None, given: str | None) -> tuple[float, ...]:
    """The numbers in parentheses of what is taken, all of it checked."""
    timed = base != "adjusted_forgetting"
    if taken in TIMES and timed:
        try:
            numbers = tuple(float(word) for word in (given or "").split(","))
        except ValueError:
            numbers = ()
        count = TIMES[taken][1]
        if len(numbers) != count or not np.isfinite(numbers).all():
            rule = f"must say {taken} of {('a level', 'a target and a distance')[count - 1]}"
            remedy = f"Write {base}.{taken}({', '.join(('0.5', '0.01')[:count])})."
            raise ProblemError("measures", rule, repr(name), remedy)
        return numbers
    if given is not None or (taken is not None and taken not in taken_of(base)):
        known = [*taken_of(base), *(f"{t}(...)" for t in TIMES if timed)]
        raise ProblemError("measures", f"must take one of {', '.join(known)} of {base}", repr(name))
    return ()


def evaluate(ds: xr.Dataset, name: str) -> xr.DataArray:
    """A measure of every run of a sweep, by its name (see `parse`).

    Returns
    -------
    DataArray
        Over the sweep's dims; NaN for runs that did not complete. Its ``long_name`` is what it is
        in words and symbols.
    """
    known = catalogue(system_in(ds))
    measure = parse(name, known)
    if measure.base in CURVES:
        array, labels = _of_curve(ds, measure)
    else:
        of = known[measure.base].of
        course = ds[measure.base] if of is None else of(ds)
        array, labels = _taken(ds, course, measure), measure.labels
    sweep = {str(d) for d in ds["generalization_error"].dims} - {"time", "task"}
    array = _selected(measure, array, labels, sweep)
    array = array.where(ds["status"] == Status.COMPLETED)
    array = abs(array) if measure.absolute else array
    return array.rename(name).assign_attrs(long_name=say(measure, known))


def _of_curve(ds: xr.Dataset, measure: Measure) -> tuple[xr.DataArray, tuple[str, ...]]:
    """A number of a curve, and the labels that are left: one label is the task's."""
    task, left = (measure.labels[0], ()) if len(measure.labels) == 1 else (None, measure.labels)
    logs = measure.base.startswith("log_")
    if measure.taken != "initial_rate" or measure.base == "tabula_rasa" or (logs and _copied(ds)):
        curve = CURVES[measure.base](ds, task)
        if measure.taken in TIMES:
            return TIMES[measure.taken][0](curve, *measure.given), left
        return OF_CURVES[measure.taken](curve), left
    forgets = measure.base.endswith("forgetting")
    chosen = task or trained_task(ds, 0 if forgets else 1, measure.base)
    rate = initial_rate(ds, task=chosen)
    if logs:
        level, least = at_switch(ds, chosen, 1), known_from(ds).sel(task=chosen, drop=True)
        rate = rate / (level.where(level > least) * np.log(10.0))
    return (rate if forgets else -rate), left


def _copied(ds: xr.Dataset) -> bool:
    """Whether heads are copied at the switch, so that errors begin elsewhere than at ε(t_s)."""
    return bool(problem_of(ds)["phases"][1].get("copy_heads"))


def say(measure: Measure, known: Mapping[str, Measured]) -> str:
    """A measure in words and symbols."""
    word, symbol, _ = known[measure.base]
    which = f" [{', '.join(measure.labels)}]" if measure.labels else ""
    said = f"{TAKEN_WORDS[measure.taken].format(word + which)} {symbol}"
    said += f" ({', '.join(f'{x:g}' for x in measure.given)})" if measure.given else ""
    return f"|{said}|" if measure.absolute else said


def check_names(names: Iterable[str], problem: AnyProblem) -> None:
    """Refuse measures that no result of a problem has.

    Raises
    ------
    ProblemError
    """
    known = catalogue(problem.system)
    for name in names:
        if parse(name, known).base in AFTER_A_SWITCH and len(problem.phases) < 2:
            raise ProblemError("measures", "needs two phases", repr(name), "")


def _taken(ds: xr.Dataset, array: xr.DataArray, measure: Measure) -> xr.DataArray:
    """One number of the course over time."""
    taken = measure.taken
    if "time" not in array.dims:
        return array
    if taken in TIMES:
        return TIMES[taken][0](array, *measure.given)
    if taken in ("maximum", "mean"):
        return array.max("time") if taken == "maximum" else time_mean(array)
    if taken == "switch":
        row = switch_row(ds)
    else:
        # Of a sweep the rows after a shorter run are empty.
        reached = ds["generalization_error"].notnull().any("task")
        row = reached.cumsum("time").argmax("time")
    # One row a run, whatever the size of the array: no index may be lazy.
    return array.isel(time=row.where(row >= 0, 0).compute()).drop_vars("time", errors="ignore")


def _selected(
    measure: Measure, array: xr.DataArray, labels: tuple[str, ...], sweep: set[str]
) -> xr.DataArray:
    """Without the dims that are not the sweep's: those of length one need no label."""
    core = [str(d) for d in array.dims if d not in sweep]
    if len(labels) < len(core):
        core = [d for d in core if array.sizes[d] > 1]
    if len(core) != len(labels):
        raise ProblemError(
            "measures",
            f"must have a label in brackets for each of {', '.join(core) or 'its dims: none'}",
            repr(measure.name),
            f"Write {measure.base}[{','.join(core)}].",
        )
    for dim, label in zip(core, labels, strict=True):
        known = [str(x) for x in array[dim].values]
        if label not in known:
            raise ProblemError(
                "measures", f"must have as {dim} one of {', '.join(known)}", repr(measure.name), ""
            )
        array = array.isel({dim: known.index(label)}, drop=True)
    ones = [d for d in array.dims if d not in sweep]
    extra = [c for c in array.coords if c not in array.dims]
    return array.isel(dict.fromkeys(ones, 0), drop=True).drop_vars(extra)
