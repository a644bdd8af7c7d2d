"""A result in words, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base import AnyProblem
from odekit.checks import is_labelled
from odekit.errors import ProblemError
from odekit.linear import LinearProblem
from odekit.problem import Phase, Problem
from odekit.provenance import problem_of
from odekit.schedule import Schedule
from odekit.status import Outcome, Status

if TYPE_CHECKING:
    import xarray as xr

WIDTH = 92
INDENT = 11
MAX_UNITS = 6
"""Largest matrix that is printed entry by entry."""


def summary(ds: xr.Dataset) -> str:
    """Describe a result: the problem, its phases, the last values and how it ended.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve` or `odekit.open` returned.

    Returns
    -------
    str
        Some 10 to 30 lines.
    """
    blocks: list[tuple[str, Iterable[str]]] = []
    try:
        problem = Problem.from_dict(problem_of(ds))
    except (ProblemError, KeyError, TypeError) as error:
        blocks.append(("Problem", [f"unknown: {error}"]))
    else:
        blocks.append(("Problem", _problem(problem)))
        blocks.append(("Phases", _phases(problem, ds)))
    sweep = _sweep(ds)
    if sweep:
        blocks.append(("Sweep", [f"{d}: {ds.sizes[d]} values{_range(ds, d)}" for d in sweep]))
        blocks.append(("Final", _finals(ds)))
    else:
        blocks.append(("Final", _final(ds)))
    blocks.append(("Status", _status(ds)))
    title = [str(ds.attrs["title"])] if ds.attrs.get("title") else []
    return "\n".join([*title, *(line for name, body in blocks for line in _block(name, body))])


def failed(ds: xr.Dataset) -> bool:
    """Whether any trajectory of a result ended before its time."""
    return bool(np.any(np.asarray(ds.status) != Status.COMPLETED))


def _block(name: str, body: Iterable[str]) -> Iterator[str]:
    head = name
    for text in body:
        lines = text.splitlines() if "\n" in text else textwrap.wrap(text, WIDTH - INDENT)
        for line in lines:
            yield f"{head:<{INDENT}}{line}".rstrip()
            head = ""


def _problem(problem: AnyProblem) -> Iterator[str]:
    if isinstance(problem, LinearProblem):
        yield from _network(problem)
    elif isinstance(problem, Problem):
        yield from _committee(problem)


def _network(problem: LinearProblem) -> Iterator[str]:
    network = problem.network
    nodes = ", ".join(f"{name} ({size})" for name, size in network.nodes.items())
    yield f"linear network of {len(network.edges)} edges between {nodes}"
    for path, steps in list(network.paths.items())[:MAX_UNITS]:
        start, end = network.ends(path)
        yield f"path {path!r}: {start} -> {' '.join(steps)} -> {end}"
    if len(network.paths) > MAX_UNITS:
        yield f"and {len(network.paths) - MAX_UNITS} paths more"
    for name, task in problem.tasks.items():
        yield f"task {name!r}: E|y|^2 {_say(task.yy)}"


def _committee(problem: Problem) -> Iterator[str]:
    K, P = problem.state.student, problem.state.teacher
    yield (
        f"{problem.activation}, K = {K} student unit{'s' * (K > 1)}, "
        f"P = {P} fixed vector{'s' * (P > 1)}"
    )
    for name, task in problem.tasks.items():
        noise = "" if np.all(np.asarray(task.noise_std) == 0) else f", noise {_say(task.noise_std)}"
        head = "" if problem.head_of(name) == name else f", head {problem.head_of(name)!r}"
        yield f"task {name!r}: readout {_say(task.readout)}{noise}{head}"


def _phases(problem: AnyProblem, ds: xr.Dataset) -> Iterator[str]:
    single = "phase_outcome" in ds and ds.phase_outcome.ndim == 1
    for i, phase in enumerate(problem.phases):
        text = f"{i}: {_phase(phase)}"
        if single:
            outcome = Outcome(int(ds.phase_outcome[i]))
            text += f"; {outcome.meaning}"
            if np.isfinite(ds.phase_end[i]):
                text += f", at t = {float(ds.phase_end[i]):.6g}"
            if outcome is Outcome.THRESHOLD_MISSED:
                text += f". {outcome.remedy}"
        yield text


def _phase(phase: Phase) -> str:
    tasks = phase.mixture
    names = [n if len(tasks) == 1 else f"{_say(p)} {n}" for n, p in tasks.items()]
    words = [" + ".join(names), f"for {_say(phase.duration)}", f"eta {_say(phase.learning_rate)}"]
    if isinstance(phase.readout_learning_rate, Schedule) or np.any(phase.readout_learning_rate):
        words.append(f"readout eta {_say(phase.readout_learning_rate)}")
    words += ["gradient flow"] if phase.gradient_flow else []
    words += [f"batch {phase.batch_size}"] if phase.batch_size != 1 else []
    for name in ("weight_decay", "readout_weight_decay"):
        value = getattr(phase, name)
        words += [f"{name.replace('_', ' ')} {_say(value)}"] if np.any(value) else []
    limits = [f"{n} <= {_say(v)}" for n, v in phase.thresholds.items()]
    words += [f"until {', '.join(limits)}"] if limits else []
    if phase.frozen is not None and any(phase.frozen):
        words.append(f"frozen units {', '.join(str(k) for k, f in enumerate(phase.frozen) if f)}")
    if phase.consolidation is not None:
        c = phase.consolidation
        words.append(f"{c.kind} consolidation of strength {_say(c.strength)}")
    words += [f"head {b} copied from {a}" for b, a in (phase.copy_heads or {}).items()]
    return ", ".join(words)


def _final(ds: xr.Dataset) -> Iterator[str]:
    last = ds.isel(time=-1)
    yield f"t = {float(last.time):.6g}, {ds.sizes['time']} rows"
    for task in ds.task.values:
        error = float(last.generalization_error.sel(task=task))
        first = float(ds.generalization_error[0].sel(task=task))
        yield f"generalization error of {str(task)!r}: {error:.6g} (at first {first:.3g})"
    if "mode_strength" in ds:
        for path in ds.path.values:
            learnt, there = (
                x.sel(path=path)[0].values for x in (last.mode_strength, ds.target_strength)
            )
            yield f"modes along {str(path)!r}: {_say(learnt)} of {_say(there)}"
        return
    for name in ("R", "Q"):
        yield from _matrix(name, last[name].values)
    for head in ds["head"].values:
        yield f"head {str(head)!r}: {_say(last.readout.sel(head=head).values)}"


def _finals(ds: xr.Dataset) -> Iterator[str]:
    """Last errors of a sweep, as far as its runs came."""
    import xarray as xr

    for task in ds.task.values:
        errors = ds.generalization_error.sel(task=task)
        last = xr.apply_ufunc(
            _last, errors, input_core_dims=[["time"]], dask="parallelized", output_dtypes=[float]
        ).values
        good = last[np.isfinite(last)]
        said = _extent(good) if good.size else "nowhere finite"
        yield f"generalization error of {str(task)!r}: {said}"


def _last(values: Any) -> Any:
    """Last finite entry along the last axis; NaN where there is none."""
    back = np.isfinite(values[..., ::-1]).argmax(axis=-1)
    rows = values.shape[-1] - 1 - back
    return np.take_along_axis(values, rows[..., None], axis=-1)[..., 0]


def _matrix(name: str, values: Any) -> Iterator[str]:
    if max(values.shape) > MAX_UNITS:
        yield f"{name}: {values.shape[0]} x {values.shape[1]}, {_extent(values)}"
        return
    tiny = 1e-9 * np.abs(values).max(initial=0.0)
    rows = ["  ".join(f"{0.0 if abs(x) < tiny else x:10.4g}" for x in row) for row in values]
    yield "\n".join(f"{name if i == 0 else '':<2}{row}" for i, row in enumerate(rows))


def _status(ds: xr.Dataset) -> Iterator[str]:
    codes, counts = np.unique(np.asarray(ds.status), return_counts=True)
    total = int(counts.sum())
    for code, count in zip(codes, counts, strict=True):
        status = Status(int(code))
        share = "" if total == 1 else f"{count} of {total} runs "
        where = f" (t = {float(ds.t_last):.6g})" if total == 1 and status else ""
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


def _say(value: Any) -> str:
    """A value of the problem in a few characters."""
    if isinstance(value, Schedule):
        return f"from {value.values[0]:g} to {value.values[-1]:g}"
    if is_labelled(value):
        swept = [str(d) for d in value.dims if d not in ("student", "teacher")]
        return f"{_extent(value.values)} over {', '.join(swept)}" if swept else _say(value.values)
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return f"{float(array):g}"
    if array.size > MAX_UNITS:
        return f"of {array.size}, {_extent(array)}"
    return "(" + ", ".join(f"{x:.4g}" for x in array) + ")"


def _extent(values: Any) -> str:
    return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}"


def _sweep(ds: xr.Dataset) -> list[str]:
    return [str(d) for d in ds.status.dims]


def _range(ds: xr.Dataset, dim: str) -> str:
    if dim not in ds.coords or ds[dim].dtype.kind not in "iuf":
        return ""
    return f" from {float(ds[dim].min()):g} to {float(ds[dim].max()):g}"
