"""A result in words, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import printable
from odekit.base.status import Outcome, Status
from odekit.base.text import carried
from odekit.control import optimum
from odekit.control.optimum import is_optimum
from odekit.dataset.assemble import system_in
from odekit.dataset.ended import how_it_ended
from odekit.dataset.wholeness import fitting_problem, whole
from odekit.dynamics import branchwords
from odekit.dynamics.branchset import is_branches
from odekit.dynamics.words import blocks as fixed_blocks
from odekit.dynamics.words import checked, is_fixed_point
from odekit.integrate.options import tolerance_of
from odekit.problem.base import AnyProblem
from odekit.problem.words import phase_words

if TYPE_CHECKING:
    import xarray as xr

WIDTH = 92
INDENT = 11


def summary(ds: xr.Dataset) -> str:
    """Describe a result: the problem, its phases, the last values and how it ended.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve`, `odekit.fixed_point`, `odekit.plateaus`,
        `odekit.continuation` or `odekit.open` returned, or the dataset of `odekit.optimise`.

    Returns
    -------
    str
        Some 10 to 30 lines.

    Raises
    ------
    ProblemError
        If variables are missing or changed, or do not fit the problem.
    """
    if is_fixed_point(ds):
        return _text(ds, _of_fixed_points(ds))
    if is_branches(ds):
        return _text(ds, _of_branches(ds))
    if is_optimum(ds):
        return _text(ds, _of_search(ds))
    blocks: list[tuple[str, Iterable[str]]] = []
    problem = whole(ds)
    last: Iterable[str] = ()
    if problem is None:
        blocks.append(("Problem", ["of a system of equations that is not known here"]))
    else:
        blocks.append(("Problem", problem.system.words(problem)))
        blocks.append(("Phases", _phases(problem, ds)))
        last = () if _sweep(ds) else problem.system.final_words(ds)
    sweep = _sweep(ds)
    if sweep:
        blocks.append(("Sweep", [f"{d}: {ds.sizes[d]} values{_range(ds, d)}" for d in sweep]))
        blocks.append(("Final", _finals(ds)))
    else:
        blocks.append(("Final", [*_final(ds), *last]))
    blocks.append(("Status", _status(ds)))
    return _text(ds, blocks)


def ended_early(ds: xr.Dataset) -> str:
    """What is to be known of what did not reach its end; empty where all did."""
    if is_optimum(ds):
        return "the search was stopped: the best so far" if optimum.is_stopped(ds) else ""
    return branchwords.how_it_ended(ds) if is_branches(ds) else how_it_ended(ds)


def _text(ds: xr.Dataset, blocks: Iterable[tuple[str, Iterable[str]]]) -> str:
    title = [str(ds.attrs["title"])] if ds.attrs.get("title") else []
    lines = [*title, *(line for name, body in blocks for line in _block(name, body))]
    return printable("\n".join(lines))


def _of_fixed_points(ds: xr.Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    """The problem, the phases, and the fixed points."""
    checked(ds)
    problem = None if system_in(ds) is None else fitting_problem(ds)
    if problem is not None:
        yield "Problem", problem.system.words(problem)
        yield "Phases", _phases(problem, ds)
    yield from fixed_blocks(ds, problem)


def _of_branches(ds: xr.Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    """The problem, and its branches of fixed points."""
    branchwords.checked(ds)
    if system_in(ds) is not None:
        problem = fitting_problem(ds)
        yield "Problem", problem.system.words(problem)
        yield "Phases", _phases(problem, ds)
    yield from branchwords.blocks(ds)


def _of_search(ds: xr.Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    """The problem, and the schedules that were found for it."""
    optimum.checked(ds)
    if system_in(ds) is not None:
        yield "Problem", fitting_problem(ds).system.words(fitting_problem(ds))
    yield from optimum.blocks(ds)


def _block(name: str, body: Iterable[str]) -> Iterator[str]:
    head = name
    for text in body:
        lines = text.splitlines() if "\n" in text else textwrap.wrap(text, WIDTH - INDENT)
        for line in lines:
            yield f"{head:<{INDENT}}{line}".rstrip()
            head = ""


def _phases(problem: AnyProblem, ds: xr.Dataset) -> Iterator[str]:
    single = "phase_outcome" in ds and ds.phase_outcome.ndim == 1
    for i, phase in enumerate(problem.phases):
        text = f"{i}: {phase_words(phase)}"
        if single:
            outcome = Outcome(int(ds.phase_outcome[i]))
            text += f"; {outcome.meaning}"
            if np.isfinite(ds.phase_end[i]):
                text += f", at t = {float(ds.phase_end[i]):.6g}"
            if outcome is Outcome.THRESHOLD_MISSED:
                text += f". {outcome.remedy}"
        yield text


def _final(ds: xr.Dataset) -> Iterator[str]:
    last = ds.isel(time=-1)
    yield f"t = {float(last.time):.6g}, {ds.sizes['time']} rows"
    tolerance = tolerance_of(ds.attrs)
    for task in ds.task.values:
        error = carried(float(last.generalization_error.sel(task=task)), tolerance)
        first = float(ds.generalization_error[0].sel(task=task))
        yield f"generalization error of {str(task)!r}: {error} (at first {first:.3g})"


def _finals(ds: xr.Dataset) -> Iterator[str]:
    """Last errors of a sweep, as far as its runs came."""
    import xarray as xr

    for task in ds.task.values:
        errors = ds.generalization_error.sel(task=task)
        last = xr.apply_ufunc(
            _last, errors, input_core_dims=[["time"]], dask="parallelized", output_dtypes=[float]
        ).values
        good, tolerance = last[np.isfinite(last)], tolerance_of(ds.attrs)
        ends = [carried(float(x), tolerance) for x in (good.min(), good.max())] if good.size else []
        said = " to ".join(f"{x}" for x in ends) or "nowhere finite"
        yield f"generalization error of {str(task)!r}: {said}"


def _last(values: Any) -> Any:
    """Last finite entry along the last axis; NaN where there is none."""
    back = np.isfinite(values[..., ::-1]).argmax(axis=-1)
    rows = values.shape[-1] - 1 - back
    return np.take_along_axis(values, rows[..., None], axis=-1)[..., 0]


def _status(ds: xr.Dataset) -> Iterator[str]:
    codes, counts = np.unique(np.asarray(ds.status), return_counts=True)
    total = int(counts.sum())
    for code, count in zip(codes, counts, strict=True):
        status = Status(int(code))
        share = "" if total == 1 else f"{count} of {total} runs "
        where = f" (t = {np.asarray(ds.t_last).item():.6g})" if total == 1 and status else ""
        yield f"{share}{status.word}: {status.meaning}{where}. {status.remedy}".rstrip()
    work = f"{int(np.sum(ds.n_steps))} steps"
    if "odekit_simulation" in ds.attrs:
        work += " of SGD"
    else:
        work += f", {int(np.sum(ds.n_rhs))} right-hand sides"
    if "n_jac" in ds:
        work += f", {int(np.sum(ds.n_jac))} Jacobians"
    if "method" in ds:
        used = dict.fromkeys(np.ravel(ds.method.values).tolist())
        changes = [m.split(" -> ") for m in used if m != "none"]
        work += ", " + ", ".join(dict.fromkeys(name for names in changes for name in names))
    yield work


def _sweep(ds: xr.Dataset) -> list[str]:
    return [str(d) for d in ds.status.dims]


def _range(ds: xr.Dataset, dim: str) -> str:
    if dim not in ds.coords or ds[dim].dtype.kind not in "iuf":
        return ""
    return f" from {float(ds[dim].min()):g} to {float(ds[dim].max()):g}"
