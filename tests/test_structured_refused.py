"""What knows the equations of white inputs alone refuses all others, whatever makes them so."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok

PLAIN = {
    "state": ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
    "heads": {"main": [1.0]},
    "tasks": {"main": ok.Task([1.0])},
    "phases": [ok.Phase("main", duration=1.0, learning_rate=0.5)],
}
STRUCTURED = {
    "variance": {"tasks": {"main": ok.Task([1.0], input_variance=2.0)}},
    "gain": {"tasks": {"main": ok.Task([1.0], student_gain=0.5)}},
    "noise": {"tasks": {"main": ok.Task([1.0], student_noise_std=0.5)}},
    "sign teacher": {"teacher_activation": "sign"},
    "groups": {
        "groups": {"a": 0.5, "b": 0.5},
        "state": ok.OrderParameters(
            Q=np.full((2, 1, 1), 0.5), R=np.full((2, 1, 1), 0.1), T=np.full((2, 1, 1), 1.0)
        ),
    },
}


@pytest.fixture(params=STRUCTURED)
def problem(request):
    return ok.Problem(**{**PLAIN, **STRUCTURED[request.param]})


def refused():
    return pytest.raises(
        ok.ProblemError, match="must have white inputs, which the student sees as they are"
    )


def test_equations_and_fixed_points(problem):
    with refused():
        ok.equations(problem)
    with refused():
        ok.fixed_point(problem)
    with refused():
        ok.continuation(problem, "phases[0].learning_rate", between=(0.1, 1.0))


def test_fluctuations(problem):
    run = ok.solve(problem)
    with refused():
        ok.fluctuations(run, input_dim=100)


def test_the_chain_of_overlaps(problem):
    with pytest.raises(ok.ProblemError, match="must be 'weights' with groups or views of inputs"):
        ok.simulate(problem, input_dim=100, seed=0, method="overlaps")
    sim = ok.simulate(problem, input_dim=100, seed=0)
    assert '"method": "weights"' in sim.attrs["odekit_simulation"]
    assert ok.compare(ok.solve(problem), sim)
