"""Simulations on given inputs: how these are prepared, and what is measured on them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

import odekit as ok
from odekit.verbs.validate import validate
from test_against_sgd import one_phase, switch, two_teachers

RNG = np.random.default_rng(0)
MIXED = RNG.normal(size=(400, 20)) @ RNG.normal(size=(20, 20)) + 5.0
"""Correlated, with a mean."""
GAUSSIAN = RNG.normal(size=(3000, 60))


def g(z):
    return special.erf(z / np.sqrt(2))


def problem(**settings):
    return two_teachers([one_phase("a", 2.0), one_phase("b", 2.0, **settings)], noise=0.1)


# ------------------------------------------------------------------------------------ preparation


def test_standardised_features():
    x = np.column_stack([MIXED, np.full(400, 3.0)])
    y = ok.inputs.standardise(x)
    assert y.shape == MIXED.shape
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-13)
    np.testing.assert_allclose(y[:, 3], (MIXED[:, 3] - MIXED[:, 3].mean()) / MIXED[:, 3].std())


def test_whitened_features():
    x = np.column_stack([MIXED, MIXED[:, :2].sum(axis=1)])
    y = ok.inputs.whiten(x)
    assert y.shape == MIXED.shape
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.T @ y / 400, np.eye(20), atol=1e-10)
    # Nothing is lost but a linear map.
    residual = np.linalg.lstsq(np.column_stack([y, np.ones(400)]), x, rcond=None)[1]
    assert residual.max() < 1e-15 * (x**2).sum()


@pytest.mark.parametrize("preprocess", ["none", "standardise", "whiten"])
def test_preprocessing_is_what_it_is_by_hand(preprocess):
    by_hand = {
        "none": lambda x: x,
        "standardise": ok.inputs.standardise,
        "whiten": ok.inputs.whiten,
    }
    a = ok.simulate(problem(), inputs=MIXED, seed=0, preprocess=preprocess, t_eval=[0.0, 1.0])
    b = ok.simulate(problem(), inputs=by_hand[preprocess](MIXED), seed=0, t_eval=[0.0, 1.0])
    np.testing.assert_array_equal(a.Q, b.Q)
    words = json.loads(a.attrs["odekit_simulation"])
    assert words["inputs"]["preprocess"] == preprocess
    assert words["input_dim"] == 20


# ---------------------------------------------------------------------------------- what is trained


def test_gaussian_samples_are_like_fresh_ones():
    """Many samples of a Gaussian, seen once or twice: theory and measurement agree with both."""
    run = ok.solve(problem(), t_eval=[0.0, 2.0, 4.0])
    sim = ok.simulate(problem(), inputs=GAUSSIAN, seed=0, replicas=24, t_eval=run.time)
    assert float(ok.compare(run, sim).in_standard_errors.max()) < 4
    measured, closed = sim.test_error.mean("replica"), sim.generalization_error.mean("replica")
    # 3000 samples: a few per cent.
    np.testing.assert_allclose(measured, closed, rtol=0.1)
    assert abs(measured - closed).max() > 1e-6


def test_measured_errors_are_those_of_the_weights():
    """At time 0 the weights can be had by hand."""
    sim = ok.simulate(problem(), inputs=MIXED, seed=3, t_eval=[0.0])
    frame = np.random.SeedSequence(3).spawn(1)[0].spawn(2)[0]
    p = problem()
    W, B = ok.realise(p.state, 20, frame)
    x = MIXED / np.sqrt(20)
    for name, head in (("a", "a"), ("b", "b")):
        y = g(x @ B.T) @ p.tasks[name].readout
        error = 0.5 * np.mean((y - g(x @ W.T) @ p.heads[head]) ** 2)
        np.testing.assert_allclose(sim.test_error[0].sel(task=name), error, rtol=1e-12)


def test_given_labels_are_learnt():
    """Labels that no teacher of the problem gives; the error is the measured one."""
    w = RNG.normal(size=60)
    labels = {"a": g(GAUSSIAN @ w / 60**0.5), "b": g(-GAUSSIAN @ w / 60**0.5)}
    p = two_teachers([one_phase("a", 200.0)], noise=0.0)
    sim = ok.simulate(p, inputs=GAUSSIAN, labels=labels, seed=0)
    np.testing.assert_array_equal(sim.generalization_error, sim.test_error)
    np.testing.assert_array_equal(sim.phase_end_error[0], sim.test_error[-1])
    assert all(v.holds for v in validate(sim)), validate(sim)
    first, last = (float(sim.test_error[i].sel(task="a")) for i in (0, -1))
    assert last < 0.02 * first


def test_tasks_have_inputs_of_their_own():
    """Task b's inputs vary along one direction only: weights move along it alone."""
    line = np.outer(RNG.normal(size=100), np.eye(60)[7])
    inputs = {"a": GAUSSIAN, "b": line}
    p = two_teachers([one_phase("b", 2.0)], noise=0.0)
    sim = ok.simulate(p, inputs=inputs, seed=0, t_eval=[0.0, 2.0])
    moved = (sim.Q[1] - sim.Q[0]).values
    frame = np.random.SeedSequence(0).spawn(1)[0].spawn(2)[0]
    W, B = ok.realise(p.state, 60, frame)
    new = W.copy()
    new[:, 7] = np.nan
    rest = np.nansum(new[:, None] * new[None], axis=2) / 60
    # What Q has beyond the other 59 directions is of rank one, and so is the change of R.
    assert np.linalg.matrix_rank(sim.Q[1].values - rest, tol=1e-10) == 1
    assert np.linalg.matrix_rank((sim.R[1] - sim.R[0]).values, tol=1e-10) == 1
    assert np.abs(moved).max() > 1e-3
    assert B.shape == (4, 60)


