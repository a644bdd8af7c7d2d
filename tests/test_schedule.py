"""Learning rates that change in time: tables, and functions tabulated to a relative 1e-8."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

import odekit as ok
from odekit.problem.tabulation import TOLERANCE


def test_a_linear_table_is_interpolated_and_held_at_its_ends():
    table = ok.Schedule([1.0, 2.0, 4.0], [1.0, 3.0, 0.0])
    times = [-1.0, 0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0]
    assert [table(t) for t in times] == [1.0, 1.0, 1.0, 2.0, 3.0, 1.5, 0.0, 0.0]


@given(
    st.lists(st.tuples(st.floats(1e-3, 10), st.floats(0, 10)), min_size=2, max_size=20),
    st.floats(-1, 300),
)
def test_linear_tables_agree_with_numpy(rows, time):
    times, values = np.cumsum([row[0] for row in rows]), [row[1] for row in rows]
    assert ok.Schedule(times, values)(time) == pytest.approx(
        np.interp(time, times, values), rel=1e-12, abs=1e-12
    )


FUNCTIONS = {
    "exponential": (lambda t: 0.5 * np.exp(-t / 30), 1e3),
    "power": (lambda t: 1 / (1 + t), 1e6),
    "cosine": (lambda t: 0.5 * (1 + np.cos(np.pi * t / 100)), 100.0),
    "square root": (lambda t: 1 / np.sqrt(1 + t), 1e4),
    "constant": (lambda t: 0.3, 5.0),
    "zero": (lambda t: 0.0, 5.0),
    "oscillation": (lambda t: 1 + np.sin(t), 50.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_tabulated_to_their_tolerance(name):
    function, duration = FUNCTIONS[name]
    table = ok.Schedule.from_function(function, duration)
    times = np.concatenate(
        [np.linspace(0, duration, 999), np.geomspace(1e-4, duration, 777), [0.0, duration]]
    )
    exact = np.array([function(t) for t in times])
    off = np.abs([table(t) for t in times] - exact)
    # The table is checked at the centres of its intervals; the error elsewhere is of that size.
    assert off.max() <= 4 * TOLERANCE * exact.max() + 1e-300
    assert min(table(t) for t in times) >= 0.0


def test_a_jump_is_tabulated_to_rounding():
    table = ok.Schedule.from_function(lambda t: float(t > 0.3), 1.0)
    assert table(0.3 - 1e-9) == pytest.approx(0.0, abs=1e-9)
    assert table(0.3 + 1e-9) == pytest.approx(1.0, abs=1e-9)


def test_a_function_becomes_a_table_in_its_phase():
    phase = ok.Phase("a", 100.0, lambda t: np.exp(-t), readout_learning_rate=lambda t: 1 / (1 + t))
    assert isinstance(phase.learning_rate, ok.Schedule)
    assert phase.readout_learning_rate(1.0) == pytest.approx(0.5, abs=1e-9)


REFUSED = {
    "decreasing": (lambda: ok.Schedule([1.0, 0.5], [1, 1]), "increase"),
    "repeated": (lambda: ok.Schedule([0.5, 0.5], [1, 1]), "increase"),
    "before the start": (lambda: ok.Schedule([-1.0, 0.5], [1, 1]), "increase"),
    "lengths": (lambda: ok.Schedule([0.0, 1.0], [1, 1, 1]), "as many"),
    "one time": (lambda: ok.Schedule([0.0], [1.0]), "at least two"),
    "two axes": (lambda: ok.Schedule(np.eye(2), np.eye(2)), "one axis"),
    "negative rate": (lambda: ok.Schedule([0, 1], [1, -0.5]), "-0.5"),
    "NaN": (lambda: ok.Schedule([0, 1], [1, np.nan]), "finite"),
    "kind": (lambda: ok.Schedule([0, 1], [1, 1], "step"), "'linear', 'cubic', 'spline'"),
    "spline below 0": (lambda: ok.Schedule([0, 1, 2, 3], [1, 1, 0, 0], "spline"), "cubic"),
    "kinks of no spline": (lambda: ok.Schedule([0, 1], [1, 1], kinks=[1]), "of a spline"),
    "kinks elsewhere": (lambda: ok.Schedule([0, 1], [1, 1], "spline", [0.5]), "some of the times"),
    "rough": (lambda: ok.Schedule.from_function(lambda t: 1 + np.sin(9999 * t), 1.0), "one phase"),
    "negative function": (lambda: ok.Schedule.from_function(lambda t: 0.5 - t, 1.0), ">= 0"),
    "infinite function": (
        lambda: ok.Schedule.from_function(lambda t: 1 / t if t else np.inf, 1.0),
        "finite",
    ),
    "function of text": (lambda: ok.Schedule.from_function(lambda t: "x", 1.0), "numbers"),
    "function of None": (lambda: ok.Schedule.from_function(lambda t: None, 1.0), "numbers"),
    "vector function": (lambda: ok.Schedule.from_function(lambda t: [1, 2], 1.0), "one number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    build, said = REFUSED[name]
    with pytest.raises(ok.ProblemError, match=said) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_every_kink_is_a_break_however_many():
    table = ok.Schedule([0.0, 5.0, 8.0, 20.0], [1, 2, 3, 5])
    assert table.breaks(10.0) == [5.0, 8.0]
    teeth = ok.Schedule(np.arange(10_000.0), np.arange(10_000) % 2)
    assert teeth.breaks(9999.0) == list(np.arange(1.0, 9999.0))
    assert ok.Schedule([20.0, 30.0], [1, 2]).breaks(10.0) == []


def test_knots_at_which_nothing_bends_are_no_breaks():
    assert ok.Schedule(np.arange(1000.0), np.ones(1000)).breaks(999.0) == []
    assert ok.Schedule(np.arange(1000.0), np.linspace(1, 0, 1000)).breaks(999.0) == []
    values = np.full(10_000, 0.1)
    values[7001] = 1.0
    breaks = ok.Schedule(np.arange(10_000.0), values).breaks(9999.0)
    assert breaks == [7000.0, 7001.0, 7002.0]


def test_a_fine_table_of_a_smooth_curve_has_some_of_its_knots():
    times = np.linspace(0, 10, 100_001)
    breaks = ok.Schedule(times, np.exp(-times)).breaks(10.0)
    assert 100 < len(breaks) < 20_000
    assert max(np.diff(breaks)) < 20 * (times[1] - times[0])


# ------------------------------------------------------------------------- accuracy of what is run


def linear_unit(rate, duration, **phase):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task(readout=[1.0])},
        phases=[ok.Phase("main", duration, rate, **phase)],
        activation="linear",
    )


def off(problem, integral):
    """R of a single run, and of one by the compiled engine, less 1 − 0.9 exp(−∫η)."""
    exact = 1 - 0.9 * np.exp(-integral)
    noise = xr.DataArray([0.0, 0.1], dims="noise")
    swept = problem.replace(tasks={"main": ok.Task(readout=[1.0], noise_std=noise)})
    total = float(sum(phase.duration for phase in problem.phases))
    runs = [ok.solve(p, t_eval=[total]).R for p in (problem, swept)]
    return max(float(abs(R - exact).max()) for R in runs)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("cycles", [31, 60, 300])
def test_cycles_are_followed_however_many(cycles, interpolation):
    times = np.linspace(0, 12, 2 * cycles + 1)
    values = np.arange(2 * cycles + 1) % 2
    table = ok.Schedule(times, values, interpolation)
    cubic = PchipInterpolator(times, values).integrate(0, 12)
    integral = 6.0 if interpolation == "linear" else float(cubic)
    # Each of up to 1000 steps may be off by the tolerance, 1e-8: they add up to 3e-8.
    assert off(linear_unit(table, 12.0), integral) < 5e-8


CYCLES = {
    "triangles": (lambda t: 1 - abs((5 * t) % 1 * 2 - 1), 6.0),
    "warm restarts": (lambda t: 0.5 * (1 + np.cos(np.pi * ((5 * t) % 1))), 6.0),
    "steps": (lambda t: float(0.1 + 0.8 * (int(5 * t + 0.37) % 2)), None),
    "rectified": (lambda t: max(np.sin(2 * np.pi * 5 * t), 0.0), 12 / np.pi),
}


@pytest.mark.parametrize("name", CYCLES)
def test_functions_with_kinks_and_jumps_are_followed(name):
    function, integral = CYCLES[name]
    if integral is None:
        edges = np.concatenate([[0.0], (np.arange(1, 61) - 0.37) / 5, [12.0]])
        middles = 0.5 * (edges[1:] + edges[:-1])
        integral = sum(function(t) * w for t, w in zip(middles, np.diff(edges), strict=True))
    assert off(linear_unit(function, 12.0), integral) < 1e-8


def test_a_jump_in_a_late_phase_is_followed():
    """Times of steps are rounded there."""
    problem = linear_unit(lambda t: 0.2 if t < 1.7 else 1.1, 3.0)
    waiting = ok.Phase("main", 1e4, 0.0)
    late = problem.replace(phases=[waiting, *problem.phases])
    assert off(late, 0.2 * 1.7 + 1.1 * 1.3) < 1e-8


KINKS = (0.3, np.pi / 3, 1.25, 2.0, 2.5)


def test_kinks_are_located():
    """At places of no grid and of every one, with curvature about them; no other is invented."""
    table = ok.Schedule.from_function(lambda t: 2 + np.sin(t) + sum(abs(t - k) for k in KINKS), 4.0)
    np.testing.assert_allclose(table.kinks, KINKS, rtol=0, atol=1e-9)


@pytest.mark.parametrize("place", [0.3, 1 / 3, 0.5, 0.999, 1.0])
def test_jumps_are_ramps_of_no_width(place):
    """The last of them is a jump to the value at the end alone."""
    table = ok.Schedule.from_function(lambda t: 1.0 + t * t - float(t >= place), 1.0)
    assert table(place - 1e-9) == pytest.approx(1.0 + place**2, abs=1e-8)
    if place < 1.0:
        assert table(place + 1e-9) == pytest.approx(place**2, abs=1e-8)
    assert table.times.size < 300


@pytest.mark.parametrize("name", FUNCTIONS)
def test_smooth_functions_have_no_kinks(name):
    assert ok.Schedule.from_function(*FUNCTIONS[name]).kinks.size == 0


def test_cubic_tables_stay_between_their_values():
    table = ok.Schedule([0, 1, 2, 3, 4, 5], [1.0, 1.0, 0.0, 0.0, 0.5, 2.0], "cubic")
    times = np.linspace(0, 5, 1001)
    values = table.at(times)
    assert values.min() == 0.0
    assert values.max() == 2.0
    assert (values[times <= 1] == 1.0).all()
    assert (np.diff(values[times >= 3]) >= 0).all()


def test_at_is_the_table_itself():
    times = np.sort(np.random.default_rng(0).uniform(-1, 13, 3000))
    for function, _ in CYCLES.values():
        table = ok.Schedule.from_function(function, 12.0)
        np.testing.assert_allclose(table.at(times), [table(t) for t in times], rtol=1e-14)


def test_tables_survive_plain_data_exactly_and_are_read_only():
    table = ok.Schedule.from_function(FUNCTIONS["exponential"][0], 1e3)
    assert "kinks" not in table.to_dict()
    again = ok.Schedule(**table.to_dict())
    assert [again(t) for t in (0.1, 7.0, 555.5)] == [table(t) for t in (0.1, 7.0, 555.5)]
    with pytest.raises(ValueError, match="read-only"):
        table.values[0] = 1.0


@pytest.mark.parametrize("periods", [18, 199])
def test_a_function_of_many_periods_is_tabulated(periods):
    def rate(t):
        return 0.1 * (1 + 0.9 * np.cos(2 * np.pi * periods * t / 1000))

    table = ok.Schedule.from_function(rate, 1000.0)
    times = np.random.default_rng(3).uniform(0, 1000, 500)
    assert max(abs(table(t) - rate(t)) for t in times) < 1e-8


def test_a_narrow_feature_is_not_missed():
    """Wherever it stands, as long as it is wider than 1/4096 of the phase."""
    for start in np.random.default_rng(1).uniform(0, 9_990, 20):
        table = ok.Schedule.from_function(lambda t, a=start: 2.0 if a < t < a + 10 else 0.1, 1e4)
        assert table(start + 5) == pytest.approx(2.0)


def test_functions_whose_curvature_jumps_are_smooth():
    """Where one half of an interval is straight, deviations fall late, and then as smooth ones."""
    for corner in np.random.default_rng(0).uniform(0.3, 2.7, 30):

        def function(t, corner=corner):
            return max(0.0, t - corner) ** 2

        table = ok.Schedule.from_function(function, 3.0)
        times = np.linspace(0.0, 3.0, 1001)
        exact = np.array([function(t) for t in times])
        assert abs(table.at(times) - exact).max() < 2e-8 * exact.max()
