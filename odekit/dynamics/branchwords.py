"""Branches of fixed points in words, and as lines of a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.drawing.lines import Curve
from odekit.dynamics.branchset import ATTRIBUTE, ENDS, SPECIAL, VARIABLES, branches_of
from odekit.dynamics.outcomes import FINE, BranchEnd, SpecialPoint

if TYPE_CHECKING:
    import xarray as xr

_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?")
ERROR = "generalization_error"


def check(ds: xr.Dataset) -> list[str]:
    """One sentence for each variable of branches that is missing or of other dims."""
    found = []
    for v in VARIABLES:
        if v.name not in ds.variables:
            found.append(f"`{v.name}` is missing")
        elif ds[v.name].dims != v.dims:
            found.append(f"`{v.name}` must have dimensions {v.dims}, has {ds[v.name].dims}")
    return found


def checked(ds: xr.Dataset) -> None:
    """Refuse a dataset of branches that lacks a part.

    Raises
    ------
    ProblemError
    """
    faults = check(ds)
    if faults:
        remedy = "Show all of it; was it edited?"
        raise ProblemError("ds", "must be a whole result of odekit", faults[0], remedy)


# ------------------------------------------------------------------------------------------- words


def blocks(ds: xr.Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    """Heads, and what stands beside them."""
    words = json.loads(ds.attrs[ATTRIBUTE])
    lo, hi = words["between"]
    name = words["along"] or "a number of the problem"
    yield "Along", [f"{name}, between {lo:g} and {hi:g}, in phase {words['phase']}"]
    for b, one in enumerate(branches_of(ds)):
        yield f"Branch {b}", [*_branch(one), *_specials(ds, b)]
    ended = how_it_ended(ds)
    yield "Status", ended.splitlines() if ended else ["every branch was followed to its ends"]


def _branch(one: xr.Dataset) -> Iterator[str]:
    if not one.sizes["point"]:
        yield "no point"
        return
    mu, unstable = one.parameter.values, one.n_unstable.values
    whence = "" if int(one.parent_branch) < 0 else f", from special point {int(one.parent_special)}"
    least, most = int(unstable.min()), int(unstable.max())
    grow = f"{least}" if least == most else f"{least} to {most}"
    yield f"{mu.size} points from {mu[0]:.6g} to {mu[-1]:.6g}{whence}; {grow} directions grow"
    if not one.physical.values.all():
        yield f"{int((one.physical.values == 0).sum())} points are not those of real vectors"


def _specials(ds: xr.Dataset, branch: int) -> Iterator[str]:
    for i in np.flatnonzero(ds[SPECIAL + "branch"].values == branch):
        one = ds.isel(special=int(i))
        kind, count = SpecialPoint(int(one[SPECIAL + "kind"])), int(one[SPECIAL + "crossing"])
        many = f", {count} eigenvalues cross" if count > 1 else ""
        yield f"{i}: {kind.word} at {float(one[SPECIAL + 'parameter']):.12g}{many}"


def how_it_ended(ds: xr.Dataset) -> str:
    """What is to be known of branches that ended early; empty where none did."""
    lines = []
    for b in range(ds.sizes["branch"]):
        for e, end in enumerate(ENDS):
            status = BranchEnd(int(ds["end_status"].values[b, e]))
            if status not in FINE:
                last = 0 if e == 0 else int(ds["n_points"].values[b]) - 1
                lines.append(_early(ds, b, end, status, last))
    if not json.loads(ds.attrs[ATTRIBUTE]).get("whole", True):
        lines.append("there are more branches than `max_branches` allowed")
    return "\n".join(lines)


def _early(ds: xr.Dataset, branch: int, end: str, status: BranchEnd, last: int) -> str:
    where = f" at {float(ds.parameter.values[branch, last]):.10g}" if last >= 0 else ""
    said = str(ds["end_reason"].values[branch, ENDS.index(end)])
    why = f"{status.meaning}{f' ({said})' if said else ''}"
    return f"branch {branch} ended{where}: {why}. {status.remedy}".rstrip()


# ----------------------------------------------------------------------------------------- pictures


def shown(ds: xr.Dataset, name: str | None) -> list[tuple[str, xr.DataArray, xr.DataArray]]:
    """What a picture shows: a word for each entry, its values on the branches and special points.

    Parameters
    ----------
    ds : Dataset
    name : str or None
        A variable, ``"R"``, or an entry of it, ``"R[0, 1]"``; by default the errors.

    Raises
    ------
    ProblemError
        If the branches have no such variable or entry.
    """
    match = _NAME.fullmatch((name or ERROR).strip())
    whole = ds.get(match[1]) if match else None
    if match is None or whole is None or whole.dims[:2] != ("branch", "point"):
        known = [str(n) for n, v in ds.data_vars.items() if v.dims[:2] == ("branch", "point")]
        rule = f"must name a variable of the branches ({', '.join(known)})"
        raise ProblemError("show", rule, repr(name), "")
    special = ds.get(SPECIAL + match[1])
    if special is None:
        special = _between(ds, whole)
    places: list[Any] = list(np.ndindex(whole.shape[2:]))
    if match[2] is not None:
        places = [_place(whole, match[2])]
    return [
        (
            _word(whole, place),
            whole[(slice(None), slice(None), *place)],
            special[(slice(None), *place)],
        )
        for place in places
    ]


def curves(
    ds: xr.Dataset, values: xr.DataArray, special: xr.DataArray, colour: int | None = None
) -> list[Curve]:
    """One entry along all branches, with the special points on each; in colours of their own."""
    found = []
    for b in range(ds.sizes["branch"]):
        n = int(ds["n_points"].values[b])
        marks = [
            (
                int(ds[SPECIAL + "point"].values[i]),
                SpecialPoint(int(ds[SPECIAL + "kind"].values[i])).word,
                float(ds[SPECIAL + "parameter"].values[i]),
                float(special.values[i]),
            )
            for i in np.flatnonzero(ds[SPECIAL + "branch"].values == b)
        ]
        of = {k: ds[k].values[b, :n] for k in ("parameter", "n_unstable", "physical")}
        along = (of["parameter"], values.values[b, :n], of["n_unstable"], of["physical"])
        found.append(Curve(*along, marks=marks, colour=b if colour is None else colour))
    return found


def _between(ds: xr.Dataset, whole: xr.DataArray) -> xr.DataArray:
    """Values at special points of a variable that is not known there: those of the point before."""
    at = {"branch": ds[SPECIAL + "branch"], "point": ds[SPECIAL + "point"]}
    return whole.isel(at).transpose("special", ...)


def _place(whole: xr.DataArray, entry: str) -> tuple[int, ...]:
    """The indices of an entry, given by labels or numbers."""
    keys = [key.strip().strip("'\"") for key in entry.split(",")]
    dims = whole.dims[2:]
    found = []
    for dim, key in zip(dims, keys, strict=False):
        labels = [str(x) for x in whole[dim].values] if dim in whole.coords else []
        if key in labels:
            found.append(labels.index(key))
        elif key.isdecimal() and int(key) < whole.sizes[dim]:
            found.append(int(key))
    if len(found) != len(dims) or len(keys) != len(dims):
        rule = f"must name one entry of `{whole.name}`, over {dims}"
        raise ProblemError("show", rule, f"[{entry}]", "")
    return tuple(found)


def _word(whole: xr.DataArray, place: tuple[int, ...]) -> str:
    """An entry as people write it."""
    name = str(whole.name).replace("_", " ")
    dims = whole.dims[2:]
    words = [
        str(whole[d].values[i]) if d in whole.coords else str(i)
        for d, i in zip(dims, place, strict=True)
        if whole.sizes[d] > 1
    ]
    return f"{name}[{', '.join(words)}]" if words else name
