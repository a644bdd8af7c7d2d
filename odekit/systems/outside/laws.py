"""What must hold in any one result of a declared system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.dataset.variable import named
from odekit.problem.axes import at
from odekit.problem.system import Finding
from odekit.systems.outside.probe import Probe
from odekit.systems.outside.rules import is_data

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.outside.problem import DeclaredProblem

ROUNDING = 1e-11
NOT_HERE = "not looked at: the functions are not declared here"
MOST_RUNS = 64
"""Most trajectories of a sweep that are looked at one by one, row by row in plain Python."""


def laws(ds: xr.Dataset, problem: DeclaredProblem, tolerance: float) -> Iterator[Finding]:
    """Check the declared laws, and what follows from the functions where these are here."""
    own = problem.declaration
    reached = ds.time <= ds.t_last
    bad = sum(int((~np.isfinite(ds[v]) & reached).sum()) for v in own.state)
    yield Finding("values are finite", bad == 0, f"{bad} NaN or infinite")
    for name, law in own.laws.items():
        if is_data(law) and law[0] != "conserved":
            yield _shape_law(ds, name, law, tolerance)
        elif law is None:
            yield Finding(name, True, NOT_HERE)
    found = conserved(ds, problem)
    for name in _conserved_laws(problem):
        base = _plain_name(name)
        size = np.maximum(found[f"{base}_size"], np.finfo(float).tiny)
        off = float(np.nanmax(abs(found[f"{base}_drift"]) / size, initial=0.0))
        yield Finding(name, off <= tolerance, f"largest drift {off:.3g}, allowed {tolerance:.1g}")
    if own.has_code:
        yield from _from_functions(ds, problem)
    else:
        yield Finding("errors follow from the state", True, NOT_HERE)


def _shape_law(ds: xr.Dataset, name: str, law: Any, tolerance: float) -> Finding:
    kind, variable, *bounds = law
    values = ds[variable].transpose(..., *ds[variable].dims[-2:]).values
    if kind == "within":
        off = max(bounds[0] - np.nanmin(values), np.nanmax(values) - bounds[1], 0.0)
        return Finding(name, bool(off <= tolerance), f"beyond its bounds by {off:.3g}")
    size = max(float(np.nanmax(np.abs(values))), np.finfo(float).tiny)
    if kind == "symmetric":
        off = float(np.nanmax(np.abs(values - np.swapaxes(values, -1, -2)))) / size
        return Finding(name, off <= tolerance, f"differs from its transpose by {off:.3g}")
    finite = values[np.isfinite(values).all(axis=(-2, -1))]
    least = float(np.linalg.eigvalsh(finite).min()) / size if finite.size else 0.0
    return Finding(name, least >= -tolerance, f"least eigenvalue {least:.3g} of the largest entry")


def _conserved_laws(problem: DeclaredProblem) -> list[str]:
    own = problem.declaration
    return [
        name
        for name, law in own.laws.items()
        if (law[0] == "conserved" if is_data(law) else callable(law))
    ]


def _plain_name(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "law"


def conserved(ds: xr.Dataset, problem: DeclaredProblem) -> xr.Dataset:
    """Quantities that are declared to be conserved, their drifts and the sizes of their terms.

    A function is evaluated for every run in plain Python.
    """
    import xarray as xr

    found, first = {}, {"time": 0}
    for name in _conserved_laws(problem):
        law, base = problem.declaration.laws[name], _plain_name(name)
        if callable(law):
            whole = _evaluated(ds, problem, law)
            size = abs(whole).max("time")
        else:
            parts = [w * ds[v].sum(problem.declaration.state[v]) for v, w in law[1].items()]
            whole = sum(parts[1:], parts[0])
            size = sum(abs(part).max("time") for part in parts)
        start = whole.isel(first).drop_vars("time", errors="ignore")
        for suffix, array, more in (
            ("", whole, ""),
            ("_drift", whole - start, ": change since the first row"),
            ("_size", size, ": size of its terms"),
        ):
            found[base + suffix] = named(array, base + suffix, name + more)
    return xr.Dataset(found)


def _evaluated(ds: xr.Dataset, problem: DeclaredProblem, law: Any) -> Any:
    """A law of every row, with the parameters of the first task."""
    import xarray as xr

    sweep = [str(d) for d in ds.status.dims]
    shape = tuple(ds.sizes[d] for d in sweep)
    values = np.full((*shape, ds.sizes["time"]), np.nan)
    for place, probe, rows in _runs(ds, problem, sweep, len(list(np.ndindex(*shape)))):
        p = probe.parameters(next(iter(problem.tasks)), None, (np.nan, np.nan))
        with np.errstate(all="ignore"):
            values[place] = [law(*probe._records(y, p)) for y in rows]
    return xr.DataArray(values, dims=(*sweep, "time"), coords={"time": ds.time})


def _runs(ds: xr.Dataset, problem: DeclaredProblem, sweep: list[str], most: int) -> Iterator[Any]:
    """Runs with their functions and the states of all rows; of many some, evenly spread."""
    places = list(np.ndindex(*(ds.sizes[d] for d in sweep)))
    chosen = np.unique(np.linspace(0, len(places) - 1, most).astype(int))
    for place in (places[i] for i in chosen):
        index = dict(zip(sweep, place, strict=True))
        one, plain = ds.isel(index), at(problem, index)
        blocks = [one[v].transpose("time", ...).values for v in problem.declaration.state]
        flat = [block.reshape(len(block), -1) for block in blocks]
        yield place, Probe(plain), np.concatenate(flat, axis=1)


def _from_functions(ds: xr.Dataset, problem: DeclaredProblem) -> Iterator[Finding]:
    off, begin = 0.0, 0.0
    sweep = [str(d) for d in ds.status.dims]
    for place, probe, rows in _runs(ds, problem, sweep, MOST_RUNS):
        index = dict(zip(sweep, place, strict=True))
        written = ds.generalization_error.isel(index).transpose("time", "task").values
        for i, task in enumerate(problem.tasks):
            p = probe.parameters(task, None, (np.nan, np.nan))
            again = np.array([probe.error(y, p) for y in rows])
            off = max(off, _largest(again - written[:, i], written[:, i]))
        if ds.time.values[0] == 0.0:
            begin = max(begin, _largest(rows[0] - probe.start, probe.start))
    said = f"largest difference {off:.3g}"
    yield Finding("errors follow from the state", off <= ROUNDING, said)
    yield Finding("rows begin at the problem's state", begin <= ROUNDING, f"differ by {begin:.3g}")


def _largest(difference: Floats, of: Floats) -> float:
    """Largest difference, relative, of rows that were reached."""
    found = np.abs(difference)[np.isfinite(of)]
    size = np.nanmax(np.abs(of), initial=np.finfo(float).tiny)
    worst = float(found.max(initial=0.0) / size)
    return worst if np.isfinite(worst) else np.inf
