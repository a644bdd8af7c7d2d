"""Explicit steps whose stages are all taken in one call."""

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

import odekit as ok
from odekit.integrate.explicit import EXPLICIT
from odekit.integrate.options import SolverOptions
from odekit.integrate.stepper import Budget, Guarded, NotFinite

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
