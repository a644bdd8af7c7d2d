"""Optimal schedules: published numbers to 1e-4, and what a search says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from odekit.control.budgets import Feasible, descend
from odekit.control.pieces import controls_of
from odekit.control.variables import variables_of
from test_sensitivity_structured import curriculum

DATA = Path(__file__).parents[1] / "data"

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


def test_variables_of_a_search():
    """Logarithms for rates; bounds stay where they are; probabilities as they are."""
    share = "phases[0].tasks[old]"
    parts, bounds = {RATE: 3, share: 3, "phases[0].weight_decay": 3}, {RATE: (0.5, 6.0)}
    found = controls_of(two_tasks(), parts, "constant", bounds, {})
    variables = variables_of(found)
    # From 0.5 on a pure logarithm; a decay of 0 begins a hundredth of 1 above its bound.
    np.testing.assert_array_equal(variables.scale[:3], 0.5)
    assert np.isnan(variables.scale[3:6]).all()
    np.testing.assert_array_equal(variables.scale[6:], 0.01)
    x = np.array([0.5, 1.0, 6.0, 0.0, 0.3, 1.0, 0.0, 1e-3, 20.0])
    z = variables.of(x)
    np.testing.assert_allclose(variables.back(z), x, rtol=1e-14, atol=0.0)
    np.testing.assert_array_equal(z[[0, 3, 4, 5, 6]], [0.0, 0.0, 0.3, 1.0, 0.0])
    slopes = (variables.back(z + 1e-6) - variables.back(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(variables.pace(x), slopes, rtol=1e-8)


def test_numbers_tied_to_controls():
    """They follow, piece by piece, and the gradient is the sum of both."""
    readout, objective = "phases[0].readout_learning_rate", "generalization_error[new]"
    best = ok.optimise(
        two_tasks(), controls={RATE: 2}, objective=objective, tied={readout: RATE},
        max_evaluations=2,
    )  # fmt: skip
    phases = best.problem.phases
    assert [p.readout_learning_rate for p in phases] == [p.learning_rate for p in phases]
    names = [f"phases[{i}].{kind}learning_rate" for kind in ("", "readout_") for i in (0, 1)]
    each = ok.sensitivity(best.problem, of=objective, wrt=names, estimate=False)
    summed = each.d_generalization_error_new.values.reshape(2, 2).sum(axis=0)
    np.testing.assert_allclose(best.dataset.gradient[0], summed, rtol=1e-10)
    assert list(best.dataset.parameter.values) == names[:2]


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
        ({"budget": {"phases[0].weight_decay": 0.5}}, "budget"),
        ({"budget": {RATE: 7.0}, "bounds": {RATE: (0.0, 6.0)}}, f"budget['{RATE}']"),
        ({"shape": "round"}, "shape"),
        ({"tied": {"phases[0].weight_decay": "phases[0].duration"}}, "tied"),
        ({"tied": {RATE: RATE}}, "tied"),
        ({"tied": {"phases[0].rate": RATE}}, "tied"),
        (
            {
                "bounds": {"phases[0].weight_decay": (0, 1)},
                "tied": {"phases[0].weight_decay": RATE},
            },
            "bounds",
        ),
        ({"controls": {"phases[0].duration": 4}, "shape": "linear"}, "controls"),
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


def shipped(name, **changes):
    scenario = ok.load_scenario(DATA / f"{name}.toml")
    return ok.optimise(scenario.problem, **{**scenario.optimise, **changes})


def test_the_best_schedule_of_dropout():
    best = shipped("optimal_dropout")
    ds = best.dataset
    assert float(ds.objective[0]) == pytest.approx(2.3795754e-2, rel=1e-6)
    assert ds.attrs["evaluations"] <= 60
    assert best.problem.test_scale == pytest.approx(0.74197, abs=1e-4)
    keep = ds.control[0].values[:-1]
    assert (keep[:15] == 1.0).all()
    assert (np.diff(keep[15:]) < 0).all()
    assert (ds.stationary[0].values[15:] == 1).all()
    error = float(best.run.generalization_error[-1, 0])
    assert error == pytest.approx(float(ds.objective[0]), rel=1e-5)
    # The best constant probability, at test as in training, and none.
    for keep, wanted in ((0.7664, 2.533331e-2), (1.0, 3.485615e-2)):
        same = ok.load_scenario(DATA / "optimal_dropout.toml").problem.replace(test_scale=keep)
        run = ok.solve(same.replace_phase(0, keep_probability=keep), t_eval=[5.0])
        assert float(run.generalization_error[-1, 0]) == pytest.approx(wanted, rel=1e-6)


def test_the_best_curriculum_has_a_singular_arc():
    best = shipped("optimal_curriculum", tolerance=1e-6)
    ds = best.dataset
    assert float(ds.objective[0]) == pytest.approx(0.1468413, rel=1e-4)
    easy = ds.control[0].values
    assert easy.mean() == pytest.approx(0.5, abs=1e-12)
    assert (easy[:8] == 1).all()
    assert (easy[12:18] == 0).all()
    assert (easy[33:] == 1).all()
    arc = easy[22:28]
    assert ((arc > 0.04) & (arc < 0.17)).all()
    # One multiplier on the arc; easy samples are worth more than it at the ends.
    slope = (ds.gradient - ds.multiplier)[0].values
    assert np.abs(slope[22:28]).max() < 1e-2 * np.abs(slope).max()
    assert (slope[:7] < 0).all()
    assert (slope[12:18] > 0).all()


def euler(kinds):
    """Published steps of .05, 240 of them, of easy and hard samples: errors of both kinds alike."""
    rights = {}
    for easy in (0.0, 1.0):
        problem = curriculum(easy)
        points = problem.system.points(problem, {})
        frame, y = points.start()
        rights[easy] = points.equations(0, frame, 0.0)
    y = y[0].copy()
    for kind in kinds:
        y = y + 0.025 * rights[kind].rhs(0.0, y)
    Q, R, silent = y[:3]
    return np.mean([np.arccos(R / np.sqrt(Q + m * silent)) / np.pi for m in (0.0, 2.0)])


def test_published_curricula():
    easy, hard = [1.0] * 120, [0.0] * 120
    assert euler(easy + hard) == pytest.approx(0.155547, abs=1e-6)
    assert euler(hard + easy) == pytest.approx(0.162480, abs=1e-6)
    # Easy to step 55, hard, easy at the end, without the few easy ones of the arc.
    pontryagin = euler([1.0] * 55 + [0.0] * 120 + [1.0] * 65)
    assert 0.1463427 < pontryagin < 0.146682


def test_a_budget_is_kept_by_the_nearest_point():
    rng = np.random.default_rng(1)
    low, high = np.zeros(6), np.array([1.0, 1.0, 0.5, 1.0, np.inf, 1.0])
    within = Feasible(low, high, [(np.arange(5), 2.0)])
    x = within.project(rng.normal(0.3, 1.0, 6))
    assert x[:5].sum() == pytest.approx(2.0, abs=1e-12)
    assert ((x >= low) & (x <= high)).all()
    centre = rng.normal(0.5, 1.0, 6)

    def bowl(z):
        return float((z - centre) @ (z - centre)), 2.0 * (z - centre)

    seen = []

    def kept(z):
        value, slope = bowl(z)
        seen.append((value, z))
        return value, slope

    descend(kept, x, within, 1e-12, 200)
    nearest = min(seen, key=lambda one: one[0])[1]
    np.testing.assert_allclose(nearest, within.project(centre), atol=1e-6)


def test_learning_rates_that_are_linear_between_values():
    best = ok.optimise(
        learner(20.0, 0.3), controls={RATE: 4}, objective=ERROR, shape="linear", rtol=1e-6
    )
    rate = best.problem.phases[0].learning_rate
    assert rate.interpolation == "linear"
    np.testing.assert_array_equal(rate.values, best.dataset.control[0])
    np.testing.assert_allclose(best.dataset.begin, [0.0, 20 / 3, 40 / 3, 20.0])
    constant = ok.optimise(learner(20.0, 0.3), controls={RATE: 1}, objective=ERROR, rtol=1e-6)
    assert best.dataset.objective[0] < constant.dataset.objective[0]
