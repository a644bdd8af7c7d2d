"""Numbers of whole curves, and their derivatives: means, maxima and times of passage."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit.verbs.sensitivity import label
from test_sensitivity import SHARP, difference

OF = [
    "generalization_error[a].mean", "forgetting[a].mean", "transfer[b].mean",
    "generalization_error[b].maximum", "R[0, 0].maximum", "Q[0, 0].maximum",
    "forgetting[a].maximum", "R[0, 0].escape_time(0.5)", "R[0, 0].hitting_time(0.45, 0.01)",
]  # fmt: skip
NAMES = ["phases[0].learning_rate", "phases[0].duration", "phases[1].duration", "state.Q[0, 0]"]


def pupil():
    """One task after the other."""
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1, 0.05]], T=np.eye(2)),
        heads={"a": [1.0], "b": [1.0]},
        tasks={"a": ok.Task([1.0, 0.2], 0.3), "b": ok.Task([0.1, 1.0], 0.1)},
        phases=[ok.Phase("a", 3.0, 1.0, 0.2), ok.Phase("b", 2.0, 0.8, 0.3)],
    )


def values(ds, prefix=""):
    return np.array([ds[f"{prefix}{label(name)}"].values for name in OF])


@pytest.fixture(scope="module")
def found():
    return [
        ok.sensitivity(pupil(), of=OF, wrt=NAMES, method=m, estimate=False, **SHARP)
        for m in ("forward", "adjoint")
    ]


def test_values_are_those_of_the_measures(found):
    run = ok.solve(pupil(), rtol=1e-10, atol=1e-13, t_eval=np.linspace(0.0, 5.0, 4001))
    m, error = ok.measures, run.generalization_error
    lost, gained = m.forgetting(run, "a"), m.transfer(run, "b")
    Q, R = run.Q[:, 0, 0], run.R[:, 0, 0]
    wanted = [
        m.time_mean(error.sel(task="a")), m.time_mean(lost), m.time_mean(gained),
        m.maximum(error.sel(task="b")), m.maximum(R), m.maximum(Q), m.maximum(lost),
        m.escape_time(R, 0.5), m.hitting_time(R, 0.45, 0.01),
    ]  # fmt: skip
    # Between 4000 rows means are off by the square of their distance.
    np.testing.assert_allclose(values(found[0]), np.array(wanted), rtol=1e-3)


def test_derivatives_are_differences_and_forward_is_adjoint(found):
    one, other = (values(ds, "d_") for ds in found)
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()

    def at(problem):
        how = {"method": "forward", "estimate": False, "rtol": 1e-11, "atol": 1e-13}
        return values(ok.sensitivity(problem, of=OF, wrt="phases[1].duration", **how))

    wanted = np.array([difference(pupil(), name, at) for name in NAMES]).T
    scale = np.maximum(np.abs(wanted).max(axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_less(np.abs(one - wanted) / scale, 1e-6)


def test_what_is_never_reached_and_what_is_from_the_start():
    of = ["Q[0, 0].escape_time(50.0)", "Q[0, 0].escape_time(0.001)"]
    ds = ok.sensitivity(pupil(), of=of, wrt="state.Q", t_eval=[1.0, 2.0], estimate=False)
    never, begun = (label(name) for name in of)
    assert np.isinf(ds[never])
    assert np.isnan(ds[f"d_{never}"]).all()
    assert ds[begun] == 0
    assert (ds[f"d_{begun}"] == 0).all()


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("Q[0, 0].initial_rate", "must take one of"),
        ("R[0, 0].mean", "mean of errors"),
        ("phase_end[0].maximum", "over time"),
        ("forgetting[a].escape_time(0.1)", "since the beginning"),
        ("Q[0, 0].escape_time", "1 numbers"),
        ("Q[0, 0].hitting_time(1, 0)", "distance"),
    ],
)
def test_other_numbers_of_curves_are_refused(of, said):
    with pytest.raises(ok.ProblemError, match=said):
        ok.sensitivity(pupil(), of=of, wrt="phases[0].duration")
