"""Numbers recovered from curves."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit.problem.names import replace

TIMES = np.linspace(1.0, 40.0, 40)
FREE = ["phases[0].learning_rate", "tasks[main].noise_std", "state.R[0, 0]"]
TRUE = [0.9, 0.3, 0.15]


def problem(values=(0.7, 0.2, 0.1)):
    found = ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.3, 0.0], [0.0, 0.4]], R=[[0.1, 0.02], [0.03, 0.1]], T=np.eye(2)
        ),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", 40.0, 0.7)],
    )
    for name, value in zip(FREE, values, strict=True):
        found = replace(found, name, value)
    return found


@pytest.fixture(scope="module")
def curve():
    return ok.solve(problem(TRUE), t_eval=TIMES, rtol=1e-11).generalization_error


def test_numbers_come_back_from_a_curve_without_noise(curve):
    found = ok.fit(problem(), curve, free=FREE)
    # The run's tolerance of 1e-8, over how well the curve tells them apart.
    np.testing.assert_allclose(found.dataset.value, TRUE, rtol=1e-5)
    assert found.problem.phases[0].learning_rate == found.dataset.value[0]
    assert found.dataset.n_runs < 50


def test_covariance_is_that_of_many_fits(curve):
    rng, size = np.random.default_rng(3), 2e-3
    found = []
    for _ in range(30):
        noisy = curve + size * rng.standard_normal(curve.shape)
        found.append(ok.fit(problem(TRUE), noisy, free=FREE[:2], error=size, rtol=1e-6).dataset)
    spread = np.std([one.value for one in found], axis=0, ddof=1)
    claimed = np.mean([one["std"] for one in found], axis=0)
    # 30 draws tell a deviation to 13 %.
    np.testing.assert_allclose(spread, claimed, rtol=0.45)


def test_what_the_data_do_not_tell_is_said(curve):
    both = ["phases[0].weight_decay", "phases[0].readout_learning_rate", "phases[0].duration"]
    found = ok.fit(problem(TRUE), curve[:20], free=both[2:] + FREE[:1], error=1e-3)
    assert np.isnan(found.dataset["std"][0])
    assert found.dataset["std"][1] > 0


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"free": ["phases[0].seed"]}, "wrt"),
        ({"bounds": {"state.Q[0, 0]": (0, 1)}}, "bounds"),
        ({"bounds": {FREE[0]: (0.8, 1.0)}}, "bounds"),
        ({"error": 0.0}, "error"),
        ({"data": np.zeros(3)}, "data"),
    ],
)
def test_what_cannot_be_fitted_is_refused(curve, changes, argument):
    how = {"data": curve, "free": FREE, **changes}
    with pytest.raises(ok.ProblemError) as caught:
        ok.fit(problem(), how.pop("data"), **how)
    assert caught.value.argument == argument
