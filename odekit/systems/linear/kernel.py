"""The neural tangent kernel of a linear network, and how far it turns.

The answer of path p to x is g_p A B x with B the product of the weights below an edge e and A that
above it. Gradient flow at rates η_e changes the answer at x by −Σ_x' K(x, x') ∂L/∂y(x'),

    K(x, x') = Σ_e η_e Σ_{p,q ∋ e} g_p(x) g_q(x') (x_pᵀ B_pᵀ B_q x'_q) A_p A_qᵀ,

a sum of terms M ⊗ N, M = η_e B_pᵀ B_q between inputs and N = A_p A_qᵀ between outputs. Over
independent x and x' two such sums have the inner product Σ tr(M Σ_xx(q,s) M'ᵀ Σ_xx(r,p)) ⟨N, N'⟩
over the terms (p, q) of one and (r, s) of the other: it needs nothing but the correlations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import is_labelled
from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.problem.schedule import Schedule
from odekit.systems.linear.rates import rate_of, together
from odekit.systems.linear.result import fitted, problem_in

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.linear.problem import LinearProblem

MOST_NUMBERS = 2**27
"""Most numbers of a kernel: 1 GiB."""


def kernel(ds: xr.Dataset, path: str | None = None, other: str | None = None) -> xr.DataArray:
    """Neural tangent kernel of a linear network, between two of its paths.

    Parameters
    ----------
    ds : Dataset
        A result of a `LinearProblem`.
    path, other : str, optional
        p and q: the first may be left out of a network of one path, the second by default is the
        first.

    Returns
    -------
    DataArray, dims (…, time, output, output_other, input, input_other)
        Under the names of the nodes (``_other`` where p and q end or begin in one node), with
        K(x, x') = Σ_{p,q} g_p(x) g_q(x') Σ_ij K_pq[…, i, j] x_i x'_j. The rates are those of each
        row's phase; one for all edges is left out, as are factors that it has in time.

    Raises
    ------
    ProblemError
        If a path is unknown, or the kernel has more than 2²⁷ numbers.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> net = ok.linear.deep([2, 1, 1])
    >>> problem = ok.LinearProblem(net, {"W1": [[3.0, 0.0]], "W2": [[2.0]]},
    ...     ok.linear.Correlations(yx=[[0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]),
    ...     ok.Phase("main", duration=1.0, learning_rate={"W1": 1.0, "W2": 0.1}))
    >>> ok.measures.kernel(ok.solve(problem))[0, 0, 0].values   # η_w a² I + η_a w wᵀ
    array([[4.9, 0. ],
           [0. , 4. ]])
    """
    import xarray as xr

    problem = problem_in(ds)
    p = _path(problem, "path", path)
    q = p if other is None else _path(problem, "other", other)
    network = problem.network
    (a, y), (b, z) = network.ends(p), network.ends(q)
    lead = [*map(str, ds.status.dims), "time"]
    shape = [network.nodes[n] for n in (y, z, a, b)]
    total = float(np.prod([ds.sizes[d] for d in lead])) * float(np.prod(shape))
    if total > MOST_NUMBERS:
        rule = f"must have a kernel of at most {MOST_NUMBERS} numbers"
        raise ProblemError("ds", rule, f"{total:.0f}", "Select rows: ds.isel(time=[0, -1]).")
    whole = np.zeros([*(ds.sizes[d] for d in lead), *shape])
    for term in _terms(ds, problem, [(p, q)]):
        whole += np.einsum("...yz,...ab->...yzab", term.above, term.below)
    names = [y, f"{z}_other" if z == y else z, a, f"{b}_other" if b == a else b]
    coords = {d: ds[d] for d in lead if d in ds.coords}
    text = f"neural tangent kernel between the paths {p} and {q}"
    return named(xr.DataArray(whole, dims=[*lead, *names], coords=coords), "kernel", text)


def kernel_distance(ds: xr.Dataset, since: float | None = None) -> xr.DataArray:
    """How far the neural tangent kernel has turned: 1 − ⟨K₀, K⟩/|K₀||K| over the inputs of a task.

    0: the network is lazy, its kernel only grows; rich networks turn it. The inner product is the
    mean over two independent inputs, with their gates, and so follows from the correlations.

    Parameters
    ----------
    ds : Dataset
        A result of a `LinearProblem`.
    since : float, optional
        Time of the row whose kernel is K₀; by default the first.

    Returns
    -------
    DataArray, dims (…, time, task)

    Raises
    ------
    ProblemError
        If no row has the time `since`.

    Notes
    -----
    S(0, t) of Kunin et al. (2024), where K₀ is normalised by its own length (their public notebook
    mixes a₀ and a_t); kernel distance of Dominé et al. (2025). Any depth, paths, gates and rates.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> net = ok.linear.deep([2, 1, 1])
    >>> problem = ok.LinearProblem(net, {"W1": [[-1.0, 0.0]], "W2": [[1.0]]},
    ...     ok.linear.Correlations(yx=[[0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]),
    ...     ok.Phase("main", duration=20.0, learning_rate=1.0))
    >>> run = ok.solve(problem, t_eval=[0.0, 1.0, 20.0])
    >>> ok.measures.kernel_distance(run)[:, 0].values.round(4)
    array([0.   , 0.116, 0.2  ])
    """
    import xarray as xr

    problem = problem_in(ds)
    row = 0 if since is None else _row(ds, since)
    lead = [*map(str, ds.status.dims), "time"]
    pairs = [(p, q) for p in problem.network.paths for q in problem.network.paths]
    terms = list(_terms(ds, problem, pairs))
    at = len(lead) - 1
    first = [Term(t.p, t.q, _only(t.below, at, row), _only(t.above, at, row)) for t in terms]
    found = []
    for task in problem.tasks:
        xx = _moments(ds, problem, task, lead)
        both, now, then = (_inner(*s, xx) for s in ((terms, first), (terms, terms), (first, first)))
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.maximum(1.0 - both / np.sqrt(now * then), 0.0))
    coords = {d: ds[d] for d in lead if d in ds.coords} | {"task": list(problem.tasks)}
    whole = np.stack(np.broadcast_arrays(*found), axis=-1)
    array = xr.DataArray(whole, dims=[*lead, "task"], coords=coords)
    when = "the first row" if since is None else f"t = {since:g}"
    return named(array, "kernel_distance", f"how far the tangent kernel has turned since {when}")


class Term(NamedTuple):
    """One term M ⊗ N of the kernel between two paths.

    Attributes
    ----------
    p, q : str
    below, above : ndarray, shapes (…, time, inputs of p, of q) and (…, time, outputs of p, of q)
        M = η_e B_pᵀ B_q and N = A_p A_qᵀ.
    """

    p: str
    q: str
    below: Floats
    above: Floats


def _path(problem: LinearProblem, argument: str, given: str | None) -> str:
    known = [str(name) for name in problem.network.paths]
    if given is None and len(known) == 1:
        return known[0]
    if given is None or given not in known:
        listed = ", ".join(map(repr, known))
        raise ProblemError(argument, f"must be one of the paths {listed}", repr(given), "")
    return given


def _row(ds: xr.Dataset, since: float) -> int:
    there = np.flatnonzero(ds.time.values == since)
    if not there.size:
        rule = "must be the time of a row"
        raise ProblemError("since", rule, f"{since!r}", "Name it in `t_eval`.")
    return int(there[0])


def _only(array: Floats, axis: int, row: int) -> Floats:
    """One row of an array that may have them all."""
    return array if array.shape[axis] == 1 else np.take(array, [row], axis=axis)


def _terms(ds: xr.Dataset, problem: LinearProblem, pairs: Sequence[Any]) -> Iterator[Term]:
    """Every term of the kernel between the paths of some pairs."""
    network = problem.network
    lead = [*map(str, ds.status.dims), "time"]
    W = {e: ds[e].transpose(*lead, end, start).values for e, (start, end) in network.edges.items()}
    sides = {p: _sides(W, network, p) for p in {p for pair in pairs for p in pair}}
    rates = {e: _rate(ds, problem, e, lead) for e in network.edges}
    for p, q in pairs:
        for e in network.edges:
            if e in sides[p] and e in sides[q]:
                (B, A), (C, D) = sides[p][e], sides[q][e]
                M = np.swapaxes(B, -1, -2) @ C
                yield Term(p, q, rates[e][..., None, None] * M, A @ np.swapaxes(D, -1, -2))


def _sides(W: dict[str, Floats], network: Any, path: str) -> dict[str, tuple[Floats, Floats]]:
    """Products below and above every edge of a path."""
    steps = network.paths[path]
    start, end = network.ends(path)
    ones = (1,) * (next(iter(W.values())).ndim - 2)
    below = [np.eye(network.nodes[start]).reshape(*ones, network.nodes[start], -1)]
    above = [np.eye(network.nodes[end]).reshape(*ones, network.nodes[end], -1)]
    for e in steps[:-1]:
        below.append(W[e] @ below[-1])
    for e in reversed(steps[1:]):
        above.append(above[-1] @ W[e])
    return dict(zip(steps, zip(below, reversed(above), strict=True), strict=True))


def _rate(ds: xr.Dataset, problem: LinearProblem, edge: str, lead: Sequence[str]) -> Floats:
    """η_e in every row, of its phase; 1 in phases of one rate for all edges."""
    import xarray as xr

    total: Any = xr.zeros_like(ds.phase, dtype=float)
    begin: Any = 0.0
    for index, phase in enumerate(problem.phases):
        rate = 1.0 if together(phase) else rate_of(phase, edge)
        if isinstance(rate, Schedule):
            since = ds.time - begin
            rate = since.copy(data=rate.at(since.values.ravel()).reshape(since.shape))
        value = total * 0.0 + fitted(rate, ds, ())
        total = total + value.where(ds.phase == index, 0.0)
        if "phase_end" in ds:
            begin = ds.phase_end.isel(phase_index=index, drop=True)
    return np.asarray(total.transpose(*lead).values)


def _moments(
    ds: xr.Dataset, problem: LinearProblem, task: str, lead: Sequence[str]
) -> dict[tuple[str, str], Floats]:
    """Σ_xx(q, p) with the axes (…, 1, inputs of q, inputs of p); pairs at 0 are left out."""
    found = {}
    for q, row in problem.tasks[task].xx.items():
        for p, value in row.items():
            if np.any(value):
                array = fitted(value, ds, value.dims[-2:] if is_labelled(value) else ())
                if is_labelled(array):
                    own = [d for d in lead if d in array.dims]
                    array = array.transpose(*own, ...).values.reshape(
                        *(array.sizes[d] if d in own else 1 for d in lead), *array.shape[-2:]
                    )
                found[q, p] = np.asarray(array)
    return found


def _inner(one: Sequence[Term], two: Sequence[Term], xx: Any) -> Floats:
    """Σ tr(M Σ_xx(q,s) M'ᵀ Σ_xx(r,p)) ⟨N, N'⟩ over the terms (p, q) and (r, s)."""
    total: Any = 0.0
    for a in one:
        for b in two:
            if (a.q, b.q) in xx and (a.p, b.p) in xx:
                left, right = a.below @ xx[a.q, b.q], xx[a.p, b.p] @ b.below
                total = total + np.sum(left * right, (-2, -1)) * np.sum(a.above * b.above, (-2, -1))
    return np.asarray(total)
