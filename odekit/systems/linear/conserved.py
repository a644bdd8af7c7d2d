"""What the layers of a linear network conserve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.dataset.variable import named
from odekit.systems.linear.rates import decay_of, shares
from odekit.systems.linear.result import fitted, problem_in

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.phase import Phase
    from odekit.systems.linear.problem import LinearProblem


def conserved_layers(ds: xr.Dataset) -> xr.Dataset:
    """Σ_in W_e W_eᵀ/η_e − Σ_out W_fᵀ W_f/η_f at every inner node of a linear network, its drift.

    It is conserved in phases without weight decay at the node whose rates there are above 0 and
    keep their ratios, whatever schedule they share. With one rate for all edges η_e is 1.

    Parameters
    ----------
    ds : Dataset
        A result of a `LinearProblem`.

    Returns
    -------
    Dataset
        For each inner node n at which some phase conserves it: ``imbalance_n(…, time, n, n_other)``
        (NaN in the rows of other phases); ``imbalance_n_drift``, its change since the first row, or
        since rates changed; ``imbalance_n_size``, the largest entry of the terms that make it up.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.deep([2, 2, 2])
    >>> problem = ok.LinearProblem(net, ok.linear.balanced(net, 0.1, seed=0, imbalance=1.0),
    ...     ok.linear.Correlations(yx=[[1.0, 0.0], [0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]),
    ...     ok.Phase("main", duration=5.0, learning_rate=1.0))
    >>> found = ok.measures.conserved_layers(ok.solve(problem))
    >>> found.imbalance_hidden[-1].values.round(6) + 0.0
    array([[-1.,  0.],
           [ 0., -1.]])
    >>> uneven = problem.replace_phase(0, learning_rate={"W1": 0.5, "W2": 0.1})
    >>> found = ok.measures.conserved_layers(ok.solve(uneven))
    >>> bool(abs(found.imbalance_hidden_drift).max() < 1e-6)
    True
    """
    import xarray as xr

    problem, found = problem_in(ds), {}
    for node in problem.network.inner:
        parts = [_quantity(ds, problem, node, s) for s in _stretches(problem, node)]
        text = f"imbalance at {node}, sum_in W W^T / eta - sum_out W^T W / eta"
        for suffix, more in WORDS.items():
            arrays = [part[suffix] for part in parts]
            if arrays:
                whole = arrays[0]
                for array in arrays[1:]:
                    whole = whole.combine_first(array)
                found[f"imbalance_{node}{suffix}"] = named(whole, f"imbalance_{node}", text + more)
    return xr.Dataset(found)


WORDS = {
    "": "",
    "_drift": ": change since the first row of these rates",
    "_size": ": size of its terms",
}


class Stretch(NamedTuple):
    """Phases in a row that conserve the same matrix at a node.

    Attributes
    ----------
    phases : list of int
    factors : dict of str to float or DataArray
        1/η_e of the edges there, negative for those that leave the node.
    holds : bool or DataArray
        Where in a sweep they do.
    """

    phases: list[int]
    factors: dict[str, Any]
    holds: Any


def _stretches(problem: LinearProblem, node: str) -> list[Stretch]:
    found: list[Stretch] = []
    for index, phase in enumerate(problem.phases):
        one = _one(problem, node, index, phase)
        if one is None:
            continue
        before = found[-1] if found else None
        if before is not None and before.phases[-1] == index - 1 and _same(before, one):
            before.phases.append(index)
        else:
            found.append(one)
    return found


def _one(problem: LinearProblem, node: str, index: int, phase: Phase) -> Stretch | None:
    """A phase by itself, if it conserves the matrix at any point of the sweep."""
    signs = {e: 1.0 for e, (_, end) in problem.network.edges.items() if end == node}
    signs |= {e: -1.0 for e, (start, _) in problem.network.edges.items() if start == node}
    own = shares(phase, signs)
    if own is None:
        return None
    holds: Any = True
    for edge, share in own.items():
        holds = holds & (decay_of(phase, edge) == 0) & (abs(share) < np.inf)
    if not np.any(holds):
        return None
    return Stretch([index], {e: signs[e] * own[e] for e in signs}, holds)


def _same(one: Stretch, two: Stretch) -> bool:
    import xarray as xr

    pairs = [(one.holds, two.holds), *((one.factors[e], two.factors[e]) for e in one.factors)]
    return all(xr.DataArray(a).equals(xr.DataArray(b)) for a, b in pairs)


def _quantity(ds: xr.Dataset, problem: LinearProblem, node: str, stretch: Stretch) -> Any:
    """The matrix, its drift and size in the rows of a stretch."""
    import xarray as xr

    parts, sizes = [], []
    for edge, factor in stretch.factors.items():
        start, end = problem.network.edges[edge]
        W = ds[edge].drop_vars([start, end], errors="ignore")
        product = xr.dot(W, W.rename({node: f"{node}_other"}), dim=start if node == end else end)
        parts.append(fitted(factor, ds) * product)
        size = abs(parts[-1])
        sizes.append(size.max([d for d in size.dims if d not in ds.status.dims]))
    matrix: Any = sum(parts[1:], parts[0])
    matrix = matrix.transpose(*ds.status.dims, "time", node, f"{node}_other")
    size = sum(sizes[1:], sizes[0])
    whole = stretch.holds is True and len(stretch.phases) == len(problem.phases)
    if whole:
        first = matrix.isel(time=0).drop_vars("time", errors="ignore")
        return {"": matrix, "_drift": matrix - first, "_size": size}
    own = ds.phase.isin(stretch.phases) & fitted(stretch.holds, ds)
    first = matrix.isel(time=_beginning(ds, stretch).argmax("time")).drop_vars(
        "time", errors="ignore"
    )
    order = matrix.dims
    found = {"": matrix.where(own), "_drift": (matrix - first).where(own), "_size": size}
    return {name: x.transpose(*order) if name != "_size" else x for name, x in found.items()}


def _beginning(ds: xr.Dataset, stretch: Stretch) -> Any:
    """Rows of the stretch, and the row at the switch in which it starts."""
    own, index = ds.phase.isin(stretch.phases), stretch.phases[0]
    if index == 0 or "phase_end" not in ds:
        return own
    return own | (ds.time == ds.phase_end.isel(phase_index=index - 1, drop=True))
