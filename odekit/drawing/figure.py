"""What a picture of a sweep shows: measures by name, against the sweep's dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.base.status import Status
from odekit.scenario.tables import FigureTable

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

ATTRIBUTE = "odekit_figure"
"""Attribute of a dataset that holds its figure as JSON."""
CURVES = ("forgetting", "transfer")
STATES = (
    "activation_entropy",
    "contribution_entropy",
    "imbalance",
    "mode_entropy",
    "mode_share",
    "overlap_cosine",
    "readout_entropy",
    "student_cosine",
    "unit_entropy",
)
VARIABLES = ("generalization_error", "readout", "Q", "R", "mode_strength", "mode_alignment")
TAKEN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(CURVES, ("final", "maximum", "initial_rate")),
    **dict.fromkeys((*STATES, *VARIABLES), ("final", "switch", "maximum")),
}
"""Measures and variables, and the numbers that can be taken from their course over time."""
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?(?:\.(\w+))?")


@dataclass(frozen=True)
class Measure:
    """A measure's name, taken apart by `parse`.

    Attributes
    ----------
    base : str
        One of `TAKEN`.
    labels : tuple of str
        Of the dims that are left beside the sweep's and time: a task, a head, units.
    taken : str
        The number taken from the course over time.
    absolute : bool
    """

    base: str
    labels: tuple[str, ...]
    taken: str
    absolute: bool


def parse(name: str) -> Measure:
    """Take the name of a measure apart.

    Parameters
    ----------
    name : str
        ``base[labels].taken``, such as ``"forgetting.final"``, ``"transfer[2].maximum"`` for a
        task, or ``"student_cosine[0,1].switch"`` for two units where the second phase begins.
        Bars around it stand for the absolute value.

    Raises
    ------
    ProblemError
        If there is no such measure.

    Examples
    --------
    >>> parse("|student_cosine[0, 1].final|")
    Measure(base='student_cosine', labels=('0', '1'), taken='final', absolute=True)
    """
    absolute = len(name) > 2 and name[0] == name[-1] == "|"
    match = _NAME.fullmatch(name[1:-1] if absolute else name)
    base, labels, taken = match.groups() if match else (name, None, None)
    if base not in TAKEN:
        raise ProblemError(
            "measures", f"must be of {', '.join(TAKEN)}", repr(name), "Write forgetting.final."
        )
    if taken is not None and taken not in TAKEN[base]:
        raise ProblemError(
            "measures", f"must take one of {', '.join(TAKEN[base])} of {base}", repr(name), ""
        )
    listed = tuple(label.strip() for label in labels.split(",")) if labels else ()
    return Measure(base, listed, taken or "final", absolute)


def evaluate(ds: xr.Dataset, name: str) -> xr.DataArray:
    """A measure of every run of a sweep, by its name (see `parse`).

    Returns
    -------
    DataArray
        Over the sweep's dims; NaN for runs that did not complete.
    """
    from odekit import measures

    measure = parse(name)
    if measure.base in CURVES:
        labelled = len(measure.labels) == 1
        array = _of_curve(ds, measure, measure.labels[0] if labelled else None)
        labels = () if labelled else measure.labels
    else:
        state = measure.base in STATES
        array = getattr(measures, measure.base)(ds) if state else ds[measure.base]
        array, labels = _taken(ds, array, measure.taken), measure.labels
    sweep = {str(d) for d in ds["generalization_error"].dims} - {"time", "task"}
    array = _selected(name, array, labels, sweep).where(ds["status"] == Status.COMPLETED)
    return abs(array) if measure.absolute else array


def _of_curve(ds: xr.Dataset, measure: Measure, task: str | None) -> xr.DataArray:
    """A number taken from forgetting or transfer."""
    from odekit import measures

    if measure.taken != "initial_rate":
        curve = getattr(measures, measure.base)(ds, task)
        number: xr.DataArray = getattr(measures, measure.taken)(curve)
        return number
    forgets = measure.base == "forgetting"
    task = task or measures.trained_task(ds, 0 if forgets else 1, measure.base)
    rate = measures.initial_rate(ds, task=task)
    return rate if forgets else -rate


def figure_of(ds: xr.Dataset) -> FigureTable | None:
    """The figure that a dataset asks for, as far as it still has the dims.

    Raises
    ------
    ProblemError
        If the attribute holds something else.
    """
    from pydantic import ValidationError

    text = ds.attrs.get(ATTRIBUTE)
    if text is None:
        return None
    try:
        figure = FigureTable.model_validate_json(str(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise ProblemError(
            ATTRIBUTE, "must describe a figure", f"{first['loc']}: {first['msg']}", ""
        ) from None
    shown = set(ds["generalization_error"].dims)
    if figure.x not in shown or (figure.y is not None and figure.y not in shown):
        return None
    gone = {name: None for name in ("hue", "column") if getattr(figure, name) not in shown}
    means = [dim for dim in figure.mean if dim in shown]
    return figure.model_copy(update={**gone, "mean": means})


def default_figure(ds: xr.Dataset) -> FigureTable:
    """The last errors against the sweep's dims, the longest one first; draws are averaged."""
    dims = [str(d) for d in ds["generalization_error"].dims if d not in ("time", "task")]
    long = sorted((d for d in dims if ds.sizes[d] > 1), key=lambda d: -ds.sizes[d])
    mean = ["draw"] if "draw" in long and len(long) > 1 else []
    x, *rest = [d for d in long if d not in mean]
    # A map shows two long dims; a third one, and then a fourth, has room if it is short.
    y = rest.pop(0) if rest and ds.sizes[rest[0]] > LINES else None
    places = iter(("column",) if y else ("hue", "column"))
    placed = {place: d for place, d in zip(places, rest, strict=False) if ds.sizes[d] <= LINES}
    mean += [d for d in rest if d not in placed.values()]
    names = [f"generalization_error[{task}].final" for task in ds["task"].values]
    hue, column = placed.get("hue"), placed.get("column")
    return FigureTable(measures=names, x=x, y=y, hue=hue, column=column, mean=mean)


