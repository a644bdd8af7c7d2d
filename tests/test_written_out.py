"""Right-hand sides written out for one plan: the equations' own numbers, from their own source."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import odekit as ok
from odekit.base.interrupts import Interrupts
from odekit.integrate.engine import Engine
from odekit.integrate.options import SolverOptions
from odekit.integrate.tableaus import MOST_STAGES
from odekit.problem.axes import at, axes
from odekit_kernels.arcsine import SERIES
from odekit_kernels.integrators import registry, unrolled
from odekit_kernels.integrators.cuda import explicit_kernel
from odekit_kernels.lanes import values

# Every function of numbers that a text may call, in its plainest form.
PLAIN = {
    "get": lambda M, i: M[i],
    "put": lambda M, i, x: M.__setitem__(i, x),
    "asin": lambda x, c: math.asin(x),
    "asin_given": lambda x, cosine2: math.asin(x),
    "over_root": lambda x: 1.0 / math.sqrt(x),
    "root": math.sqrt,
    "absolute": abs,
    "with_sign": math.copysign,
    "minor": lambda a, b, c: a * b - c * c,
    "choose_less": lambda a, b, yes, no: yes if a < b else no,
}


def committee(K=2, activation="erf", seed=1, **phase):
    state = ok.OrderParameters.draw(
        student=K, teacher=2, weight_std=0.6, input_dim=200, seed=seed, draws=2
    )
    given = {"tasks": "a", "duration": 1.0, "learning_rate": 0.5, "readout_learning_rate": 0.2}
    tasks = {
        "a": ok.Task([1.0, 0.7], noise_std=0.3),
        "b": ok.Task([0.2, -1.0], head="b", noise_std=0.1),
    }
    heads = {"a": np.linspace(1.0, 0.5, K), "b": np.linspace(-0.3, 0.8, K)}
    return ok.Problem(
        state=state,
        heads=heads,
        tasks=tasks,
        activation=activation,
        phases=[ok.Phase(**given | phase)],
    )


def first_phase(problem):
    """Plan, wiring, flags, and the memory of the first point, as the phase begins."""
    engine = Engine(problem, axes(problem), SolverOptions(), np.ones(1), 1, Interrupts())
    frame, y = engine.points.start()
    plan = engine.points.plan(problem.phases[0], frame, MOST_STAGES)
    state = {"y": y, "numbers": engine.numbers, "counts": engine.counts, "rows": None}
    batch = engine.points.batch(0, frame, plan, times=np.ones(1), **state)
    limits = engine._limits(0, plan, batch, 1.0)
    memory = np.full(plan.size, np.nan)
    memory[batch.places], memory[plan.y : plan.y + plan.n] = batch.constants[0], y[0]
    return plan, batch.wiring, (limits.moves, limits.trains, limits.decays), memory


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"weight_decay": 0.2, "readout_weight_decay": 0.1},
        {"tasks": {"a": 0.3, "b": 0.7}, "batch_size": 3},
        {"activation": "relu", "gradient_flow": True},
        {"activation": "linear", "frozen": [True, False]},
        {"K": 1},
    ],
)
def test_the_text_says_what_kernels_of_single_runs_compute(given):
    """With math's functions in it; 1e-13 of the largest entry is some hundred roundings."""
    problem = committee(**given)
    plan, wiring, flags, memory = first_phase(problem)
    text, numbers = unrolled.source(plan, wiring, *flags)
    names = dict(PLAIN)
    exec(text, names)
    names["rhs"](memory, plan, SimpleNamespace(numbers=numbers), plan.y, plan.k, *flags)
    found = memory[plan.k : plan.k + plan.n]
    expected = ok.equations(at(problem, {"draw": 0})).rhs(0.0, memory[plan.y : plan.y + plan.n])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_what_does_not_change_with_the_state_is_in_the_text_once():
    plan, wiring, flags, _ = first_phase(committee())
    text, numbers = unrolled.source(plan, wiring, *flags)
    lines = text.splitlines()[2:]
    said = [line.split(" = ")[1] for line in lines if " = " in line]
    assert len(said) == len(set(said))
    assert len(set(numbers)) == len(numbers)
    assert sum("asin(" in line for line in lines) == 3 * 10 + 2 * 4


def test_plans_with_the_same_numbers_and_other_equations_are_told_apart():
    """As named tuples they are equal, and a kernel kept for one would serve the other."""
    plan, wiring, flags, _ = first_phase(committee())
    plain, _ = unrolled.written_out(plan, wiring, *flags)
    again, _ = unrolled.written_out(plan, wiring, *flags)
    decays, _ = unrolled.written_out(plan, wiring, *flags[:2], True)
    assert plain == decays
    assert type(plain) is type(again)
    assert type(plain) is not type(decays)
    assert explicit_kernel(plain) is explicit_kernel(again)
    assert explicit_kernel(plain) is not explicit_kernel(decays)


def test_large_right_hand_sides_and_branches_on_numbers_keep_their_loops(monkeypatch):
    plan, wiring, flags, _ = first_phase(committee(K=4))
    kept, wire = unrolled.written_out(plan, wiring, *flags)
    assert type(kept) is type(plan)
    assert wire("as it was") == "as it was"
    small, wiring, flags, _ = first_phase(committee(K=1))
    assert type(unrolled.written_out(small, wiring, *flags)[0]) is not type(small)

    def branches(M, m, w, y, dy, *flags):
        if values.get(M, y) > 0.0:
            values.put(M, dy, 1.0)

    equations = registry.equations_of(type(small))._replace(rhs=branches)
    monkeypatch.setattr(unrolled, "equations_of", lambda kind: equations)
    assert type(unrolled.written_out(small, wiring, *flags)[0]) is type(small)


def test_numbers_that_are_no_instruction_s_own_are_arguments():
    text, numbers = unrolled.source(*(lambda p, w, f, _: (p, w, *f))(*first_phase(committee())))
    assert numbers[: len(SERIES)] == SERIES
    assert 2.0 / math.pi in numbers
    assert not any(x in numbers for x in (0.5, 1.0, 2.0))
    assert "0.63661" not in text