def test_thresholds_are_those_of_the_measured_error():
    p = two_teachers([one_phase("a", 200.0, until=0.01)], noise=0.0)
    w = RNG.normal(size=60)
    labels = dict.fromkeys("ab", g(GAUSSIAN @ w / 60**0.5))
    sim = ok.simulate(p, inputs=GAUSSIAN, labels=labels, seed=0)
    assert sim.phase_outcome[0] == ok.Outcome.THRESHOLD
    assert float(sim.test_error[-1].sel(task="a")) <= 0.01


@pytest.mark.parametrize("kind", ["fisher", "node"])
def test_consolidation_measures_on_the_inputs(kind):
    """By default as many samples as there are; of inputs five times as large, it is no formula."""
    p = problem(consolidation=switch(kind, 2.0))
    sims = [
        ok.simulate(p, inputs=5 * GAUSSIAN, seed=0, t_eval=[4.0], fisher_samples=n)
        for n in (None, 3000, 3001)
    ]
    np.testing.assert_array_equal(sims[0].readout, sims[1].readout)
    assert abs(sims[0].readout - sims[2].readout).max() > 0


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"inputs": np.zeros(5)}, "inputs"),
        ({"inputs": np.zeros((5, 3))}, "inputs"),
        ({"inputs": np.full((5, 3), np.nan)}, "inputs"),
        ({"inputs": {"a": MIXED}}, "inputs"),
        ({"inputs": {"a": MIXED, "b": GAUSSIAN}}, "inputs"),
        ({"input_dim": 21}, "input_dim"),
        ({"preprocess": "scale"}, "preprocess"),
        ({"labels": np.ones(400)}, "labels"),
        ({"labels": {"a": np.ones(400), "b": np.ones(399)}}, "labels['b']"),
    ],
)
def test_refusals(change, argument):
    with pytest.raises(ok.ProblemError) as error:
        ok.simulate(problem(), **{"inputs": MIXED, "seed": 0, **change})
    assert error.value.argument == argument
