"""Explicit steps whose stages are all taken in one call."""

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

import odekit as ok
from odekit.integrate.explicit import EXPLICIT
from odekit.integrate.options import SolverOptions
from odekit.integrate.stepper import Budget, Guarded, NotFinite, Stepper

SCIPY = {"RK23": RK23, "RK45": RK45, "DOP853": DOP853}


def equations(groups=False, rate=0.7):
    """Of a committee on its way, with everything that a stage reads."""
    state = {"Q": [[0.5, 0.1], [0.1, 0.4]], "R": [[0.2, 0.1], [0.0, 0.3]], "T": np.eye(2)}
    more = {}
    if groups:
        more = {"groups": {"a": 0.25, "b": 0.75}}
        state = {name: np.array([x, x]) for name, x in state.items()}
    problem = ok.Problem(
        state=ok.OrderParameters(**state),
        heads={"main": [0.8, 1.1]},
        tasks={"main": ok.Task([1.0, 0.9], noise_std=0.2)},
        phases=[ok.Phase("main", 30.0, rate, readout_learning_rate=0.3, weight_decay=0.01)],
        **more,
    )
    points = problem.system.points(problem, {})
    frame, y = points.start()
    frame, y = points.enter(0, frame, y)
    return points.equations(0, frame, 0.0), y[0]


def guarded(found, at_once):
    return Guarded(found.rhs, Budget(SolverOptions()), found if at_once else None)


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("groups", [False, True])
def test_steps_in_one_call_are_those_stage_by_stage(method, groups):
    """To rounding, learning rates that change included; each stage is counted."""
    found, y = equations(groups, rate=lambda t: 0.5 + 0.4 * np.cos(t))
    pair = EXPLICIT[method].pair
    ends, stages, counts = [], [], []
    for at_once in (True, False):
        rhs = guarded(found, at_once)
        K = np.empty((pair.C.size + 1, y.size))
        K[0] = found.rhs(1.0, y)
        ends.append(rhs.steps(1.0, y, np.array([0.1, 0.3]), pair, K))
        stages.append(K)
        counts.append(rhs.budget.calls)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(stages[0], stages[1], rtol=1e-13, atol=1e-15)
    assert counts == [2 * pair.C.size, 2 * pair.C.size]


@pytest.mark.parametrize("method", EXPLICIT)
def test_the_steps_taken_are_those_of_scipy(method):
    """Rejected ones and the last included: the same times to 1e-9."""
    found, y = equations()
    times = []
    for kind, rhs in ((EXPLICIT[method], guarded(found, True)), (SCIPY[method], found.rhs)):
        solver = kind(rhs, 0.0, y, 30.0, rtol=1e-6, atol=1e-9, first_step=3.0)
        steps = []
        while solver.status == "running":
            solver.step()
            steps.append(solver.t)
        times.append(steps)
    np.testing.assert_allclose(times[0], times[1], rtol=1e-9)
    assert times[0][0] < 3.0


def test_what_is_not_finite_at_any_stage_is_found():
    """Weights of zero at a stage hide nothing: 0 · NaN is NaN."""
    found, y = equations()
    rhs, pair = guarded(found, True), EXPLICIT["DOP853"].pair
    K = np.empty((pair.C.size, y.size))
    K[0] = np.nan
    with pytest.raises(NotFinite):
        rhs.steps(0.0, y, np.array([0.1]), pair, K)


def walked(found, y, end, most=1000, **given):
    """How a stepper walks, and the same stepper."""
    options = SolverOptions(rtol=1e-6, atol=1e-9, first_step=3.0, **given)
    rhs = Guarded(found.rhs, Budget(options), found)
    stepper = Stepper("DOP853", rhs, found.jac, 0.0, y, end, options, 3.0)
    return stepper, rhs, lambda targets, floor=None: stepper.walk(most, np.array(targets), floor)


@pytest.mark.parametrize("groups", [False, True])
def test_a_walk_is_the_steps_one_by_one(groups):
    """Rows inside steps and at their ends included, and the work that it counts."""
    found, y = equations(groups, rate=lambda t: 0.5 + 0.4 * np.cos(t))
    stepper, rhs, walk = walked(found, y, 20.0)
    alone = Guarded(found.rhs, Budget(SolverOptions()), found)
    one = EXPLICIT["DOP853"](alone, 0.0, y, 20.0, rtol=1e-6, atol=1e-9, first_step=3.0)
    targets, rows = [0.3, 0.4, 7.0, 20.0], []
    while one.status == "running":
        t, start, f = one.t, one.y, one.f
        one.step()
        for time in (x for x in targets if t < x <= one.t):
            K = np.empty((one.n_stages, y.size))
            K[0] = f
            inside = alone.steps(t, start, np.array([time - t]), one.pair, K)[0]
            rows.append(one.y if time == one.t else inside)
        alone.budget.calls -= 11 * (one.t == 20.0)  # a row at the end of a step is for nothing
    there = walk(targets)
    assert there.t == stepper.t == 20.0
    assert stepper.solver.status == "finished"
    np.testing.assert_allclose(there.rows, rows, rtol=1e-11)
    np.testing.assert_allclose(there.f, found.rhs(20.0, there.y), rtol=1e-12)
    assert rhs.budget.calls == alone.budget.calls
    assert there.steps > 4


def test_a_walk_goes_on_where_it_stopped():
    """To the last bit, and counts as much: chunks are of no effect."""
    found, y = equations()
    whole = walked(found, y, 20.0)[2]([15.0])
    walk = walked(found, y, 20.0, most=2)[2]
    parts = []
    while not parts or parts[-1].t < 20.0:
        parts.append(walk([15.0] if not any(len(p.rows) for p in parts) else []))
    np.testing.assert_array_equal(parts[-1].y, whole.y)
    assert [len(p.rows) for p in parts].count(1) == 1
    assert sum(p.steps for p in parts) == whole.steps
    assert sum(p.calls for p in parts) == whole.calls


def test_a_walk_leaves_to_others_what_asks_for_more():
    """A state that falls below a floor, one that is not finite, and a step of no length."""
    found, y = equations()
    floor, end = np.full(y.size, -np.inf), walked(found, y, 20.0)[2]([]).y
    falls = np.argmin(end - y)
    floor[falls] = 0.5 * (y + end)[falls]
    stepper, _, walk = walked(found, y, 20.0)
    there = walk([], floor)
    assert there.t == stepper.t < 20.0
    assert there.y[falls] >= floor[falls] > end[falls]
    assert walk([], floor).steps == 0
    bad = y.copy()
    bad[0] = np.inf
    stepper.solver.y = bad
    assert walk([]).steps == 0
    stepper, _, walk = walked(found, y, 20.0, max_step=1e-18)
    stepper.solver.t = 10.0
    assert walk([]).steps == 0


def test_derivatives_at_many_points_are_those_at_each():
    found, y = equations(rate=lambda t: 0.5 + 0.4 * np.cos(t))
    times, states = np.array([0.0, 1.5, 29.0]), np.array([y, 1.1 * y, 0.9 * y])
    each = [found.rhs(*at) for at in zip(times, states, strict=True)]
    np.testing.assert_array_equal(found.rhs_at(times, states), each)
