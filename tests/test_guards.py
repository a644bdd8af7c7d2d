"""No hang and no false success, whatever a right-hand side does."""

import time

import numpy as np
import pytest

from odekit.base.status import Outcome, Status
from test_integrate import ALL, System, run

NAN = {
    "NaN at once": (lambda t, y: y * np.nan, [1.0, 1.0]),
    "infinite at once": (lambda t, y: y * np.inf, [1.0, 1.0]),
    "NaN later": (lambda t, y: -y if t < 1 else y * np.nan, [1.0, 1.0]),
    "infinities of both signs": (lambda t, y: -y if t < 1 else [np.inf, -np.inf], [1.0, 1.0]),
    "root of a negative number": (lambda t, y: -np.sqrt(y), [1.0]),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("case", NAN)
def test_a_derivative_that_is_not_finite_ends_the_run(case, method):
    fun, y0 = NAN[case]
    done = run(System(fun), y0, 10.0, method, np.linspace(0, 10, 101)[1:])
    assert (done.status, done.outcome) == (Status.NONFINITE, Outcome.FAILED)
    assert done.seconds < 5.0
    assert np.isfinite(done.position.y).all()
    assert np.isfinite(done.y).all()
    assert (done.t <= done.position.t).all()
    if "later" in case:
        # Steps are cut down to the last point that can be reached.
        assert 0.99 < done.position.t <= 1.0


@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
def test_a_jacobian_that_is_not_finite_is_no_hang(method):
    system = System(lambda t, y: -50 * y, lambda t, y: np.full((2, 2), np.nan))
    done = run(system, [1.0, 1.0], 10.0, method, max_seconds=20.0)
    assert done.status in (Status.NONFINITE, Status.SOLVER_FAILED, Status.STALLED)
    assert done.seconds < 5.0


BLOWUPS = {
    "quadratic": (lambda t, y: y**2, [1.0], 1.0),
    "cubic": (lambda t, y: [y[0] ** 3, -y[1]], [1.0, 1.0], 0.5),
    "exponential": (lambda t, y: 50 * y, [1.0, 1.0], np.log(1e100) / 50),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("case", BLOWUPS)
def test_blow_up(case, method):
    fun, y0, when = BLOWUPS[case]
    done = run(System(fun), y0, 1e3, method, rtol=1e-6, atol=1e-6)
    assert done.status == Status.BLOW_UP
    assert done.position.t == pytest.approx(when, rel=2e-2)
    assert done.seconds < 10.0
    assert np.isfinite(done.position.y).all()


@pytest.mark.parametrize("method", ALL)
def test_a_singularity_stalls(method):
    done = run(System(lambda t, y: np.ones(1) / np.abs(1 - t)), [1.0], 2.0, method, rtol=1e-6)
    assert done.status in (Status.STALLED, Status.NONFINITE)
    assert done.seconds < 10.0
    assert done.position.t == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("method", ALL)
def test_a_jump_that_is_never_crossed_stalls(method):
    """Steps chatter at the jump; 20,000 of them, of at most 1e-9, are let pass before the end."""
    done = run(System(lambda t, y: -np.sign(y)), [1.0], 5.0, method)
    assert done.status == Status.STALLED
    assert done.seconds < 60.0  # some 3 s; for ever if it hung
    assert done.position.t == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("method", ALL)
def test_the_step_budget_is_kept_exactly_and_every_step_paid_for_is_kept(method):
    system = System(lambda t, y: -1000 * (y - np.cos(t)), lambda t, y: [[-1000.0]])
    times = []
    done = run(system, [1.0], 1e4, method, after=lambda p: times.append(p.t), max_steps=200)
    assert done.status == Status.STEP_BUDGET
    assert (done.budget.steps, len(times)) == (200, 200)
    assert done.position.t == times[-1]


@pytest.mark.parametrize("method", ALL)
def test_the_time_budget_is_kept(method):
    def slow(t, y):
        time.sleep(2e-3)
        return np.cos(50 * t) * y

    done = run(System(slow), [1.0], 1e6, method, max_seconds=0.1)
    assert done.status == Status.TIME_BUDGET
    assert done.seconds < 1.0
    assert done.position.t > 0


@pytest.mark.parametrize("method", ["RK45", "LSODA"])
def test_a_right_hand_side_without_a_limit_is_no_hang(method):
    """White noise: no step size ever satisfies the tolerance for long."""
    rng = np.random.default_rng(0)
    done = run(
        System(lambda t, y: rng.standard_normal(y.size)), [1.0], 10.0, method, max_seconds=0.3
    )
    assert done.status in (Status.TIME_BUDGET, Status.STALLED, Status.SOLVER_FAILED)
    assert done.seconds < 2.0


def test_a_step_that_never_ends_is_ended(monkeypatch):
    """Should a method loop inside one step, as scipy's do on NaN, its evaluations run out."""
    from odekit.integrate import stepper

    class Loops(stepper.EXPLICIT["RK45"]):
        def _step_impl(self):
            while True:
                self.fun(self.t, self.y)

    monkeypatch.setitem(stepper.SOLVERS, "RK45", Loops)
    done = run(System(lambda t, y: -y), [1.0], 1.0, "RK45")
    assert done.status == Status.STALLED
    assert done.seconds < 5.0
    done = run(System(lambda t, y: time.sleep(1e-5) or -y), [1.0], 1.0, "RK45", max_seconds=0.05)
    assert done.status == Status.TIME_BUDGET


def test_a_method_that_gives_up_says_so(monkeypatch):
    from odekit.integrate import stepper

    class GivesUp(stepper.BDF):
        def _step_impl(self):
            return False, "No convergence."

    monkeypatch.setitem(stepper.SOLVERS, "BDF", GivesUp)
    assert run(System(lambda t, y: -y), [1.0], 1.0, "BDF").status == Status.SOLVER_FAILED


@pytest.mark.parametrize("method", ALL)
def test_errors_of_the_right_hand_side_are_not_swallowed(method):
    """A kernel never raises; what does is a mistake in a program, not a numerical failure."""

    def broken(t, y):
        if t > 1:
            raise ZeroDivisionError
        return -y

    with pytest.raises(ZeroDivisionError):
        run(System(broken), [1.0], 10.0, method)
