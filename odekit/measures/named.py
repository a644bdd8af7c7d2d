"""Measures by name, as figures ask for them: ``forgetting.final``, ``Q[0,1].switch``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odekit.base.errors import ProblemError
from odekit.base.status import Status
from odekit.dataset.assemble import system_in
from odekit.measures.curves import forgetting, switch_row, transfer
from odekit.measures.summaries import final, initial_rate, maximum
from odekit.problem.system import Measured, System

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

CURVES = {"forgetting": forgetting, "transfer": transfer}
OF_CURVES = {"final": final, "maximum": maximum, "initial_rate": initial_rate}
OF_STATES = ("final", "switch", "maximum")
ALWAYS = {
    "forgetting": Measured("forgetting", r"$\Delta\epsilon_g$"),
    "transfer": Measured("transfer", r"$-\Delta\epsilon_g$"),
    "generalization_error": Measured("error", r"$\epsilon_g$"),
}
"""What can be shown of a result of any system."""
TAKEN_WORDS = {
    "final": "{}",
    "maximum": "maximum of {}",
    "initial_rate": "initial rate of {}",
    "switch": "{} at the switch",
}
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?(?:\.(\w+))?")


def catalogue(system: System | None) -> dict[str, Measured]:
    """All that can be shown of a system's results: of an unknown system, the errors."""
    return {**ALWAYS, **({} if system is None else system.measures())}


def taken_of(base: str) -> tuple[str, ...]:
    """The numbers that can be taken from the course of a measure over time."""
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
    """

    name: str
    base: str
    labels: tuple[str, ...]
    taken: str
    absolute: bool


def parse(name: str, known: Mapping[str, Measured]) -> Measure:
    """Take the name of a measure apart.

    Parameters
    ----------
    name : str
        ``base[labels].taken``, such as ``"forgetting.final"``, ``"transfer[2].maximum"`` for a
        task, or ``"student_cosine[0,1].switch"`` for two units where the second phase begins.
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
    base, labels, taken = match.groups() if match else (name, None, None)
    if base not in known:
        raise ProblemError(
            "measures", f"must be of {', '.join(known)}", repr(name), "Write forgetting.final."
        )
    if taken is not None and taken not in taken_of(base):
        raise ProblemError(
            "measures", f"must take one of {', '.join(taken_of(base))} of {base}", repr(name), ""
        )
    listed = tuple(label.strip() for label in labels.split(",")) if labels else ()
    return Measure(name, base, listed, taken or "final", absolute)


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
        array, labels = _taken(ds, course, measure.taken), measure.labels
    sweep = {str(d) for d in ds["generalization_error"].dims} - {"time", "task"}
    array = _selected(measure, array, labels, sweep)
    array = array.where(ds["status"] == Status.COMPLETED)
    array = abs(array) if measure.absolute else array
    return array.rename(name).assign_attrs(long_name=say(measure, known))


def _of_curve(ds: xr.Dataset, measure: Measure) -> tuple[xr.DataArray, tuple[str, ...]]:
    """A number of a curve, and the labels that are left: one label is the task's."""
    task, left = (measure.labels[0], ()) if len(measure.labels) == 1 else (None, measure.labels)
    return OF_CURVES[measure.taken](CURVES[measure.base](ds, task)), left


def say(measure: Measure, known: Mapping[str, Measured]) -> str:
    """A measure in words and symbols."""
    word, symbol, _ = known[measure.base]
    which = f" [{', '.join(measure.labels)}]" if measure.labels else ""
    said = f"{TAKEN_WORDS[measure.taken].format(word + which)} {symbol}"
    return f"|{said}|" if measure.absolute else said


def check_names(names: Iterable[str], problem: AnyProblem) -> None:
    """Refuse measures that no result of a problem has.

    Raises
    ------
    ProblemError
    """
    known = catalogue(problem.system)
    for name in names:
        if parse(name, known).base in CURVES and len(problem.phases) < 2:
            raise ProblemError("measures", "needs two phases", repr(name), "")


def _taken(ds: xr.Dataset, array: xr.DataArray, taken: str) -> xr.DataArray:
    """One number of the course over time."""
    if taken == "maximum":
        return array.max("time")
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
