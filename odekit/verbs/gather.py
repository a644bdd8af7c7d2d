"""Runs of problems of different sizes, side by side in one dataset, without padding."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr

RUN = "run"
"""Dim of runs whose keys fill no grid."""


def gather(
    runs: Mapping[Any, xr.Dataset],
    dims: str | Sequence[str],
    measures: Mapping[str, str | Callable[[xr.Dataset], xr.DataArray]] | None = None,
) -> xr.Dataset:
    """Results of problems that differ in size, such as K and M, as one dataset.

    Arrays over student units of different numbers do not fit together, and nothing is padded: what
    has the same shape in all runs is kept (errors, statuses, ends of phases), and what is asked of
    each run by `measures`.

    Parameters
    ----------
    runs : mapping
        Results of `odekit.solve` or `odekit.simulate` by key: a number or a text, or, where `dims`
        are several, a tuple of them.
    dims : str or sequence of str
        What the keys are: names of new dims, which come first.
    measures : mapping of str to callable or str, optional
        More variables by name: a function of a result, or a measure as figures name it, such as
        ``"contribution_entropy.final"``.

    Returns
    -------
    Dataset
        With a dim for each of `dims`, their values as coordinates. Where there is not a run for
        every combination of them, as for K ≥ M, there is one dim ``run`` with these coordinates in
        their place: ``ds.set_index(run=["K", "M"])`` makes an index of them.

    Raises
    ------
    ProblemError
        If keys do not fit `dims`, the runs have not the same rows and tasks, or a measure has a
        dim that differs between them.

    Examples
    --------
    >>> import odekit as ok
    >>> def problem(K):
    ...     return ok.Problem(
    ...         state=ok.OrderParameters.draw(
    ...             student=K, teacher=1, weight_std=0.1, input_dim=1000, seed=0),
    ...         heads={"main": [1.0] * K},
    ...         tasks={"main": ok.Task(readout=[1.0])},
    ...         phases=[ok.Phase("main", duration=5.0, learning_rate=0.1)],
    ...     )
    >>> runs = {K: ok.solve(problem(K), t_eval=[0.0, 5.0]) for K in (1, 2, 3)}
    >>> found = ok.gather(runs, "K", {"norms": lambda run: run.R.max(["student", "teacher"])})
    >>> found.generalization_error.dims, found.norms.dims
    (('K', 'time', 'task'), ('K', 'time'))
    """
    import xarray as xr

    names = [dims] if isinstance(dims, str) else list(dims)
    keys = _keys(runs, names)
    every = list(runs.values())
    own = _differing(every)
    for dim in ("time", "task"):
        if dim in own:
            remedy = "Give all of them the same `t_eval`." if dim == "time" else ""
            raise ProblemError("runs", f"must have the same `{dim}`", "others", remedy)
    parts = [_part(ds, own, measures or {}) for ds in every]
    shared = set.intersection(*(set(p.data_vars) for p in parts))
    parts = [
        p[[str(v) for v in parts[0].data_vars if v in shared]].drop_attrs(deep=False) for p in parts
    ]
    whole = xr.concat(parts, RUN, coords="minimal", compat="override", join="override")
    return _unstacked(whole, names, keys)


def _keys(runs: Any, names: list[str]) -> list[tuple[Any, ...]]:
    """The keys as tuples, checked."""
    if not isinstance(runs, Mapping) or not runs:
        raise ProblemError("runs", "must be results by key", repr(runs)[:80])
    keys = [key if isinstance(key, tuple) else (key,) for key in runs]
    wrong = [key for key in keys if len(key) != len(names)]
    if wrong:
        rule = f"must be keys of {len(names)} entries, for {', '.join(names)}"
        raise ProblemError("runs", rule, repr(wrong[0]))
    taken = {str(d) for ds in runs.values() for d in (*ds.dims, *ds.variables)}
    clash = [name for name in names if name in taken]
    if clash:
        raise ProblemError("dims", "must not be names that the runs have", repr(clash[0]))
    return keys


def _differing(every: Sequence[xr.Dataset]) -> set[str]:
    """Dims that are not the same in all runs: of another length, or with other labels."""
    found = set()
    for dim in {str(d) for ds in every for d in ds.dims}:
        labels = [ds[dim].values if dim in ds.dims else None for ds in every]
        first = labels[0]
        if first is None or any(x is None or not np.array_equal(x, first) for x in labels[1:]):
            found.add(dim)
    return found


def _part(ds: xr.Dataset, own: set[str], measures: Mapping[str, Any]) -> xr.Dataset:
    """What of one run fits beside the others."""
    from odekit.measures.named import evaluate

    kept = ds.drop_dims([d for d in own if d in ds.dims])
    for name, measure in measures.items():
        value = evaluate(ds, measure) if isinstance(measure, str) else measure(ds)
        left = [str(d) for d in value.dims if d in own]
        if left:
            rule = "must leave no dim that differs between the runs"
            raise ProblemError(f"measures[{name!r}]", rule, ", ".join(left), "Reduce it over them.")
        kept[name] = value
    return kept


def _unstacked(whole: xr.Dataset, names: list[str], keys: list[tuple[Any, ...]]) -> xr.Dataset:
    """The runs along the dims of their keys, where these fill a grid."""
    columns = [list(dict.fromkeys(column)) for column in zip(*keys, strict=True)]
    grid = list(itertools.product(*columns))
    if len(grid) != len(keys):
        labels = zip(names, zip(*keys, strict=True), strict=True)
        return whole.assign_coords({name: (RUN, list(column)) for name, column in labels})
    whole = whole.isel({RUN: [keys.index(key) for key in grid]})
    shape = {name: (name, column) for name, column in zip(names, columns, strict=True)}
    if len(names) == 1:
        return whole.rename({RUN: names[0]}).assign_coords(shape)
    sizes = [len(column) for column in columns]
    split = {
        name: ((*names, *v.dims[1:]), v.values.reshape(*sizes, *v.shape[1:]), v.attrs)
        for name, v in whole.transpose(RUN, ...).data_vars.items()
    }
    return whole.drop_vars(list(split)).assign(split).assign_coords(shape)
