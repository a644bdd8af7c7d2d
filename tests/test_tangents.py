"""Right-hand sides with tangents, in lanes: by differences, and by the Jacobian of single runs."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

import odekit as ok
import test_groups as groups
from networks import random_problem
from odekit.base.interrupts import Interrupts
from odekit.integrate.engine import Engine
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import at, axes
from odekit_kernels._jit import NO_JIT
from odekit_kernels.integrators import tangents
from odekit_kernels.integrators.rows import rates_of_rows
from odekit_kernels.lanes.memory import make_memory
from test_written_out import committee

DRAWS = 11
"""More than lanes, and no multiple of them."""
STEP = 1e-3
NOISE = xr.DataArray(np.linspace(0.1, 0.5, DRAWS), dims="noise")
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
AGAIN = """
from numba.core import event
from test_tangents import Sweep, drawn, problem_of
sweep = Sweep(problem_of("of one unit"), 2)
with event.install_recorder("numba:compile") as recorder:
    sweep.wide_rates(*drawn(sweep))
print(sum(e.is_start for _, e in recorder.buffer))
"""
CASES = {
    "white": {},
    "with decay": {"weight_decay": 0.2, "readout_weight_decay": 0.1},
    "of a mixture, in batches": {"tasks": {"a": 0.3, "b": 0.7}, "batch_size": 3},
    "of ReLU": {"activation": "relu", "gradient_flow": True},
    "of linear units": {"activation": "linear", "frozen": [True, False]},
    "of linear units that flow": {"activation": "linear", "gradient_flow": True},
    "of one unit": {"K": 1},
}


class Sweep:
    """A phase of many points, without and with tangents."""

    def __init__(self, problem, count, index=0):
        engine = Engine(problem, axes(problem), SolverOptions(), np.ones(1), 1, Interrupts())
        frame, y = engine.points.start()
        for i in range(index + 1):
            frame, y = engine.points.enter(i, frame, y)
        phase = problem.phases[index]
        self.plan, self.y = engine.points.plan(phase, frame), y
        state = {"y": y, "numbers": engine.numbers, "counts": engine.counts, "rows": None}
        self.batch = engine.points.batch(index, frame, self.plan, times=np.ones(1), **state)
        limits = engine._limits(index, self.plan, self.batch, 1.0)
        self.flags = (limits.moves, limits.trains, limits.decays)
        self.count, width = count, self.batch.places.size
        self.constants = np.broadcast_to(self.batch.constants, (len(y), width)).copy()
        self.wide = tangents.with_tangents(
            self.plan, self.batch.wiring, self.batch.places, count, 0, *self.flags
        )

    def columns(self, name):
        """Where a constant stands in a row."""
        first = self.batch.wiring.first
        return slice(getattr(first, name), first[first._fields.index(name) + 1])

    def rates(self, y, constants):
        """The right-hand side of the equations themselves."""
        given = (self.plan, self.batch.wiring, self.batch.places)
        return run(*given, y, constants, self.flags)

    def wide_rates(self, y, S, constants, by):
        """The same with tangents, of S (points, count, n), and of constants alike."""
        wide, many = self.wide, len(y)
        places = np.concatenate([self.batch.places, wide.places.ravel()])
        states = np.concatenate([y, S.reshape(many, -1)], axis=1)
        row = np.concatenate([constants, by.reshape(many, -1)], axis=1)
        found = run(wide.plan, wide.wire(self.batch.wiring), places, states, row, self.flags)
        return found[:, : y.shape[1]], found[:, y.shape[1] :].reshape(S.shape)


def run(plan, wiring, places, states, constants, flags):
    out, which = np.full(states.shape, np.nan), np.arange(len(states))
    M = make_memory(plan.size)
    M[:] = np.nan
    rates_of_rows(M, plan, wiring, states, constants, places, which, *flags, out)
    return out


def drawn(sweep, seed=0):
    """States and constants with nothing special about them, and directions of both."""
    rng = np.random.default_rng(seed)
    many, n, width = len(sweep.y), sweep.plan.n, sweep.batch.places.size
    y = sweep.y * rng.uniform(0.95, 1.05, sweep.y.shape)
    constants = sweep.constants * rng.uniform(0.95, 1.05, sweep.constants.shape)
    S, by = (rng.uniform(-0.5, 0.5, (many, sweep.count, size)) for size in (n, width))
    return y, S, constants, by


def differences(sweep, y, S, constants, by):
    """Derivatives along the directions: error below STEP**4, and rounding by 1e-16/STEP."""
    found = np.zeros(S.shape)
    for j in range(sweep.count):
        for times, weight in STENCIL:
            h = times * STEP
            found[:, j] += weight * sweep.rates(y + h * S[:, j], constants + h * by[:, j]) / STEP
    return found


def assert_is_derivative(sweep):
    given = drawn(sweep)
    rates, found = sweep.wide_rates(*given)
    plain = sweep.rates(given[0], given[2])
    assert_allclose(rates, plain, rtol=0, atol=1e-13 * np.abs(plain).max())
    expected = differences(sweep, *given)
    assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def problem_of(name):
    problem = committee(**CASES[name])
    return problem.replace(state=several(len(problem.heads["a"])))


def several(K):
    return ok.OrderParameters.draw(
        student=K, teacher=2, weight_std=0.6, input_dim=200, seed=1, draws=DRAWS
    )


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_derivative_of_the_equations(name):
    assert_is_derivative(Sweep(problem_of(name), 3))


def test_pulls_towards_copies_have_derivatives_too():
    hold = ok.Consolidation("fisher", 0.4, "a")
    second = ok.Phase("b", 1.0, 0.5, 0.2, weight_decay=0.1, consolidation=hold, gradient_flow=True)
    first = problem_of("white")
    assert_is_derivative(Sweep(first.replace(phases=[*first.phases, second]), 2, index=1))


def structured(activation, **phase):
    """Labels, means of the inputs, biases and dropout: the normal distribution of two variables."""
    task = {"label": 0.4, "input_mean": [0.3, -0.2], "noise_std": NOISE}
    rates = {"learning_rate": 0.5, "readout_learning_rate": 0.2, "bias_learning_rate": 0.3}
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1, 0.2]], T=np.eye(2)),
        heads={"main": [0.8]},
        tasks={"main": ok.Task([1.0, 0.7], **task)},
        phases=[ok.Phase("main", 1.0, **rates, **phase)],
        activation=activation,
        biases=[0.1],
    )


@pytest.mark.parametrize(
    ("activation", "phase"),
    [("erf", {"keep_probability": 0.8}), ("relu", {"gradient_flow": True})],
)
def test_structured_inputs_have_derivatives_too(activation, phase):
    assert_is_derivative(Sweep(structured(activation, **phase), 2))


def test_linear_networks_have_derivatives_too():
    problem, _ = random_problem(3)
    rate = xr.DataArray(np.linspace(0.2, 1.0, DRAWS), dims="rate")
    phase = ok.Phase("main", duration=3.0, learning_rate=rate)
    assert_is_derivative(Sweep(problem.replace(phases=phase), 2))


def test_groups_of_inputs_have_derivatives_too():
    given = groups.problem()
    tasks = {**given.tasks, "b": replace(given.tasks["b"], noise_std=NOISE)}
    phase = replace(given.phases[1], consolidation=None)
    assert_is_derivative(Sweep(given.replace(tasks=tasks, phases=[phase]), 2))


def test_derivatives_are_finite_where_fields_coincide():
    """Units of ReLU that are one with a fixed vector, or with each other, or nothing."""
    sweep = Sweep(problem_of("of ReLU"), 1)
    y, S, constants, by = drawn(sweep)
    T = constants[:, sweep.columns("T")].reshape(-1, 2, 2)
    T[:] = [[1.0, 0.3], [0.3, 1.0]]
    constants[:, sweep.columns("T")] = T.reshape(-1, 4)
    y[0, :7] = [1.0, 0.3, 1.0, 1.0, 0.3, 0.3, 1.0]
    y[1, :7] = [1.0, 1.0, 1.0, 1.0, 0.3, 1.0, 0.3]
    y[2, :7] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.2, 0.3]
    rates, found = sweep.wide_rates(y, S, constants, by)
    assert np.isfinite(rates).all()
    assert np.isfinite(found).all()


def test_the_identity_gives_the_jacobian_of_single_runs():
    problem = problem_of("with decay")
    n = Sweep(problem, 1).plan.n
    sweep = Sweep(problem, n)
    S = np.broadcast_to(np.eye(n), (DRAWS, n, n))
    by = np.zeros((DRAWS, n, sweep.batch.places.size))
    _, found = sweep.wide_rates(sweep.y, S, sweep.constants, by)
    for i in range(DRAWS):
        expected = ok.equations(at(problem, {"draw": i})).jac(0.0, sweep.y[i])
        assert_allclose(found[i].T, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_lanes_do_not_see_each_other():
    """Neighbours that are far off, and one that is not finite, change no bit."""
    sweep = Sweep(problem_of("white"), 2)
    y, S, constants, by = drawn(sweep)
    _, expected = sweep.wide_rates(y, S, constants, by)
    y[1::2] *= 1e3
    constants[1::2] *= 10.0
    y[3] = np.nan
    _, found = sweep.wide_rates(y, S, constants, by)
    assert_array_equal(found[::2], expected[::2])
    assert not np.array_equal(found[1::2], expected[1::2])


def test_the_number_of_directions_is_no_part_of_the_code():
    problem = problem_of("white")
    one, many = (Sweep(problem, count) for count in (1, 5))
    assert one.wide.lines == many.wide.lines
    assert one.wide.plan != many.wide.plan
    other = Sweep(problem_of("with decay"), 1)
    assert other.wide.lines != one.wide.lines
    assert type(other.wide.plan) is type(one.wide.plan)


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
def test_another_process_compiles_nothing():
    sweep = Sweep(problem_of("of one unit"), 2)
    sweep.wide_rates(*drawn(sweep))
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=300, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.split() == ["0"]


def test_what_asks_for_too_many_lines_has_no_tangents(monkeypatch):
    assert Sweep(committee(K=5), 1).wide is None
    tangents._address.cache_clear()
    monkeypatch.setattr(tangents, "GROWTH", 0)
    assert Sweep(committee(K=1), 1).wide is None
    tangents._address.cache_clear()


def test_only_constants_are_read():
    """A place that is no constant would have no tangent."""
    sweep = Sweep(committee(K=1), 1)
    given = (sweep.plan, sweep.batch.wiring, sweep.batch.places[1:], 1, 0, *sweep.flags)
    assert tangents.with_tangents(*given) is None


def test_implicit_steps_are_refused():
    with pytest.raises(ValueError, match="explicit integrators advance them"):
        tangents.jacobian(*[None] * 8)
