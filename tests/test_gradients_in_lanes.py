"""Gradients of sweeps in lanes against those point by point, which share no code of their flow."""

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.integrate.differences import SHIFTS, STEP, Ghosts, slope
from odekit.problem.names import get, numbers, replace
from odekit.problem.shifted import shifted, value_of
from odekit.systems.committee.gradients import lanes

POINTS = 3
CLOSE = 1e-7
"""Largest difference to derivatives at rtol 1e-12, of the largest entry, at rtol 1e-10."""
USUAL = 1e-5
"""And at the default rtol."""
ROUNDING = 1e-10
"""What differences and both runs may be off besides what an estimate tells."""


@pytest.fixture(autouse=True)
def small_sweeps_too(monkeypatch):
    monkeypatch.setattr(lanes, "FEWEST", 1)


@pytest.fixture
def left_out(monkeypatch):
    """Which points every run in lanes leaves out."""
    found, carried = [], lanes.Tangents.carried

    def watched(self):
        answer = carried(self)
        found.append(answer.left_out.copy())
        return answer

    monkeypatch.setattr(lanes.Tangents, "carried", watched)
    return found


def drawn(low, high, seed=0):
    values = np.random.default_rng(seed).uniform(low, high, POINTS)
    return xr.DataArray(values, dims="draw")


def overlaps(*lead):
    shape = (POINTS, *lead, 1, 2)
    dims = ("draw", *("group" for _ in lead), "student", "teacher")
    R = xr.DataArray(np.random.default_rng(3).uniform(0.05, 0.4, shape), dims=dims)
    Q, T = np.full((*lead, 1, 1), 0.5), np.broadcast_to(np.eye(2), (*lead, 2, 2))
    return ok.OrderParameters(Q=Q, R=R, T=T)


def problem(*phases, **more):
    fields = {
        "state": overlaps(),
        "heads": {"a": [0.7], "b": [0.4]},
        "tasks": {"a": ok.Task([1.0, 0.0], noise_std=0.1), "b": ok.Task([0.3, 0.8])},
        **more,
    }
    return ok.Problem(phases=phases, **fields)


TRAINS = {"readout_learning_rate": 0.2}


def copied_heads():
    phases = (
        ok.Phase("a", 3.0, drawn(0.3, 0.6), **TRAINS),
        ok.Phase("b", 4.0, 0.5, copy_heads={"b": "a"}, **TRAINS),
    )
    of = ["generalization_error", "Q", "R", "readout", "forgetting[a]", "transfer[b]"]
    wrt = ["phases[0].learning_rate", "phases[0].duration", "heads[a]", "state.R"]
    return problem(*phases), {"of": of, "wrt": wrt, "t_eval": [0.0, 1.0, 3.0, 3.5, 7.0]}


def consolidated():
    held = ok.Consolidation("fisher", drawn(0.5, 2.0))
    phases = (
        ok.Phase("a", 3.0, 0.5, **TRAINS),
        ok.Phase("b", 4.0, 0.5, consolidation=held, **TRAINS),
    )
    wrt = ["phases[1].consolidation.strength", "phases[0].duration", "state.T[0, 1]"]
    return problem(*phases), {"of": ["generalization_error", "R"], "wrt": wrt, "t_eval": [1.0, 5.0]}


def thresholds():
    phases = (
        ok.Phase("a", 100.0, drawn(0.3, 0.6), until=0.03, **TRAINS),
        ok.Phase("b", 4.0, 0.5, **TRAINS),
    )
    of = ["generalization_error", "R", "phase_end", "transfer[b]"]
    wrt = ["phases[0].learning_rate", "phases[0].until", "tasks[a].readout[0]"]
    return problem(*phases), {"of": of, "wrt": wrt}


def rows_after_a_threshold():
    setting, how = thresholds()
    return setting, {**how, "of": ["R", "phase_end_error"], "t_eval": [5.0, 16.0, 20.0]}


def tables():
    rate = ok.Schedule([0.0, 2.0, 4.0], [0.2, 0.8, 0.3])
    phase = ok.Phase({"a": 0.3, "b": 0.7}, 6.0, rate, drawn(0.1, 0.3), weight_decay=0.01)
    wrt = ["phases[0].tasks[a]", "phases[0].readout_learning_rate", "phases[0].weight_decay",
           "tasks[a].noise_std", "phases[0].duration"]  # fmt: skip
    return problem(phase), {"of": ["generalization_error", "R"], "wrt": wrt}


