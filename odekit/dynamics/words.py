"""Fixed points in words, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.base.status import Convergence
from odekit.dataset.common import registry
from odekit.dynamics.result import ATTRIBUTE, OWN, VARIABLES

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

MOST_ENTRIES = 64
"""Entries of a variable that are printed."""
PLATEAU = "plateau"


def is_fixed_point(ds: xr.Dataset) -> bool:
    """Whether a dataset is one of fixed points."""
    return ATTRIBUTE in ds.attrs


def check(ds: xr.Dataset) -> list[str]:
    """One sentence for each variable of fixed points that is missing or of other dims."""
    found = []
    lead = ds["status"].dims if "status" in ds else ()
    for v in VARIABLES:
        if v.name == "smallest_eigenvalue" or "entry" in v.dims:
            continue
        if v.name not in ds.variables:
            found.append(f"`{v.name}` is missing")
        elif not v.coordinate and ds[v.name].dims != (*lead, *v.dims):
            found.append(f"`{v.name}` must have dimensions {(*lead, *v.dims)}")
    if "generalization_error" not in ds:
        found.append("`generalization_error` is missing")
    return found


def checked(ds: xr.Dataset) -> None:
    """Refuse a dataset of fixed points that lacks a part.

    Raises
    ------
    ProblemError
    """
    faults = check(ds)
    if faults:
        remedy = "Was it edited? Look for the fixed points again."
        raise ProblemError("ds", "must be a whole result of odekit", faults[0], remedy)


def blocks(ds: xr.Dataset, problem: AnyProblem | None) -> Iterator[tuple[str, Iterable[str]]]:
    """Heads, and what stands beside them, of a dataset of fixed points."""
    sweep = [str(d) for d in ds["status"].dims if d != PLATEAU]
    if sweep:
        yield "Fixed", _sweep(ds, sweep)
        return
    if PLATEAU not in ds["status"].dims:
        yield from _one(ds, problem)
        return
    for number in range(ds.sizes[PLATEAU]):
        one = ds.isel({PLATEAU: number})
        yield f"Plateau {number}", _passing(one)
        yield from _one(one, problem)


def _one(ds: xr.Dataset, problem: AnyProblem | None) -> Iterator[tuple[str, Iterable[str]]]:
    yield "Search", [_search(ds)]
    if int(ds["status"]) != Convergence.CONVERGED:
        return
    yield "Name", [_name(ds)]
    yield "State", _state(ds, problem)
    yield (
        "Error",
        [f"{t!s}: {float(ds.generalization_error.sel(task=t)):.8g}" for t in ds.task.values],
    )
    yield "Stability", _stability(ds)
    yield "Rates", ["\n".join(_rates(ds))]


def _passing(ds: xr.Dataset) -> Iterator[str]:
    end = float(ds["end"])
    until = f"to {end:.6g}" if np.isfinite(end) else "to the end of the phase"
    yield f"from t = {float(ds['start']):.6g} {until}, error {float(ds['level']):.6g}"
    predicted, happened = float(ds["escape_predicted"]), float(ds["escape_happened"])
    if np.isfinite(predicted):
        said = f"{happened:.6g}" if np.isfinite(happened) else "not within the phase"
        away = f"{float(ds['deviation']):.2g} away at t = {float(ds['start_time']):.6g}"
        yield f"escape: predicted at t = {predicted:.6g} ({away}), happened at {said}"


def _search(ds: xr.Dataset) -> str:
    status = Convergence(int(ds["status"]))
    if status is Convergence.NO_START:
        return f"{status.word}: {status.meaning}. {status.remedy}"
    work = f"{int(ds['n_steps'])} steps, |dy/dt| {float(ds['residual']):.1e}"
    moved = f"{float(ds['moved']):.3g} from where it began"
    begin = float(ds["start_time"])
    row = f", the row at t = {begin:.6g}" if np.isfinite(begin) else ""
    return f"{status.word}: {status.meaning}; {work}, {moved}{row}. {status.remedy}".rstrip()


def _name(ds: xr.Dataset) -> str:
    name = str(ds["name"].item()) or "without a name"
    if "smallest_eigenvalue" not in ds:
        return name
    lowest = f"smallest eigenvalue of the joint covariance {float(ds['smallest_eigenvalue']):.2g}"
    real = "" if int(ds["physical"]) else "not physical: no vectors have such overlaps; "
    return f"{name}; {real}{lowest} of the largest"


def _state(ds: xr.Dataset, problem: AnyProblem | None) -> Iterator[str]:
    if problem is None:
        return
    common = registry([])
    for name, v in problem.system.variables(problem.outline).items():
        moves = "time" in v.dims and name not in common and name not in OWN
        if moves and name in ds and "task" not in ds[name].dims and ds[name].size <= MOST_ENTRIES:
            values = np.array2string(ds[name].values, precision=8, suppress_small=True)
            yield f"{name} {' '.join(values.split())}"


def _stability(ds: xr.Dataset) -> Iterator[str]:
    index, n = int(ds["index"]), ds.sizes["direction"]
    yield f"index {index}: {index} of {n} directions grow" if index else "index 0: nothing grows"
    zeros = [
        f"{int(c)} {kind!s}"
        for kind, c in zip(ds.zero_kind.values, ds.n_zero.values, strict=True)
        if c
    ]
    if zeros:
        yield f"{int(ds.n_zero.sum())} eigenvalues vanish: {', '.join(zeros)}"


def _rates(ds: xr.Dataset) -> Iterator[str]:
    """Eigenvalues, equal ones once, with the parts of the state that they move."""
    yield f"{'eigenvalue':>14} {'time':>10}  part of the state"
    values = ds.eigenvalue_real.values + 1j * ds.eigenvalue_imag.values
    zero = np.abs(values) <= 1e-5 * np.abs(values).max(initial=0.0)
    begin = 0
    while begin < len(values):
        end = begin + 1
        while end < len(values) and _alike(values, zero, begin, end):
            end += 1
        said = [] if zero[begin] else [_parts(ds, begin, end)]
        said += [f"({end - begin} times)"] if end > begin + 1 else []
        yield f"{_number(values[begin], zero[begin])}  {'  '.join(said)}".rstrip()
        begin = end


def _parts(ds: xr.Dataset, begin: int, end: int) -> str:
    """The parts of the state that one eigenvalue moves; of equal ones, that their space does."""
    weight = ds["weight"].values[begin:end].mean(axis=0)
    if "eigenvector_real" in ds and end > begin + 1:
        own = slice(begin, end)
        vectors = ds["eigenvector_real"].values[own] + 1j * ds["eigenvector_imag"].values[own]
        squares = (np.abs(np.linalg.qr(vectors.T)[0]) ** 2).mean(axis=1)
        names = ds["part"].values.tolist()
        place = [_part_of(str(e), names) for e in ds["entry"].values]
        weight = np.bincount(place, squares, len(names))
    parts = sorted(zip(weight, ds["part"].values, strict=True), reverse=True)
    return ", ".join(f"{p!s} {w:.2f}" for w, p in parts if w >= 0.005)


def _part_of(entry: str, names: list[str]) -> int:
    """Which part an entry of the state belongs to: ``readout[main, 0]`` to ``readout[main]``."""
    name, _, rest = entry.partition("[")
    whole = f"{name}[{rest.rpartition(', ')[0]}]"
    return names.index(name if name in names else whole)


def _alike(values: Any, zero: Any, i: int, j: int) -> bool:
    if zero[i] or zero[j]:
        return bool(zero[i] and zero[j])
    return bool(abs(values[i] - values[j]) <= 1e-6 * abs(values[i]))


def _number(value: complex, zero: bool) -> str:
    if zero:
        return f"{'0':>14} {'':>10}"
    if value.imag:
        return f"{value.real:+.4g}{value.imag:+.4g}i".rjust(14) + f" {1 / abs(value):>10.4g}"
    return f"{value.real:>+14.6g} {1 / abs(value.real):>10.4g}"


def _sweep(ds: xr.Dataset, sweep: list[str]) -> Iterator[str]:
    """How many points have each status, name and index."""
    status = ds["status"].values
    status = status[np.isfinite(ds["start"].values)] if PLATEAU in ds.dims else status.ravel()
    yield f"{status.size} searches over {', '.join(f'{d} ({ds.sizes[d]})' for d in sweep)}"
    for code, count in zip(*np.unique(status, return_counts=True), strict=True):
        one = Convergence(int(code))
        yield f"{count} {one.word}: {one.meaning}. {one.remedy}".rstrip()
    good: Any = ds["status"].values == Convergence.CONVERGED
    names, index = ds["name"].values[good], ds["index"].values[good]
    errors = ds["generalization_error"].values[good]
    for name in np.unique(names):
        own = names == name
        error = errors[own]
        indices = ", ".join(str(i) for i in np.unique(index[own]))
        span = f"{np.nanmin(error):.4g} to {np.nanmax(error):.4g}"
        yield f"{own.sum()} {name or 'without a name'}: index {indices}, errors {span}"
    unphysical = int((ds["physical"].values[good] == 0).sum())
    if unphysical:
        yield f"{unphysical} not physical: no vectors have such overlaps"
