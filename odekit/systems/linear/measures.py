"""Measures of linear networks: how units share the modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.problem.system import Measured
from odekit.systems.linear.kernel import kernel_distance
from odekit.systems.linear.result import problem_in

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.linear import LinearProblem


def mode_share(ds: xr.Dataset, node: str | None = None) -> xr.DataArray:
    """What each hidden unit carries of each mode: m_hα = (u_αᵀ W_above)_h (W_below v_α)_h.

    Parameters
    ----------
    ds : Dataset
        A result of a `LinearProblem`.
    node : str, optional
        A hidden layer; needed if there are several.

    Returns
    -------
    DataArray, dims (…, time, task, path, node, mode)
        Over the units its sum is `mode_strength`. NaN for paths that do not pass the node.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> net = ok.linear.deep([2, 2, 2])
    >>> problem = ok.LinearProblem(net, {"W1": np.diag([1.0, 0.5]), "W2": np.eye(2)},
    ...     ok.linear.Correlations(yx=[[2.0, 0.0], [0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]),
    ...     ok.Phase("main", duration=1.0, learning_rate=1.0))
    >>> ok.measures.mode_share(ok.solve(problem))[0, 0, 0].values
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    import xarray as xr

    problem = problem_in(ds)
    node = _inner(problem, node)
    whole = []
    for task in problem.tasks:
        rows = [_shares(ds, problem, task, path, node) for path in problem.network.paths]
        filled = xr.concat(rows, xr.Variable("path", list(problem.network.paths)), join="outer")
        whole.append(filled)
    shares = xr.concat(whole, xr.Variable("task", list(problem.tasks)))
    shares = shares.transpose(..., "time", "task", "path", node, "mode")
    return named(shares, "mode_share", f"part of each mode that each unit of {node} carries")


def unit_entropy(ds: xr.Dataset, node: str | None = None) -> xr.DataArray:
    """How evenly the hidden units share each mode: normalised entropy over units of |m_hα|.

    Returns
    -------
    DataArray, dims (…, time, task, path, mode)
        0: one unit carries it (the network is specialised); 1: all evenly; NaN: nothing.
    """
    node = _inner(problem_in(ds), node)
    entropy = _entropy(abs(mode_share(ds, node)), node)
    return named(entropy, "unit_entropy", f"normalised entropy over {node} of each mode's shares")


def mode_entropy(ds: xr.Dataset, node: str | None = None) -> xr.DataArray:
    """How many modes each hidden unit serves: normalised entropy over modes of |m_hα|.

    Returns
    -------
    DataArray, dims (…, time, task, path, node)
        0: one mode; 1: all evenly; NaN: nothing.
    """
    entropy = _entropy(abs(mode_share(ds, node)), "mode")
    return named(entropy, "mode_entropy", "normalised entropy over modes of each unit's shares")


def _inner(problem: LinearProblem, node: str | None) -> str:
    known = problem.network.inner
    if node is None and len(known) == 1:
        return known[0]
    if node not in known:
        rule = f"must be one of the hidden layers {', '.join(map(repr, known))}"
        raise ProblemError("node", rule, repr(node), "")
    return node


def _shares(ds: xr.Dataset, problem: LinearProblem, task: str, path: str, node: str) -> Any:
    """m_hα of one path; modes that it lacks are missing."""
    import xarray as xr

    network, steps = problem.network, problem.network.paths[path]
    start, _ = network.ends(path)
    through = [i for i, edge in enumerate(steps) if network.edges[edge][1] == node]
    if not through:
        lead = ds[steps[0]].isel({start: 0, network.edges[steps[0]][1]: 0}, drop=True)
        blank = lead * np.nan * xr.DataArray(np.ones(ds.sizes[node]), dims=node)
        return blank.expand_dims(mode=[0])
    cut = through[0] + 1
    left, right = _modes(problem, task, path, ds)
    below = _product(ds, network, steps[:cut], right, start)
    above = left
    for edge in reversed(steps[cut:]):
        W = ds[edge].drop_vars(list(network.edges[edge]), errors="ignore")
        above = xr.dot(above, W, dim=network.edges[edge][1])
    return above * below


def _product(ds: xr.Dataset, network: Any, steps: Any, vectors: Any, start: str) -> Any:
    import xarray as xr

    for edge in steps:
        W = ds[edge].drop_vars(list(network.edges[edge]), errors="ignore")
        vectors = xr.dot(W, vectors, dim=start)
        start = network.edges[edge][1]
    return vectors


def _modes(problem: LinearProblem, task: str, path: str, ds: xr.Dataset) -> tuple[Any, Any]:
    """Singular vectors u_α (…, output, mode) and v_α (…, input, mode), as the dataset's modes."""
    import xarray as xr

    start, end = problem.network.ends(path)
    correlations = problem.tasks[task]
    yx, xx = correlations.yx[path], correlations.xx[path][path]
    one = xr.DataArray(yx, dims=None if hasattr(yx, "dims") else (end, start))
    two = xr.DataArray(xx, dims=None if hasattr(xx, "dims") else (start, f"{start}_other"))

    def singular(yx: Any, xx: Any) -> tuple[Any, Any]:
        inverse = np.linalg.pinv(xx, rcond=1e-12, hermitian=True)
        U, _, Vt = np.linalg.svd(yx @ inverse, full_matrices=False)
        return U, np.swapaxes(Vt, -1, -2)

    left, right = xr.apply_ufunc(
        singular,
        one,
        two,
        input_core_dims=[[end, start], [start, f"{start}_other"]],
        output_core_dims=[[end, "mode"], [start, "mode"]],
        exclude_dims={"mode"},
    )
    modes = np.arange(left.sizes["mode"])
    coords = {d: ds[d] for d in left.dims if d in ds.status.dims and d in ds.coords}
    return left.assign_coords(mode=modes, **coords), right.assign_coords(mode=modes, **coords)


def _entropy(weights: xr.DataArray, over: str) -> xr.DataArray:
    """−Σ p log p / log n over a dim; modes that no path has do not count."""
    count = weights.notnull().any([d for d in weights.dims if d != over]).sum()
    total = weights.sum(over, skipna=True)
    p = weights / total.where(total > 0)
    terms = (p * np.log(p.where(p > 0, 1.0))).sum(over, skipna=True)
    entropy: xr.DataArray = -terms / np.log(max(int(count), 2))
    return entropy.where(total > 0).clip(0.0, 1.0) + 0.0


MEASURES = {
    "mode_entropy": Measured("entropy over modes", r"$|m_{h\alpha}|$", mode_entropy),
    "mode_share": Measured("share of a mode", r"$m_{h\alpha}$", mode_share),
    "unit_entropy": Measured("entropy over units", r"$|m_{h\alpha}|$", unit_entropy),
    "mode_strength": Measured("strength of a mode", r"$a_\alpha$"),
    "kernel_distance": Measured("turn of the kernel", r"$S(0,t)$", kernel_distance),
    "mode_alignment": Measured("alignment of a mode", r"$\cos_\alpha$"),
}
"""What figures may show by name."""