def views():
    phase = ok.Phase({"a": 0.3, "b": 0.7}, 3.0, drawn(0.3, 0.5), **TRAINS)
    wrt = ["tasks[a].input_variance", "tasks[b].student_gain", "tasks[a].student_noise_std"]
    return problem(phase), {"of": ["generalization_error", "R"], "wrt": wrt}


def zeros():
    """Numbers that are 0, and bring in what the equations of the sweep do not have."""
    wrt = ["phases[0].readout_learning_rate", "phases[0].weight_decay", "tasks[b].noise_std"]
    return problem(ok.Phase("a", 3.0, drawn(0.3, 0.6))), {"of": ["R", "readout"], "wrt": wrt}


def linear_units():
    phase = ok.Phase({"a": 0.3, "b": 0.7}, 3.0, drawn(0.1, 0.2), **TRAINS, weight_decay=0.01)
    wrt = ["phases[0].tasks[a]", "phases[0].weight_decay", "tasks[a].noise_std"]
    return problem(phase, activation="linear"), {"of": ["generalization_error", "R"], "wrt": wrt}


def relu_in_gradient_flow():
    phase = ok.Phase("a", 3.0, drawn(0.1, 0.2), gradient_flow=True, **TRAINS)
    wrt = ["phases[0].learning_rate", "state.Q[0, 0]"]
    return problem(phase, activation="relu"), {"of": ["generalization_error", "R"], "wrt": wrt}


def groups():
    phase = ok.Phase({"a": 0.3, "b": 0.7}, 50.0, drawn(0.3, 0.5), until=0.15, **TRAINS)
    tasks = {
        "a": ok.Task([1.0, 0.0], noise_std=0.1, input_variance={"x": 1.5, "y": 0.7}),
        "b": ok.Task([0.3, 0.8]),
    }
    more = {"state": overlaps(2), "groups": {"x": 0.4, "y": 0.6}, "tasks": tasks}
    wrt = ["phases[0].tasks[a]", "tasks[a].input_variance[x]", "state.R[1, 0, 1]"]
    of = ["generalization_error", "R", "R_group", "phase_end"]
    return problem(phase, **more), {"of": of, "wrt": wrt}


def structured():
    first = {"bias_learning_rate": 0.1, "keep_probability": 0.8, "readout_learning_rate": 0.1}
    phases = (
        ok.Phase({"a": 0.3, "b": 0.7}, 2.0, 0.4, **first),
        ok.Phase("b", 2.0, drawn(0.3, 0.4), momentum_decay=0.5, **TRAINS),
    )
    tasks = {
        "a": ok.Task([1.0, 0.0], noise_std=0.1, label=0.2, input_mean=[0.3, -0.2]),
        "b": ok.Task([0.3, 0.8]),
    }
    wrt = ["phases[0].keep_probability", "phases[1].momentum_decay", "biases[0]",
           "tasks[a].input_mean[1]", "tasks[a].label"]  # fmt: skip
    how = {"of": ["generalization_error", "R", "bias"], "wrt": wrt, "t_eval": [1.0, 3.0, 4.0]}
    return problem(*phases, biases=[0.1], tasks=tasks), how


def clusters():
    tasks = {
        "a": ok.Task([0.0, 0.0], label=1.0, input_mean=[1.0, 0.4], head="a"),
        "b": ok.Task([0.0, 0.0], label=-1.0, input_mean=[-1.0, 0.2], head="a"),
    }
    phase = ok.Phase({"a": 0.3, "b": 0.7}, 3.0, drawn(0.3, 0.5), **TRAINS)
    how = {"of": "misclassification", "wrt": ["phases[0].tasks[a]", "tasks[b].input_mean[0]"]}
    return problem(phase, heads={"a": [0.7]}, tasks=tasks), how


CASES = [
    copied_heads, consolidated, thresholds, rows_after_a_threshold, tables, views, zeros,
    linear_units, relu_in_gradient_flow, groups, structured, clusters,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_they_are_those_of_single_points(case, left_out, monkeypatch):
    setting, how = case()
    fine = ok.sensitivity(setting, rtol=1e-10, atol=1e-13, estimate=False, **how)
    usual = ok.sensitivity(setting, **how)
    assert len(left_out) == 3
    assert not np.any(left_out)
    monkeypatch.setattr(lanes, "FEWEST", POINTS + 1)
    exact = ok.sensitivity(setting, rtol=1e-12, atol=1e-14, estimate=False, **how)
    assert len(left_out) == 3
    for name in exact.data_vars:
        if not name.startswith("d_"):
            continue
        given = exact[name].values
        largest = np.nanmax(np.abs(given))
        assert largest > 0.0
        for found, most in ((fine, CLOSE), (usual, USUAL)):
            assert found[name].dims == exact[name].dims
            np.testing.assert_allclose(found[name].values, given, rtol=0, atol=most * largest)
        error, off = usual[f"{name}_error"].values, np.abs(usual[name].values - given)
        assert not (off > error + ROUNDING * largest).any()


def same(one, other):
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values)


