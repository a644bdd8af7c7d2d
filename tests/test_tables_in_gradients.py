"""Derivatives of a schedule by the values of its table, against differences."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit.systems.committee.gradients.tables import of_table


def differences(curve, values, j, h=1e-4):
    """Of fourth order."""
    step = h * np.eye(values.size)[j]
    one, two = (curve(values + m * step) - curve(values - m * step) for m in (1, 2))
    return (8.0 * one - two) / (12.0 * h)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "spline"])
def test_values_of_tables(interpolation):
    """Of two to seven times, rising, falling and turning; exact but for the differences."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 7, 7, 7, 7):
        times = np.cumsum(rng.uniform(0.3, 2.0, n))
        values = 3.0 + rng.uniform(0.0, 1.0, n)
        at = np.linspace(times[0] - 0.1, times[-1] + 0.1, 58)

        def curve(v, times=times, at=at):
            return ok.Schedule(times, v, interpolation).at(at)

        table = ok.Schedule(times, values, interpolation)
        for j in range(n):
            basis = of_table("rate", table, "values", j)
            found = basis(at[:, np.newaxis], at[:, np.newaxis])[:, 0]
            np.testing.assert_allclose(found, differences(curve, values, j), atol=1e-8)


def test_a_cubic_table_with_equal_neighbours_has_no_derivative():
    table = ok.Schedule([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 0.5, 0.4], "cubic")
    with pytest.raises(ok.ProblemError, match="differs from its neighbours"):
        of_table("rate", table, "values", 1)
    of_table("rate", table, "values", 3)  # the slope between the equal ones stays 0
    spline = ok.Schedule([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 0.5, 0.4], "spline")
    with pytest.raises(ok.ProblemError, match="time of a linear or cubic"):
        of_table("rate", spline, "times", 3)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_times_of_tables(interpolation):
    """On both sides of a time: it is there that the derivative of a linear table jumps."""
    rng = np.random.default_rng(1)
    for n in (2, 3, 4, 7, 7, 7, 7):
        times = np.cumsum(rng.uniform(0.3, 2.0, n))
        values = 3.0 + rng.uniform(0.0, 1.0, n)
        at = np.linspace(times[0] - 0.1, times[-1] + 0.1, 58)
        at = at[np.abs(at[:, np.newaxis] - times).min(axis=1) > 1e-3]

        def curve(t, values=values, at=at):
            return ok.Schedule(t, values, interpolation).at(at)

        table = ok.Schedule(times, values, interpolation)
        for j in range(n):
            basis = of_table("rate", table, "times", j)
            found = basis(at[:, np.newaxis], at[:, np.newaxis])[:, 0]
            np.testing.assert_allclose(found, differences(curve, times, j), atol=1e-7)


def learner(**fields):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0], noise_std=0.3)},
        phases=[ok.Phase("main", duration=4.0, **fields)],
    )


def test_a_run_by_the_values_of_a_cubic_table():
    times, values = np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, 1.4, 0.9, 0.3])

    def end(v):
        rate = ok.Schedule(times, v, "cubic")
        run = ok.solve(learner(learning_rate=rate), t_eval=[4.0], rtol=1e-12, atol=1e-14)
        return run.generalization_error.values[0, 0]

    problem = learner(learning_rate=ok.Schedule(times, values, "cubic"))
    ds = ok.sensitivity(
        problem, of="generalization_error[main]", wrt="phases[0].learning_rate.values", rtol=1e-10
    )
    wanted = [differences(end, values, j, 1e-3) for j in range(4)]
    found = ds.d_generalization_error_main.values
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())
