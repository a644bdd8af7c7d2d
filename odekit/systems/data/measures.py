"""Which units of a network on data answer when, and what they add to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import number, single
from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.dataset.variable import named
from odekit.problem.plain import problem_from_dict
from odekit.problem.system import Measured
from odekit.systems.data.activations import UNITS
from odekit.systems.data.initial import nodes
from odekit.systems.data.problem import DataProblem

if TYPE_CHECKING:
    import xarray as xr

NONE = "none"
JOIN = "+"


def context_share(
    ds: xr.Dataset, contexts: Any, least: Any = 0.25, task: str | None = None
) -> xr.DataArray:
    """How much of the answer comes from units that answer in which contexts, in the last row.

    A hidden unit answers in a context if its field is above 0 in more than a share of its samples.
    Units with one set of contexts are a pathway, gated on in these; its part of the answer f is
    Σ f·f_pathway / Σ |f|² over all samples, and all parts sum to 1 (Jarvis et al. 2025).

    Parameters
    ----------
    ds : Dataset
        A result of a `DataProblem` with one hidden layer.
    contexts : array_like, shape (samples,)
        The context of each sample: numbers or names.
    least : float
        Share of the samples of a context. Masks are not constant within a context, so that the
        shares depend on it: a smaller one counts units to more contexts.
    task : str, optional
        Needed if there are several.

    Returns
    -------
    DataArray, dims (…, subset)
        Over all sets of contexts, the smallest first; their names joined by "+", "none" for the
        empty one. The coordinate ``subset_size`` counts contexts.

    Raises
    ------
    ProblemError
        If the network has more hidden layers, or there is not one context for each sample.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> problem = ok.DataProblem(
    ...     weights={"W1": np.eye(2), "W2": [[1.0, 2.0]]},
    ...     tasks=ok.data.Samples(np.eye(2), [[1.0], [2.0]]),
    ...     phases=ok.Phase("main", duration=1, learning_rate=0.1))
    >>> share = ok.measures.context_share(ok.descend(problem), ["a", "b"])
    >>> dict(zip(share.subset.values.tolist(), share.values.round(2).tolist()))
    {'none': 0.0, 'a': 0.2, 'b': 0.8, 'a+b': 0.0}
    """
    import xarray as xr

    problem = _problem(ds)
    if len(problem.weights) != 2:
        rule, given = "must be of a network with one hidden layer", f"{len(problem.weights) - 1}"
        raise ProblemError("ds", rule, given, "")
    if task is None and len(problem.tasks) == 1:
        (task,) = problem.tasks
    if task not in problem.tasks:
        known = ", ".join(map(repr, problem.tasks))
        raise ProblemError("task", f"must be one of {known}", repr(task), "")
    x, labels = problem.tasks[task].inputs, np.asarray(contexts)
    if labels.shape != (len(x),):
        rule = f"must hold one context for each of {len(x)} samples"
        raise ProblemError("contexts", rule, f"shape {labels.shape}", "")
    kinds = list(dict.fromkeys(labels.tolist()))
    part = single(number, "least", least, "be in [0, 1)", lambda s: (s >= 0) & (s < 1))
    within = np.array([labels == kind for kind in kinds])
    g = UNITS[problem.activation].g
    subsets = [s for k in range(len(kinds) + 1) for s in combinations(range(len(kinds)), k)]

    def shares(first: Floats, second: Floats) -> Floats:
        fields = x @ first.T
        on = np.array([(fields[w] > 0).mean(axis=0) > part for w in within])
        answer, h = g(fields) @ second.T, g(fields)
        carried = np.sum(h * (answer @ second), axis=0) / np.sum(answer * answer)
        number = (2 ** np.arange(len(kinds))) @ on
        return np.array([carried[number == sum(2**i for i in s)].sum() for s in subsets])

    core = nodes(2)
    found = xr.apply_ufunc(
        shares,
        ds["last_W1"],
        ds["last_W2"],
        input_core_dims=[[core[1], core[0]], [core[2], core[1]]],
        output_core_dims=[["subset"]],
        vectorize=True,
    )
    names = [JOIN.join(str(kinds[i]) for i in s) or NONE for s in subsets]
    found = found.assign_coords(subset=names, subset_size=("subset", [len(s) for s in subsets]))
    return named(found, "context_share", "part of the answer by the contexts in which units answer")


def unit_imbalance(ds: xr.Dataset, problem: DataProblem) -> xr.Dataset:
    """Σ W_in² − Σ W_out² of every hidden unit, its drift and size, where rows hold the weights.

    Gradient flow conserves it for ReLU and linear units.
    """
    import xarray as xr

    found: dict[str, Any] = {}
    names, ends = list(problem.weights), nodes(len(problem.weights))
    if "weights" not in problem.kept or not UNITS[problem.activation].homogeneous:
        return xr.Dataset()
    for i, node in enumerate(ends[1:-1]):
        into = (ds[names[i]] ** 2).sum(ends[i], skipna=False)
        out = (ds[names[i + 1]] ** 2).sum(ends[i + 2], skipna=False)
        value, size = into - out, (into + out).max(node)
        text = f"imbalance of the units of {node}, sum W_in^2 - sum W_out^2"
        first = value.isel(time=0, drop=True)
        name = f"imbalance_{node}"
        found[name] = named(value, name, text)
        found[f"{name}_drift"] = named(value - first, name, f"{text}: change since the first row")
        found[f"{name}_size"] = named(size, name, f"{text}: size of its terms")
    return xr.Dataset(found)


def _problem(ds: xr.Dataset) -> DataProblem:
    problem = problem_from_dict(problem_of(ds))
    if not isinstance(problem, DataProblem):
        raise ProblemError("ds", "must be of a DataProblem", type(problem).__name__, "")
    return problem


MEASURES: Mapping[str, Measured] = {"layer_norm": Measured("norm of a layer", "$|W_l|$")}
"""What figures may show by name."""
