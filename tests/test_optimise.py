"""Optimal schedules: published numbers to 1e-4, and what a search says of itself."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok

RATE = "phases[0].learning_rate"
ERROR = "generalization_error[main]"


def learner(duration=100.0, noise=0.0, rate=1.6):
    """Two units and two teachers, as Saad & Rattray have them."""
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.2, 0.0], [0.0, 0.3]], R=[[1e-3, 0.0], [0.0, 2e-3]], T=np.eye(2)
        ),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0], noise)},
        phases=[ok.Phase("main", duration, rate)],
    )


def test_the_optimal_learning_rate_of_two_units():
    best = ok.optimise(
        learner(), controls={RATE: 50}, objective=ERROR, bounds={RATE: (0.0, 6.0)}, rtol=1e-7
    )
    ds = best.dataset
    assert float(ds.objective[0]) == pytest.approx(1.160296e-3, rel=1e-4)
    rates = ds.control[0].values
    np.testing.assert_allclose(rates[[5, 44]], [1.63, 1.87], atol=0.01)
    assert rates[-1] == pytest.approx(0.707, abs=2e-3)
    # At a minimum between the bounds the gradient vanishes: in units of what the objective is worth
    assert (ds.at_bound == 0).all()
    assert np.abs(ds.gradient).max() < 1e-3 * float(ds.objective[0])
    run = ok.solve(best.problem, t_eval=[100.0])
    assert float(run.generalization_error[0, 0]) == pytest.approx(float(ds.objective[0]), rel=1e-5)
    assert (np.diff(ds.history[0]) <= 0).all()


def test_the_best_constant_rate():
    best = ok.optimise(learner(), controls={RATE: 1}, objective=ERROR)
    assert float(best.dataset.control[0, 0]) == pytest.approx(1.6546, abs=1e-3)
    assert best.problem.phases[0].learning_rate == best.dataset.control[0, 0]


def two_tasks():
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.9, 0.0], [0.0, 0.3]], R=[[0.9, 0.1], [0.1, 0.2]], T=[[1.0, 0.3], [0.3, 1.0]]
        ),
        heads={"old": [0.9, 0.1], "new": [0.2, 0.4]},
        tasks={"old": ok.Task([1.0, 0.0]), "new": ok.Task([0.0, 1.0])},
        phases=[ok.Phase({"old": 0.5, "new": 0.5}, 8.0, 1.0, 1.0)],
    )


def test_the_share_of_old_samples_is_held_by_its_bounds():
    name = "phases[0].tasks[old]"
    objective = {"generalization_error[old]": 0.5, "generalization_error[new]": 0.5}
    best = ok.optimise(two_tasks(), controls={name: 4}, objective=objective, starts=2, rtol=1e-7)
    ds = best.dataset
    assert ((ds.control >= 0) & (ds.control <= 1)).all()
    half = ok.solve(two_tasks(), t_eval=[8.0]).generalization_error.values.mean()
    assert ds.objective.min() < half
    at = ds.at_bound.values
    assert (at == -1).any()  # new samples alone, first
    assert (ds.gradient.values[at == -1] > 0).all()
    np.testing.assert_allclose(ds.objective[0], ds.objective[1], rtol=1e-3)


def test_what_is_stopped_has_the_best_so_far():
    how = {"controls": {RATE: 4}, "objective": ERROR, "rtol": 1e-6}
    few = ok.optimise(learner(), max_evaluations=2, **how)
    assert few.dataset.sizes["evaluation"] <= 25
    with pytest.raises(ok.ProblemError, match="max_seconds"):
        ok.optimise(learner(), max_seconds=1e-9, **how)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"controls": {}}, "controls"),
        ({"controls": {"phases[0].seed": 3}}, "controls"),
        ({"controls": {"tasks[main].noise_std": 3}}, "controls"),
        ({"controls": {RATE: 4, "phases[0].weight_decay": 2}}, "controls"),
        ({"bounds": {"phases[0].weight_decay": (0, 1)}}, "bounds"),
        ({"bounds": {RATE: (1.0, 0.0)}}, f"bounds['{RATE}']"),
        ({"objective": "Q"}, "objective"),
        ({"objective": {"R[0, 1]": -1.0}}, "objective"),
        ({"starts": 0}, "starts"),
    ],
)
def test_what_cannot_be_optimised_is_refused(changes, argument):
    with pytest.raises(ok.ProblemError) as caught:
        ok.optimise(learner(), **{"controls": {RATE: 4}, "objective": ERROR, **changes})
    assert caught.value.argument == argument


def test_a_phase_that_ends_by_a_threshold_is_not_cut():
    problem = learner().replace_phase(0, until=0.01)
    with pytest.raises(ok.ProblemError, match="cut into pieces"):
        ok.optimise(problem, controls={RATE: 4}, objective=ERROR)
    quick = ok.optimise(
        learner(300.0).replace_phase(0, until=0.01), controls={RATE: 1}, objective="phase_end[0]"
    )
    assert quick.dataset.objective[0] < 100.0
