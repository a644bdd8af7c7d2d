"""Optimal protocols: the rows of docs/protocols.md that take few gradients."""

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
