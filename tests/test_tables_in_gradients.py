"""Derivatives of a schedule by the values of its table, against differences."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit.systems.committee.gradients.tables import against, constant, of_table, together
from test_sensitivity import difference


def differences(curve, values, j, h=1e-4):
    """Of fourth order."""
    step = h * np.eye(values.size)[j]
    one, two = (curve(values + m * step) - curve(values - m * step) for m in (1, 2))
    return (8.0 * one - two) / (12.0 * h)


def drawn(seed):
    """Times and values of tables, and times at which to look."""
    rng = np.random.default_rng(seed)
    for n in (2, 3, 4, 7, 7, 7, 7):
        times = np.cumsum(rng.uniform(0.3, 2.0, n))
        values = 3.0 + rng.uniform(0.0, 1.0, n)
        yield times, values, np.linspace(times[0] - 0.1, times[-1] + 0.1, 58)


def are_differences(interpolation, times, values, part, at, atol):
    """Derivatives of a table by every one of its values or times, at some times."""
    given = {"times": times, "values": values}

    def curve(changed):
        both = given | {part: changed}
        return ok.Schedule(both["times"], both["values"], interpolation).at(at)

    table = ok.Schedule(times, values, interpolation)
    for j in range(times.size):
        basis = of_table("rate", table, part, j)
        found = basis(at[:, np.newaxis], at[:, np.newaxis])[:, 0]
        np.testing.assert_allclose(found, differences(curve, given[part], j), atol=atol)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "spline"])
def test_values_of_tables(interpolation):
    """Of two to seven times, rising, falling and turning; exact but for the differences."""
    for times, values, at in drawn(0):
        are_differences(interpolation, times, values, "values", at, 1e-8)


def test_sums_over_steps_are_those_of_every_value():
    """Of a table's values, of its times, of another table, and of a number, in any order."""
    rng = np.random.default_rng(1)
    times, values = np.cumsum(rng.uniform(0.3, 2.0, 6)), rng.uniform(1.0, 2.0, 6)
    straight = ok.Schedule(times, values)
    smooth = ok.Schedule(times, values, "spline")
    parts = [(straight, "values", 4), (straight, "values", 0), (straight, "times", 2)]
    parts += [(smooth, "values", 3), (straight, "values", 5)]
    bases = [of_table("rate", *part) for part in parts]
    bases.insert(2, constant)
    begin = np.sort(rng.uniform(0.0, times[-1] + 1.0, 40))[:, np.newaxis]
    at, middles = begin + 0.01 * rng.uniform(size=(40, 3)), begin + 0.005
    weights = rng.normal(size=(2, 40, 3))
    wanted = np.einsum("qts,bts->qb", weights, together(bases, at, middles))
    found = against(bases, at, middles, weights)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
    for basis, row in zip(bases, together(bases, at, middles), strict=True):
        np.testing.assert_array_equal(basis(at, middles), row)


def test_a_cubic_table_with_equal_neighbours_has_no_derivative():
    table = ok.Schedule([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 0.5, 0.4], "cubic")
    with pytest.raises(ok.ProblemError, match="differs from its neighbours"):
        of_table("rate", table, "values", 1)
    of_table("rate", table, "values", 3)  # the slope between the equal ones stays 0


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "spline"])
def test_times_of_tables(interpolation):
    """On both sides of a time: it is there that the derivative of a linear table jumps."""
    for times, values, at in drawn(1):
        apart = at[np.abs(at[:, np.newaxis] - times).min(axis=1) > 1e-3]
        are_differences(interpolation, times, values, "times", apart, 1e-7)


def test_times_of_splines_with_kinks():
    """Also of the time of a kink, which moves along; from either side of it."""
    times = np.array([0.1, 0.7, 1.0, 1.6, 2.5, 3.1, 4.0])
    values, kink = np.array([1.0, 1.4, 2.0, 1.1, 0.6, 0.9, 1.5]), 2
    table = ok.Schedule(times, values, "spline", times[[kink]])
    at = np.linspace(-0.1, 4.1, 85)
    at = at[np.abs(at[:, np.newaxis] - times).min(axis=1) > 1e-3]
    for j in range(times.size):
        found = of_table("rate", table, "times", j)(at[:, np.newaxis], at[:, np.newaxis])[:, 0]
        wanted = differences(lambda changed: table.at_times(changed).at(at), times, j)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    inside = np.nextafter(times[kink], [0.0, 9.0])[:, np.newaxis]
    left, right = of_table("rate", table, "times", kink)(np.full((2, 1), times[kink]), inside)[:, 0]
    assert left < 0.0 < right


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


def test_a_run_by_the_times_of_a_spline_with_a_kink():
    times, values = np.array([0.0, 0.6, 1.0, 2.5, 3.2, 3.7]), np.array([1, 1.4, 1.9, 0.9, 0.4, 0.3])
    problem = learner(learning_rate=ok.Schedule(times, values, "spline", [1.0]))

    def end(changed):
        # Short steps, for a spline bends at times on which no step lands.
        run = ok.solve(changed, t_eval=[4.0], rtol=1e-12, atol=1e-14, max_step=0.02)
        return run.generalization_error.values[0, 0]

    how = {"of": "generalization_error[main]", "wrt": "phases[0].learning_rate.times"}
    one, other = (
        ok.sensitivity(problem, method=m, rtol=1e-10, **how).d_generalization_error_main.values
        for m in ("forward", "adjoint")
    )
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()
    wanted = [difference(problem, f"{how['wrt']}[{j}]", end) for j in range(1, 6)]
    np.testing.assert_allclose(one[1:], wanted, atol=1e-7 * np.abs(wanted).max())


def test_a_run_by_the_values_of_a_flat_table():
    """Steps longer than the table's would miss what every value does: some of it, or all."""
    times, flat = np.linspace(0.0, 4.0, 33), np.ones(33)

    def end(v):
        rate = ok.Schedule(times, v)
        run = ok.solve(learner(learning_rate=rate), t_eval=[4.0], rtol=1e-12, atol=1e-14)
        return run.generalization_error.values[0, 0]

    problem = learner(learning_rate=ok.Schedule(times, flat))
    ds = ok.sensitivity(
        problem, of="generalization_error[main]", wrt="phases[0].learning_rate.values", rtol=1e-10
    )
    chosen = [0, 1, 14, 15, 31, 32]
    wanted = [differences(end, flat, j, 1e-2) for j in chosen]
    found = ds.d_generalization_error_main.values[chosen]
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())