LINES = 6
"""Most values of a dimension that colours or columns show one by one."""


def check_figure(figure: FigureTable, problem: AnyProblem) -> None:
    """Refuse, before anything is computed, a figure that cannot be drawn.

    Raises
    ------
    ProblemError
        Naming the key at fault.
    """
    from odekit.problem.axes import axes

    known = axes(problem)
    given = [(name, getattr(figure, name)) for name in ("x", "y", "hue", "column")]
    given += [("mean", dim) for dim in figure.mean]
    used = [(key, dim) for key, dim in given if dim is not None]
    for key, dim in used:
        if dim not in known:
            rule = f"must be a sweep axis, one of {', '.join(known) or '(there is none)'}"
            raise ProblemError(key, rule, repr(dim), "")
    _check_all_used(known, [dim for _, dim in used])
    if figure.y is not None and figure.hue is not None:
        raise ProblemError("hue", "must be left out of a map", repr(figure.hue), "Use `column`.")
    if not figure.measures:
        raise ProblemError("measures", "must name at least one", "none", "")
    for name in figure.measures:
        if parse(name).base in CURVES and len(problem.phases) < 2:
            raise ProblemError("measures", "needs two phases", repr(name), "")


def _check_all_used(known: Iterable[str], used: list[str]) -> None:
    left = [dim for dim in known if dim not in used]
    if left or len(set(used)) < len(used):
        raise ProblemError(
            "x",
            "must, with y, hue, column and mean, use every sweep axis once",
            f"{', '.join(used)} of {', '.join(known)}",
            "Average over what is not shown: mean = [...].",
        )


