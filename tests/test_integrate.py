"""The integrator on systems with known solutions, and on right-hand sides that misbehave."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from odekit.base.status import Outcome, Status
from odekit.integrate.options import SCIPY_METHODS as METHODS
from odekit.integrate.options import SolverOptions
from odekit.integrate.phase import Integrator, Position
from odekit.integrate.stepper import Budget
from odekit.problem.system import Exact

ALL = [*METHODS, None]


class System(Exact):
    """A right-hand side, its Jacobian and what else integration asks for."""

    def __init__(self, fun, jac=None, event=None, breaks=()):
        self.fun, self._jac, self._event = fun, jac, event
        self.has_event, self.breaks = event is not None, list(breaks)

    def rhs(self, t, y):
        with np.errstate(all="ignore"):
            return np.asarray(self.fun(t, y), dtype=float)

    def jac(self, t, y):
        if self._jac is not None:
            return np.asarray(self._jac(t, y), dtype=float)
        steps = 1e-7 * np.maximum(1.0, np.abs(y))
        f = self.rhs(t, y)
        return np.array(
            [(self.rhs(t, y + d) - f) / h for h, d in zip(steps, np.diag(steps), strict=True)]
        ).T

    def event(self, y):
        return self._event(y)


def run(system, y0, end, method, targets=(), after=lambda position: None, **options):
    """Integrate from time 0, and return all there is to know."""
    chosen = SolverOptions(method=method, **options)
    budget, position = Budget(chosen), Position(0.0, np.array(y0, dtype=float))
    rows = []
    begin = time.perf_counter()
    result = Integrator(
        system,
        position,
        end,
        np.array(targets, dtype=float),
        chosen,
        budget,
        lambda t, y: rows.extend(zip(t.tolist(), np.array(y), strict=True)),
        after,
    ).run()
    return SimpleNamespace(
        status=result.status,
        outcome=result.outcome,
        seconds=time.perf_counter() - begin,
        position=position,
        budget=budget,
        t=np.array([t for t, _ in rows]),
        y=np.array([y for _, y in rows]),
    )


# ------------------------------------------------------------------------------ known solutions


def _logistic(t):
    return 0.01 * np.exp(t) / (1 + 0.01 * (np.exp(t) - 1))


CASES = {
    # name: (fun, jac, solution, y0, end)
    "decay": (
        lambda t, y: -y,
        lambda t, y: -np.eye(2),
        lambda t: np.exp(-t)[:, None] * [1.0, 2.0],
        [1.0, 2.0],
        10.0,
    ),
    "oscillator": (
        lambda t, y: [y[1], -y[0]],
        lambda t, y: [[0, 1], [-1, 0]],
        lambda t: np.stack([np.cos(t), -np.sin(t)], axis=1),
        [1.0, 0.0],
        10.0,
    ),
    "logistic": (
        lambda t, y: y * (1 - y),
        lambda t, y: [[1 - 2 * y[0]]],
        lambda t: _logistic(t)[:, None],
        [0.01],
        20.0,
    ),
    "forced": (
        lambda t, y: -50 * (y - np.cos(t)) - np.sin(t),
        lambda t, y: [[-50.0]],
        lambda t: np.cos(t)[:, None],
        [1.0],
        5.0,
    ),
}
# Right-hand sides that a case may take, and largest error in units of atol + rtol·|y| = 1e-6 (local
# errors add up over the span): about 1.5 times what scipy's methods need for the worst case.
CEILING = {
    "RK23": (1500, 50),
    "RK45": (1800, 10),
    "DOP853": (1700, 8),
    "Radau": (900, 0.3),
    "BDF": (640, 12),
    "LSODA": (950, 60),
    None: (1700, 8),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("case", CASES)
def test_known_solutions(case, method):
    fun, jac, solution, y0, end = CASES[case]
    targets = np.linspace(0, end, 41)[1:]
    done = run(System(fun, jac), y0, end, method, targets, rtol=1e-6, atol=1e-6)
    assert (done.status, done.outcome) == (Status.COMPLETED, Outcome.DURATION)
    np.testing.assert_array_equal(done.t, targets)
    assert done.position.t == end
    np.testing.assert_array_equal(done.y[-1], done.position.y)
    calls, error = CEILING[method]
    assert np.abs(done.y - solution(targets)).max() < error * 1e-6
    assert 0 < done.budget.calls <= calls


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau", None])
def test_rows_are_as_accurate_as_steps(method):
    """Between steps too: Radau's own cubic interpolant would be off by 1e-5 here."""
    fun, jac, solution, y0, end = CASES["oscillator"]
    targets = np.linspace(0, end, 301)[1:]
    done = run(System(fun, jac), y0, end, method, targets, rtol=1e-9, atol=1e-9)
    assert np.abs(done.y - solution(targets)).max() < 100e-9