def test_neither_neighbours_nor_threads_matter():
    setting, how = thresholds()
    whole = ok.sensitivity(setting, threads=1, **how)
    same(whole, ok.sensitivity(setting, threads=2, **how))
    rates = setting.phases[0].learning_rate
    R = setting.state.R
    for keep in ([1], [2, 0], [0, 1]):
        state = ok.OrderParameters(setting.state.Q, R.isel(draw=keep), setting.state.T)
        some = setting.replace_phase(0, learning_rate=rates.isel(draw=keep)).replace(state=state)
        same(whole.isel(draw=keep), ok.sensitivity(some, **how))


def test_chunks_do_not_matter(monkeypatch):
    setting, how = tables()
    whole = ok.sensitivity(setting, **how)
    monkeypatch.setattr(lanes, "MOST_RUNS", 1)
    same(whole, ok.sensitivity(setting, **how))


def test_points_that_fail_keep_their_status(left_out, monkeypatch):
    rates = xr.DataArray([0.5, 40.0, 0.4], dims="draw")
    setting = problem(ok.Phase("a", 10.0, rates), activation="linear")
    how = {"of": "R", "wrt": "phases[0].learning_rate"}
    with pytest.warns(ok.NotCompletedWarning):
        found = ok.sensitivity(setting, **how)
    assert left_out[0].tolist() == [False, True, False]
    monkeypatch.setattr(lanes, "FEWEST", POINTS + 1)
    with pytest.warns(ok.NotCompletedWarning):
        alone = ok.sensitivity(setting, **how)
    assert found.status.values.tolist() == alone.status.values.tolist()
    assert found.status.values[1] != ok.Status.COMPLETED
    assert np.isnan(found.d_R.values[1]).all()
    assert np.isfinite(found.d_R.values[[0, 2]]).all()


def test_points_that_stand_still_go_alone(left_out, monkeypatch):
    rates = xr.DataArray([0.5, 1.5, 1.0], dims="draw")
    setting = problem(ok.Phase("a", xr.DataArray([10.0, 3e4, 5.0], dims="draw"), rates, **TRAINS))
    how = {"of": "generalization_error[a]", "wrt": "tasks[a].noise_std"}
    found = ok.sensitivity(setting, **how)
    assert left_out[0].tolist() == [False, True, False]
    monkeypatch.setattr(lanes, "FEWEST", POINTS + 1)
    alone = ok.sensitivity(setting, **how)
    assert found.n_steps.values[1] == alone.n_steps.values[1]
    name = "d_generalization_error_a"
    assert found[name].values[1] == alone[name].values[1]


def test_units_that_vanish_are_refused():
    phase = ok.Phase("a", 3.0, drawn(0.1, 0.2), gradient_flow=True)
    state = ok.OrderParameters([[1e-11]], np.zeros((1, 2)), np.eye(2))
    setting = problem(phase, activation="relu", state=state)
    with pytest.raises(ok.ProblemError, match="away from zero"):
        ok.sensitivity(setting, of="R", wrt="phases[0].learning_rate")


@pytest.mark.parametrize(
    "how",
    [
        {"of": "integrated_error", "wrt": "phases[0].duration"},
        {"of": "R[0, 0].maximum", "wrt": "phases[0].duration"},
        {"of": "overlap_cosine", "wrt": "phases[0].duration"},
        {"of": "R", "wrt": "phases[0].learning_rate.values"},
        {"of": "R", "wrt": "phases[0].duration", "method": "adjoint"},
        {"of": "R", "wrt": "phases[0].duration", "integrator": "Radau"},
    ],
    ids=str,
)
def test_what_is_out_of_reach_goes_point_by_point(how, left_out):
    found = ok.sensitivity(tables()[0], estimate=False, **how)
    assert not left_out
    assert np.isfinite(found[list(found.data_vars)[1]].values).all()


@pytest.mark.parametrize("wrt", ["groups[x]", "phases[0].batch_size", "phases[0].tasks[c]"])
def test_what_has_no_derivative_is_refused(wrt, left_out):
    with pytest.raises(ok.ProblemError):
        ok.sensitivity(groups()[0], of="R", wrt=wrt)
    assert not left_out