def _taken(ds: xr.Dataset, array: xr.DataArray, taken: str) -> xr.DataArray:
    """One number of the course over time."""
    from odekit.measures import switch_row

    if taken == "maximum":
        return array.max("time")
    if taken == "switch":
        row = switch_row(ds)
    else:
        # Of a sweep the rows after a shorter run are empty.
        reached = ds["generalization_error"].notnull().any("task")
        row = reached.cumsum("time").argmax("time")
    return array.isel(time=row.where(row >= 0, 0)).drop_vars("time", errors="ignore")


def _selected(
    name: str, array: xr.DataArray, labels: tuple[str, ...], sweep: set[str]
) -> xr.DataArray:
    """Without the dims that are not the sweep's: those of length one need no label."""
    core = [str(d) for d in array.dims if d not in sweep]
    if len(labels) < len(core):
        core = [d for d in core if array.sizes[d] > 1]
    if len(core) != len(labels):
        raise ProblemError(
            "measures",
            f"must have a label in brackets for each of {', '.join(core) or 'its dims: none'}",
            repr(name),
            f"Write {parse(name).base}[{','.join(core)}].",
        )
    for dim, label in zip(core, labels, strict=True):
        known = [str(x) for x in array[dim].values]
        if label not in known:
            raise ProblemError(
                "measures", f"must have as {dim} one of {', '.join(known)}", repr(name), ""
            )
        array = array.isel({dim: known.index(label)}, drop=True)
    ones = [d for d in array.dims if d not in sweep]
    extra = [c for c in array.coords if c not in array.dims]
    return array.isel(dict.fromkeys(ones, 0), drop=True).drop_vars(extra)


def text(figure: FigureTable, name: str) -> str:
    """A measure or a dim in words and symbols: as the figure says, or by default."""
    if name in figure.labels:
        return figure.labels[name]
    if name.strip("|").split("[")[0].split(".")[0] not in TAKEN:
        return name.replace("_", " ")
    measure = parse(name)
    word, symbol = WORDS[measure.base]
    which = f" [{', '.join(measure.labels)}]" if measure.labels else ""
    said = f"{TAKEN_WORDS[measure.taken].format(word + which)} {symbol}"
    return f"|{said}|" if measure.absolute else said


TAKEN_WORDS = {
    "final": "{}",
    "maximum": "maximum of {}",
    "initial_rate": "initial rate of {}",
    "switch": "{} at the switch",
}
WORDS = {
    "forgetting": ("forgetting", r"$\Delta\epsilon_g$"),
    "transfer": ("transfer", r"$-\Delta\epsilon_g$"),
    "generalization_error": ("error", r"$\epsilon_g$"),
    "readout": ("readout", "$v_k$"),
    "Q": ("overlap", "$Q_{kl}$"),
    "R": ("overlap", "$R_{kn}$"),
    "mode_strength": ("strength of a mode", r"$a_\alpha$"),
    "mode_alignment": ("alignment of a mode", r"$\cos_\alpha$"),
    "mode_share": ("share of a mode", r"$m_{h\alpha}$"),
    "mode_entropy": ("entropy over modes", r"$|m_{h\alpha}|$"),
    "unit_entropy": ("entropy over units", r"$|m_{h\alpha}|$"),
    "imbalance": ("imbalance", "$v_k^2-Q_{kk}$"),
    "overlap_cosine": ("cosine", r"$R_{kn}/\sqrt{Q_{kk}T_{nn}}$"),
    "student_cosine": ("cosine", r"$Q_{kl}/\sqrt{Q_{kk}Q_{ll}}$"),
    "readout_entropy": ("entropy of the readout", "$|v_k|$"),
    "activation_entropy": ("entropy of the norms", "$Q_{kk}$"),
    "contribution_entropy": ("entropy of contributions", "$|v_kR_{kn}|$"),
}


def is_numeric(values: Any) -> bool:
    """Whether a dim's coordinate is numbers, rather than names."""
    return np.asarray(values).dtype.kind in "iuf"
