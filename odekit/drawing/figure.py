"""What a picture of a sweep shows: measures by name, against the sweep's dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr

ATTRIBUTE = "odekit_figure"
"""Attribute of a dataset that holds its figure as JSON."""
TIME = "time"
"""What `x` is in pictures of one run."""
LINES = 6
"""Most values of a dimension that colours or columns show one by one."""


class Points(BaseModel):
    """Errors at some times that a picture of one run shows as marks."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    times: list[float]
    values: list[float]


class FigureTable(BaseModel):
    """What a picture shows: measures against a sweep's axes; or, over time, what else to draw."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    measures: list[str] = []
    x: str
    y: str | None = None
    hue: str | None = None
    column: str | None = None
    mean: list[str] = []
    bars: bool = False
    levels: list[float] = []
    time: Literal["auto", "log", "linear", "phases"] = "auto"
    points: dict[str, Points] = {}
    labels: dict[str, str] = {}

    @property
    def over_time(self) -> bool:
        """Whether it is the course of one run."""
        return self.x == TIME


def figure_of(ds: xr.Dataset) -> FigureTable | None:
    """The figure that a dataset asks for, as far as it still has the dims.

    Raises
    ------
    ProblemError
        If the attribute holds something else.
    """
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
    if figure.over_time:
        return figure
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


def check_figure(figure: FigureTable, known: Iterable[str]) -> None:
    """Refuse, before anything is computed, a figure that does not suit the axes of a sweep.

    Raises
    ------
    ProblemError
        Naming the key at fault.
    """
    known = list(known)
    if figure.over_time and not known:
        _check_course(figure)
        return
    _check_left_out(figure, ("points",), "pictures of sweeps")
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
    if figure.bars and (figure.y is not None or not figure.mean):
        remedy = "They are standard errors of means over `mean`."
        raise ProblemError("bars", "must be left out of maps, and without `mean`", "true", remedy)
    if not figure.measures:
        raise ProblemError("measures", "must name at least one", "none", "")


def _check_course(figure: FigureTable) -> None:
    """What suits the picture of one run over time."""
    sweeps = ("measures", "y", "hue", "column", "mean", "bars")
    _check_left_out(figure, sweeps, "pictures over time")
    for name, points in figure.points.items():
        if len(points.times) != len(points.values):
            rule = "must have as many values as times"
            raise ProblemError("points", rule, f"{len(points.values)} for {name!r}", "")


def _check_left_out(figure: FigureTable, keys: Iterable[str], where: str) -> None:
    for key in keys:
        if getattr(figure, key):
            raise ProblemError(key, f"must be left out of {where}", repr(getattr(figure, key)), "")


def _check_all_used(known: Iterable[str], used: list[str]) -> None:
    left = [dim for dim in known if dim not in used]
    if left or len(set(used)) < len(used):
        raise ProblemError(
            "x",
            "must, with y, hue, column and mean, use every sweep axis once",
            f"{', '.join(used)} of {', '.join(known)}",
            "Average over what is not shown: mean = [...].",
        )


def text(figure: FigureTable, name: str, said: str | None = None) -> str:
    """A measure or a dim in words and symbols: as the figure says, or by default."""
    return figure.labels.get(name, name.replace("_", " ") if said is None else said)


def is_numeric(values: Any) -> bool:
    """Whether a dim's coordinate is numbers, rather than names."""
    return np.asarray(values).dtype.kind in "iuf"
