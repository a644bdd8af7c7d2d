"""Two ways to one answer: theory and simulation, Jacobian and differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.testing.report import FACTOR, hold, rtol_of

if TYPE_CHECKING:
    import xarray as xr

    from odekit.testing.report import Floats

JACOBIAN_RTOL = 1e-10
"""Unit of a Jacobian's deviation from extrapolated differences."""
SIGMAS = 5.0
"""Deviation allowed to a simulation, in units of 1/√N."""
COMPARED = ("Q", "R", "readout", "generalization_error")


def assert_jacobian_matches(
    function: Callable[[float, Floats], Any],
    jacobian: Callable[[float, Floats], Any],
    y: Any,
    *,
    t: float = 0.0,
    step: float = 1e-3,
    rtol: float = JACOBIAN_RTOL,
    factor: float = FACTOR,
) -> None:
    """Assert that a Jacobian is the derivative of its function.

    Parameters
    ----------
    function, jacobian : callable
        ``f(t, y)`` of shape (n,) and ``J(t, y)`` of shape (n, n), as scipy's integrators take them;
        ours are `rhs` and `jac` of `odekit.equations`.
    y : array_like, shape (n,)
        Where to compare.
    t : float
        Time.
    step : float
        Of the differences, relative to the largest entry of y; central differences at it, its half
        and its quarter are extrapolated to zero.
    rtol, factor
        Unit of the tolerance, relative to the largest entry of the Jacobian; deviation allowed.

    Raises
    ------
    LawBroken

    Examples
    --------
    >>> assert_jacobian_matches(lambda t, y: y**2, lambda t, y: [[2 * y[0]]], [3.0])
    """
    y = np.asarray(y, dtype=float)
    J = np.asarray(jacobian(t, y.copy()), dtype=float)
    h = step * max(float(np.abs(y).max(initial=0.0)), 1e-300)

    def column(j: int, h: float) -> Floats:
        e = np.zeros_like(y)
        e[j] = h
        difference: Floats = np.subtract(function(t, y + e), function(t, y - e))
        return difference / (2 * h)

    columns = []
    for j in range(y.size):
        a, b, c = (column(j, h / 2**i) for i in range(3))
        ab, bc = (4 * b - a) / 3, (4 * c - b) / 3
        columns.append((16 * bc - ab) / 15)
    numeric = np.array(columns).T
    size = max(float(np.abs(numeric).max()), float(np.abs(J).max()))
    law = "the Jacobian is the derivative of the right-hand side"
    hold(law, "J", J - numeric, size=size, rtol=rtol, factor=factor, time=t)


def assert_agrees(
    run: xr.Dataset,
    sim: xr.Dataset,
    *,
    input_dim: int | None = None,
    variables: tuple[str, ...] = COMPARED,
    over: str | None = None,
    rtol: float | None = None,
    factor: float | None = None,
) -> None:
    """Assert that two results agree at the times that both have.

    Against a simulation in N dimensions the unit of the tolerance is 1/√N, divided by √n where n
    simulations are averaged; between two runs of theory it is the larger rtol of the two.

    Parameters
    ----------
    run, sim : Dataset
        Results of the same problem.
    input_dim : int, optional
        N of the simulation; read from its attribute ``input_dim``, or from ``odekit_simulation``,
        by default.
    variables : tuple of str
        What to compare; only what both have is.
    over : str, optional
        Dim of `sim` along which simulations are averaged first; ``replica`` by default.
    rtol : float, optional
        Another unit of the tolerance, relative to the largest value of each variable.
    factor : float, optional
        Deviation allowed, in units of rtol: 5 against a simulation, 100 between runs.

    Raises
    ------
    LawBroken
        An AssertionError that names the worst entry.
    ProblemError
        If the two share no time.
    """
    N = input_dim if input_dim is not None else _input_dim(sim)
    count = 1
    if over is None and "replica" in sim.dims:
        over = "replica"
    if over is not None:
        count, sim = sim.sizes[over], sim.mean(over)
    if rtol is None:
        rtol = max(rtol_of(run), rtol_of(sim)) if N is None else 1 / np.sqrt(N * count)
    factor = factor or (FACTOR if N is None else SIGMAS)
    times = _common(run.time.values, sim.time.values, 1.0 / N if N else 0.0)
    law = "results agree" if N is None else "theory and simulation agree"
    for name in variables:
        if name not in run or name not in sim:
            continue
        one = run[name].isel(time=times[0]).drop_vars("time")
        two = sim[name].isel(time=times[1]).drop_vars("time")
        off = (two - one).transpose(..., *[d for d in one.dims if d in one.dims])
        off = off.where(np.isfinite(one), 0.0)
        size = max(float(np.abs(one).max()), float(np.abs(two).max()))
        hold(law, name, off.values, size=size, rtol=float(rtol), factor=factor,
             time=run.time.values[times[0]], dims=[str(d) for d in off.dims])  # fmt: skip


def _common(one: Any, two: Any, within: float) -> tuple[list[int], list[int]]:
    """Places of the times that both have, to within a step of the simulation."""
    near = np.clip(np.searchsorted(two, one), 1, max(len(two) - 1, 1))
    pairs = [
        (i, min((j - 1, min(j, len(two) - 1)), key=lambda k: abs(two[k] - one[i])))
        for i, j in enumerate(near)
    ]
    allowed = within + 1e-12 * np.abs(one).max(initial=0.0)
    pairs = [(i, j) for i, j in pairs if abs(two[j] - one[i]) <= allowed]
    if not pairs:
        raise ProblemError(
            "sim", "must share times with `run`", "none in common", "Give both the same t_eval."
        )
    return [i for i, _ in pairs], [j for _, j in pairs]


def _input_dim(sim: xr.Dataset) -> int | None:
    """N of a simulation, as its attributes say."""
    found = sim.attrs.get("input_dim")
    if found is None:
        try:
            found = json.loads(sim.attrs.get("odekit_simulation", "{}")).get("input_dim")
        except (TypeError, ValueError, AttributeError):
            found = None
    return None if found is None else int(found)
