"""Learning rates that change in time: tables, and functions tabulated to a relative 1e-10."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.problem.schedule import MAX_BREAKS, TABULATION_TOLERANCE


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
    assert off.max() <= 4 * TABULATION_TOLERANCE * exact.max() + 1e-300
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
    "kind": (lambda: ok.Schedule([0, 1], [1, 1], "step"), "'linear', 'cubic'"),
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


def test_no_step_straddles_a_kink_and_long_tables_have_few_breaks():
    table = ok.Schedule([0.0, 5.0, 8.0, 20.0], [1, 2, 3, 4])
    assert table.breaks(10.0) == [5.0, 8.0]
    long = ok.Schedule(np.arange(10_000.0), np.ones(10_000))
    assert 1 < len(long.breaks(9999.0)) <= MAX_BREAKS
    assert ok.Schedule([20.0, 30.0], [1, 2]).breaks(10.0) == []


def test_the_sharpest_kinks_of_a_long_table_are_breaks():
    values = np.full(10_000, 0.1)
    values[7001] = 1.0
    breaks = ok.Schedule(np.arange(10_000.0), values).breaks(9999.0)
    assert {7000.0, 7001.0, 7002.0} <= set(breaks)
    assert len(breaks) <= MAX_BREAKS
    assert breaks == sorted(breaks)


def test_tables_survive_plain_data_exactly_and_are_read_only():
    table = ok.Schedule.from_function(FUNCTIONS["exponential"][0], 1e3)
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