def test_rates_by_group_go_point_by_point(left_out):
    """The largest of rates by group has a kink where two are alike."""
    setting, how = groups()
    rates = {"x": 0.4, "y": 0.4}
    setting = setting.replace_phase(0, learning_rate=rates)
    ok.sensitivity(setting, of="R", wrt="phases[0].learning_rate[x]", estimate=False)
    assert not left_out
    ok.sensitivity(setting, of="R", wrt=how["wrt"][:1], estimate=False)
    assert len(left_out) == 1


def beside_a_table():
    """Three tasks, one with a table: with the probability of another, the table makes room."""
    share = ok.Schedule([0.0, 1.0, 2.0], [0.2, 0.4, 0.1])
    heads = {name: [0.7] for name in "abc"}
    tasks = {name: ok.Task([1.0, 0.3 * i]) for i, name in enumerate(heads)}
    phase = ok.Phase({"a": share, "b": 0.3, "c": "rest"}, 2.0, drawn(0.3, 0.5), 0.2)
    return problem(phase, heads=heads, tasks=tasks)


def test_probabilities_beside_tables_go_point_by_point(left_out):
    found = ok.sensitivity(beside_a_table(), of="R", wrt="phases[0].tasks[b]")
    assert not left_out
    assert (np.abs(found.d_R) > 1e-4).any()
    ok.sensitivity(beside_a_table(), of="R", wrt="tasks[b].noise_std", estimate=False)
    assert len(left_out) == 1


def test_tables_that_move_are_out_of_reach(left_out, monkeypatch):
    """Also where nobody tells by the name: what is differentiated multiplies them."""
    monkeypatch.setattr(lanes, "_is_apart", lambda _problem, _entry: False)
    ok.sensitivity(tables()[0], of="R", wrt="phases[0].learning_rate.values[1]", estimate=False)
    assert not left_out


# ------------------------------------------------------------------------------------ differences


def around(value, step):
    return Ghosts({s: value + s * step for s in SHIFTS}, step)


def test_a_short_scale_is_in_doubt_where_a_function_is_odd():
    x, y = np.zeros(1), np.zeros((2, 1))
    scale = np.array([[1.0], [0.01]])
    found = slope(lambda _, at: np.tanh(at / scale), x, y, along=[np.ones_like(y)])
    assert found.doubt.tolist() == [False, True]
    np.testing.assert_allclose(found.parts[0][0], 1.0, rtol=1e-11)


def test_differences_are_those_of_a_smooth_function():
    x, y = np.array([0.3, 2.0, -1.0]), np.array([[0.5], [0.1], [2.0]])
    step = STEP * np.abs(x)

    def function(number, given):
        return np.sin(number[:, np.newaxis]) * np.exp(given), number

    found = slope(function, x, y, ghosts=around(x, step), along=[np.full_like(y, 3.0)])
    wanted = (np.cos(x) + 3.0 * np.sin(x))[:, np.newaxis] * np.exp(y)
    np.testing.assert_allclose(found.parts[0], wanted, rtol=1e-11)
    np.testing.assert_allclose(found.parts[1], np.ones(3), rtol=1e-11)
    assert not found.doubt.any()


def test_a_kink_is_doubted_at_its_point_alone():
    x = np.array([0.3, 0.5, 0.5 + 1e-4])
    found = slope(lambda n, _: np.maximum(n, 0.5), x, (), ghosts=around(x, STEP * np.ones(1)))
    assert found.doubt.tolist() == [False, True, True]
    with np.errstate(invalid="ignore"):
        gone = slope(lambda n, _: np.sqrt(n - 0.3), x, (), ghosts=around(x, STEP * np.ones(1)))
    assert gone.doubt[0]


@pytest.mark.parametrize(
    "name",
    [
        "phases[0].tasks[a]", "phases[0].weight_decay", "phases[0].until", "heads[a][0]",
        "tasks[a].input_variance[x]", "state.Q[1, 0, 0]", "state.T[0, 0, 1]", "groups[x]",
    ],
)  # fmt: skip
def test_shifted_numbers_are_replaced_ones(name):
    setting, _ = groups()
    setting = setting.replace(state=overlaps(2)).replace_phase(0, weight_decay=0.3)
    value = value_of(setting, name)
    assert value == get(setting, name)
    moved = shifted(setting, name, 1e-3, mirrored=name.startswith("state"))
    if name != "groups[x]":
        wanted = numbers(replace(setting, name, value + 1e-3))
        assert numbers(moved) == pytest.approx(wanted, rel=1e-14)
        assert numbers(moved) != numbers(setting)
    assert value_of(moved, name) == value + 1e-3
    assert value_of(setting, name) == value
