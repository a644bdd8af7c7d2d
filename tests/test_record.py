"""How a run went is written down alike by whatever made it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.dataset.provenance import problem_of


def descent(until, duration=8):
    """One weight that halves its distance from 1 with every step: losses ½·4^−n."""
    net = ok.linear.deep([1, 1])
    problem = ok.LinearProblem(
        network=net,
        weights={"W1": [[0.0]]},
        tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
        phases=ok.Phase("main", duration, 0.5, until=until),
    )
    return ok.descend(problem)


@pytest.mark.parametrize(
    ("until", "outcome", "end"),
    [
        (None, ok.Outcome.DURATION, 8.0),
        (0.5 * 4.0**-3, ok.Outcome.THRESHOLD, 3.0),
        (0.5 * 4.0**-8, ok.Outcome.THRESHOLD, 8.0),  # reached by the last step of all
        (0.5 * 4.0**-9, ok.Outcome.THRESHOLD_MISSED, 8.0),
    ],
)
def test_descent_says_how_a_phase_ended(until, outcome, end):
    ds = descent(until)
    assert ok.Outcome(int(ds.phase_outcome[0])) is outcome
    assert float(ds.phase_end[0]) == end == float(ds.t_last)
    assert float(ds.phase_end_error[0, 0]) == pytest.approx(0.5 * 4.0**-end)


def test_descent_and_flow_have_the_same_variables():
    flow = ok.solve(ok.Problem.from_dict(problem_data(descent(None))))
    assert set(flow.variables) == set(descent(None).variables)


def problem_data(ds):
    return json.loads(ds.attrs["odekit_problem"])


def committee(rates):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0])},
        phases=[ok.Phase("main", 0.1, rates)],
    )


def test_simulations_keep_large_arrays_out_of_the_text_too():
    """Six thousand learning rates: in a variable of their own, and the problem is whole again."""
    rates = xr.DataArray(np.linspace(0.1, 1.0, 6000), dims="eta")
    problem = committee(rates)
    times = [0.0, 0.1]
    sim = ok.simulate(problem, input_dim=4, seed=0, t_eval=times)
    run = ok.solve(problem, t_eval=times, rtol=1e-3)
    for ds in (sim, run):
        assert len(ds.attrs["odekit_problem"]) < 2000
        assert ds.problem_phases_0_learning_rate.size == 6000
    again = ok.Problem.from_dict(problem_of(sim))
    assert again == problem


def test_titles_name_the_system():
    network = descent(None)
    run = ok.solve(committee(0.5))
    assert "linear network" in network.attrs["title"]
    assert "online learning" in run.attrs["title"]
    assert "Saxe" in network.attrs["references"]
    assert "Saad" in run.attrs["references"]