@pytest.mark.parametrize("method", ALL)
def test_rows_cost_nothing_extra_but_landing(method):
    fun, jac, _, y0, end = CASES["oscillator"]
    plain = run(System(fun, jac), y0, end, method)
    rows = run(System(fun, jac), y0, end, method, np.linspace(0, end, 21)[1:])
    if method == "Radau":
        assert rows.budget.steps <= plain.budget.steps + 2 * 20
    else:
        assert rows.budget.steps == plain.budget.steps
        np.testing.assert_array_equal(rows.position.y, plain.position.y)


# ------------------------------------------------------------------------------------ the event


@pytest.mark.parametrize("method", ALL)
def test_an_event_is_found_where_it_is(method):
    """|y| = e^(−t) falls to 1e-3 at t = ln 1000: to the error of the solution itself."""
    system = System(lambda t, y: -y, lambda t, y: -np.eye(1), event=lambda y: abs(y[0]) / 1e-3 - 1)
    targets = np.linspace(0, 20, 41)[1:]
    done = run(system, [1.0], 20.0, method, targets, rtol=1e-9, atol=1e-13)
    assert (done.status, done.outcome) == (Status.COMPLETED, Outcome.THRESHOLD)
    tolerance = 1e-6 if method in ("BDF", "LSODA") else 1e-7
    assert done.position.t == pytest.approx(np.log(1e3), abs=tolerance)
    assert done.position.y[0] == pytest.approx(1e-3, rel=1e-10)
    np.testing.assert_array_equal(done.t, targets[targets < done.position.t])
    np.testing.assert_allclose(done.y[:, 0], np.exp(-done.t), rtol=10 * tolerance)


@pytest.mark.parametrize("method", ALL)
def test_an_event_met_at_the_start_takes_no_step(method):
    done = run(System(lambda t, y: -y, event=lambda y: -1.0), [1.0], 20.0, method)
    assert (done.outcome, done.position.t, done.budget.calls) == (Outcome.THRESHOLD, 0.0, 0)


@pytest.mark.parametrize("method", ALL)
def test_an_event_a_hair_after_the_start_is_found(method):
    """Interpolants of some methods do not pass through the start of their step."""
    system = System(lambda t, y: -y, lambda t, y: -np.eye(1), event=lambda y: y[0] - (1 - 1e-13))
    done = run(system, [1.0], 20.0, method)
    assert done.outcome == Outcome.THRESHOLD
    assert done.position.t < 1e-6


def test_an_event_that_is_missed_is_told():
    done = run(System(lambda t, y: -y, event=lambda y: y[0] - 1e-30), [1.0], 2.0, None)
    assert (done.status, done.outcome) == (Status.COMPLETED, Outcome.THRESHOLD_MISSED)


# ----------------------------------------------------------------------------- breaks and landing


@pytest.mark.parametrize("method", ALL)
def test_no_step_straddles_a_break(method):
    times = []
    system = System(
        lambda t, y: np.array([abs(t - 3)]), lambda t, y: np.zeros((1, 1)), breaks=[3.0, 7.0, 99.0]
    )
    done = run(system, [0.0], 10.0, method, [5.0, 10.0], after=lambda p: times.append(p.t))
    assert {3.0, 7.0} <= set(times)
    # Every method is exact for the parabolas on both sides of the kink, LSODA from order 2 on.
    np.testing.assert_allclose(done.y[:, 0], [6.5, 29.0], rtol=1e-7)


