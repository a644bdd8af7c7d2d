"""The simulation approaches the theory as 1/√N.

A network's order parameters deviate from their limit by O(1/√N), at random; the mean over networks
by O(1/N). So, over N = 500 … 8000, with the theory's solution at the same times:

- the root-mean-square deviation of single networks, over times, components and networks, falls
  with slope −1/2 in log–log: within `SIGMAS` of the slope's own standard error, which the scatter
  between networks gives and which must be below `SHARP`, so that −1/2 is told from 0 and −1;
- the mean over networks lies within `SIGMAS` of its standard errors plus `BIAS`/N, everywhere
  (`BIAS` is a few times the size of the order parameters);
- the same data rule out a problem that differs in the very thing a test is about.
"""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from test_against_sgd import one_phase, switch, two_teachers

SIZES = (500, 1000, 2000, 4000, 8000)
REPLICAS = (32, 24, 16, 10, 8)
SIGMAS = 4
SHARP = 0.08
BIAS = 4
RULED_OUT = 2
NAMES = ["Q", "R", "readout"]


def deviations(problem, theory):
    """Simulated less theoretical values at every N: arrays (replica, time, component)."""
    times = theory.time.values
    found = []
    for N, replicas in zip(SIZES, REPLICAS, strict=True):
        sim = ok.simulate(
            problem, input_dim=N, seed=N, replicas=replicas, t_eval=times, method="weights"
        )
        found.append(flat(sim - theory))
    return found


def flat(ds):
    parts = [ds[n].transpose("replica", "time", ...).values for n in NAMES]
    return np.concatenate([p.reshape(*p.shape[:2], -1) for p in parts], axis=2)


def slope(found):
    """Slope of log RMS deviation against log N, and its standard error."""
    squares = [np.mean(d**2, axis=(1, 2)) for d in found]
    logs = np.array([0.5 * np.log(s.mean()) for s in squares])
    errors = np.array([0.5 * s.std(ddof=1) / np.sqrt(s.size) / s.mean() for s in squares])
    (value, _), covariance = np.polyfit(np.log(SIZES), logs, 1, w=1 / errors, cov="unscaled")
    return value, np.sqrt(covariance[0, 0])


def excess(found, bias, shift=0.0):
    """Largest mean deviation over its allowance; `shift` moves the theory."""
    worst = []
    for N, d in zip(SIZES, found, strict=True):
        error = d.std(axis=0, ddof=1) / np.sqrt(len(d))
        allowed = SIGMAS * error + bias / N
        worst.append((np.abs(d.mean(axis=0) - shift) / allowed).max())
    return max(worst)


def falls(problem, *, not_this=(), bias=BIAS):
    times = sum(p.duration for p in problem.phases) * np.array([0.25, 0.5, 0.75, 1.0])
    theory = ok.solve(problem, t_eval=times)
    found = deviations(problem, theory)
    value, error = slope(found)
    assert error < SHARP
    assert abs(value + 0.5) < SIGMAS * error, (value, error)
    assert excess(found, bias) < 1
    for other in not_this:
        there = ok.solve(other, t_eval=times)
        shift = flat((there[NAMES] - theory[NAMES]).expand_dims("replica"))[0]
        assert excess(found, bias, shift) > RULED_OUT


def test_both_layers_with_noise():
    problem = two_teachers([one_phase(duration=3.0)], noise=0.5)
    falls(problem, not_this=[problem.replace_phase(0, gradient_flow=True)])


@pytest.mark.parametrize(
    ("kind", "strength", "samples"),
    [("fisher", 2.0, None), ("fisher", 2.0, 2000), ("node", 1.0, None), ("quadratic", 0.5, None)],
)
def test_two_tasks_with_consolidation(kind, strength, samples, monkeypatch):
    phases = [one_phase("a", 1.0), one_phase("b", 2.0, consolidation=switch(kind, strength))]
    problem = two_teachers(phases)
    if samples:
        simulate = ok.simulate
        monkeypatch.setattr(
            ok, "simulate", lambda *a, **k: simulate(*a, fisher_samples=samples, **k)
        )
    falls(problem, not_this=[problem.replace_phase(1, consolidation=None)])


def test_mixture():
    problem = two_teachers([one_phase({"a": 0.7, "b": 0.3}, 3.0, learning_rate=2.0)])
    falls(problem, not_this=[problem.replace_phase(0, tasks={"a": 0.5, "b": 0.5})])


def test_decay_with_batches():
    decay = {"weight_decay": 0.5, "readout_weight_decay": 0.3, "batch_size": 3}
    problem = two_teachers([one_phase(duration=2.0, learning_rate=2.0, **decay)])
    falls(problem, not_this=[problem.replace_phase(0, weight_decay=0.0)])


def test_relu_at_small_learning_rates():
    """Gradient flow: what the theory leaves out, of order η²/b, is below the scatter at these N."""
    flow = {"learning_rate": 0.01, "readout_learning_rate": 0.01, "gradient_flow": True}
    problem = two_teachers([one_phase(duration=2.0, **flow)], activation="relu", noise=0.1)
    fixed = problem.replace_phase(0, readout_learning_rate=0.0)
    falls(problem, not_this=[fixed], bias=BIAS * 0.01)


def test_the_fit_can_fail():
    """Deviations that stay, or fall as 1/N, are told from those that fall as 1/√N."""
    rng = np.random.default_rng(0)
    for power in (0.0, -1.0):
        found = [
            N**power * rng.normal(size=(r, 4, 15)) for N, r in zip(SIZES, REPLICAS, strict=True)
        ]
        value, error = slope(found)
        assert abs(value + 0.5) > SIGMAS * error
