"""Optimal protocols: the numbers of docs/protocols.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from odekit.verbs.scenario import parse_scenario

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def protocols():
    spec = importlib.util.spec_from_file_location("protocols", ROOT / "docs/examples/protocols.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_optimal_practice(protocols):
    problem = protocols.two_teachers(10.0)
    alone = problem.replace_phase(0, tasks="new")
    assert protocols.mean_error(alone) == pytest.approx(0.0531738, rel=2e-6)
    best = protocols.optimal_practice(problem, 50)
    assert float(best.dataset.objective[0]) == pytest.approx(0.0525614, rel=2e-6)
    # It focuses first: the same share as a table of the phase ends there too.
    assert best.dataset.control[0].values[:45].max() < 1e-6
    share = protocols.table(best)
    whole = problem.replace_phase(0, tasks={"old": share, "new": "rest"})
    assert protocols.mean_error(whole) == pytest.approx(0.0525614, rel=2e-6)


def test_focus_then_interleave():
    """Within half a per cent of the optimum, 0.0096192."""
    given = parse_scenario((ROOT / "data/focus_then_interleave.toml").read_text()).problem
    end = ok.solve(given, t_eval=[0.0, 1020.0], rtol=1e-9).generalization_error[-1]
    assert np.mean(end) == pytest.approx(0.0096548, rel=1e-5)


BEST = {
    "2": (1.160296e-3, [(5, 1.63), (22, 1.70), (44, 1.87), (49, 0.707)]),
    "2, noise": (1.004290e-4, [(6, 1.55), (19, 1.33), (24, 0.91), (30, 0.50), (59, 0.016)]),
    "3": (7.709238e-3, [(2, 0.95), (25, 1.00), (47, 1.23), (49, 0.405)]),
    "3, noise": (5.195609e-4, [(9, 0.93), (38, 1.07), (53, 0.50), (59, 0.043)]),
}
"""Errors and rates of some pieces, found by independent code."""


@pytest.mark.parametrize("row", BEST)
def test_optimal_rates_in_few_gradients(protocols, row):
    """Rates that differ a hundredfold: in the rates themselves hundreds of gradients are needed."""
    wanted, some = BEST[row]
    K, noise, horizon, pieces = protocols.RATES[row]
    begin = protocols.learning_rates(K, noise, horizon, protocols.CONSTANT[row])
    best = protocols.optimal_rate(begin, pieces, rtol=1e-7)
    assert float(best.dataset.objective[0]) == pytest.approx(wanted, rel=1e-5)
    assert best.dataset.sizes["evaluation"] <= 45
    rates = best.dataset.control[0].values
    for piece, rate in some:
        assert rates[piece] == pytest.approx(rate, abs=0.02 * rates.max())


@pytest.mark.parametrize("name", ["optimal_rate_k2", "optimal_rate_k3"])
def test_scenarios_of_rates_are_those_of_the_table(protocols, name):
    given = parse_scenario((ROOT / f"data/{name}.toml").read_text())
    row = {"optimal_rate_k2": "2, noise", "optimal_rate_k3": "3"}[name]
    K, noise, horizon, pieces = protocols.RATES[row]
    assert given.problem == protocols.learning_rates(K, noise, horizon, protocols.CONSTANT[row])
    assert given.optimise["controls"] == {protocols.RATE: pieces}