def test_radau_lands_on_rows_until_the_solution_stands_still():
    """Its interpolant is a cubic; at rest, that is as good as its steps."""
    times = []
    moving, resting = np.linspace(0, 10, 101)[1:], np.linspace(1000, 1e4, 101)
    targets = np.append(moving, resting)
    system = System(lambda t, y: -y, lambda t, y: -np.eye(1))
    done = run(system, [1.0], 1e4, "Radau", targets, after=lambda p: times.append(p.t))
    assert np.isin(moving, times).mean() > 0.5
    assert np.isin(resting, times).mean() < 0.1
    np.testing.assert_allclose(done.y[:, 0], np.exp(-targets), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_steps_obey_their_limits(method):
    times = [0.0]
    system = System(lambda t, y: -0.01 * y, lambda t, y: -0.01 * np.eye(1))
    run(
        system, [1.0], 2.0, method, after=lambda p: times.append(p.t), max_step=0.1, first_step=1e-3
    )
    assert np.diff(times).max() <= 0.1 * (1 + 1e-12)
    assert times[1] <= 1e-3 * (1 + 1e-12)


# ------------------------------------------------------------------------------------- the policy


def test_a_slow_unstable_mode_is_followed_off_a_plateau():
    """A strongly damped mode makes explicit steps short; a growing one must not be damped away.

    y_1 = 1e-9 e^(t/100) leaves at t = 2000: an L-stable method with long steps would stay.
    """
    growth = 0.01
    system = System(
        lambda t, y: np.array([-40 * (y[0] - 1), growth * y[1] * (1 - y[1])]),
        lambda t, y: np.array([[-40.0, 0.0], [0.0, growth * (1 - 2 * y[1])]]),
    )
    targets = np.linspace(0, 4000, 401)[1:]
    done = run(system, [0.0, 1e-9], 4000.0, None, targets)
    z = 1e-9 * np.exp(growth * targets)
    exact = z / (1 - 1e-9 + z)
    # In units of rtol = 1e-8, amplified by the 20 e-foldings of the growing mode.
    assert np.abs(done.y[:, 1] - exact).max() < 1e-6
    assert done.status == Status.COMPLETED


def test_long_static_spans_are_cheap():
    system = System(
        lambda t, y: np.array([-5.0, -0.5]) * (y - 1), lambda t, y: np.diag([-5.0, -0.5])
    )
    done = run(system, [0.0, 0.0], 1e7, None, np.geomspace(1, 1e7, 50))
    assert done.status == Status.COMPLETED
    assert done.position.used == ["DOP853", "Radau"]
    assert done.budget.steps < 500
    np.testing.assert_allclose(done.position.y, 1.0, atol=1e-8)


def test_explicit_again_once_the_solution_moves():
    """Static for long, then turned by 354 rad about t = 9·10⁴, then static again."""
    middle, width = 9e4, 200.0

    def drive(t):
        return np.exp(-(((t - middle) / width) ** 2))

    def fun(t, y):
        return np.array([-y[1], y[0]]) * drive(t) - 4 * (np.hypot(*y) - 1) * y

    breaks = middle + width * np.arange(-6.0, 7.0)
    done = run(System(fun, breaks=breaks), [0.5, 0.0], 1e5, None)
    assert done.status == Status.COMPLETED
    assert done.position.used == ["DOP853", "Radau", "DOP853", "Radau"]
    angle = np.sqrt(np.pi) * width
    # In units of rtol = 1e-8: it was turned by 354 rad.
    exact = [np.cos(angle), np.sin(angle)]
    np.testing.assert_allclose(done.position.y, exact, atol=400 * 1e-8)


def test_many_rows_keep_the_method_whose_rows_are_cheap():
    """Until it stands still Radau steps onto every row."""
    system = System(
        lambda t, y: np.array([-5.0, -0.5]) * (y - 1), lambda t, y: np.diag([-5.0, -0.5])
    )
    done = run(system, [0.0, 0.0], 5e3, None, np.linspace(0, 5e3, 5_001)[1:])
    assert done.position.used == ["DOP853"]
    assert len(done.t) == 5_000


# --------------------------------------------------------------------------------- standing still


@pytest.mark.parametrize("method", ALL)
def test_a_steady_state_ends_the_phase(method):
    system = System(lambda t, y: -(y - 1), lambda t, y: -np.eye(1))
    done = run(system, [0.0], 1e6, method, steady_state=1e-6)
    assert (done.status, done.outcome) == (Status.COMPLETED, Outcome.STEADY)
    # |y − 1| = e^(−t) = 1e-6 at t = 13.8; steps there are as long as that.
    assert 13 < done.position.t < 200
    assert done.position.y[0] == pytest.approx(1.0, abs=1.1e-6)


@pytest.mark.parametrize("method", ALL)
def test_a_saddle_is_no_steady_state(method):
    """It stands still for t < 1800 but for a mode that grows."""
    system = System(
        lambda t, y: np.array([-(y[0] - 1), 0.01 * y[1] * (1 - y[1])]),
        lambda t, y: np.array([[-1.0, 0.0], [0.0, 0.01 * (1 - 2 * y[1])]]),
    )
    done = run(system, [0.0, 1e-10], 1e5, method, steady_state=1e-4, rtol=1e-6, atol=1e-14)
    assert done.outcome == Outcome.STEADY
    assert done.position.t > 1800
    assert done.position.y[1] > 0.9
