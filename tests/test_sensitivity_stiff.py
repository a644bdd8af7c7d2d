"""Gradients through implicit steps, over stretches that explicit ones would take too long for."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from test_sensitivity import NUMBERS, QUANTITIES, SHARP, difference, everything, joined
from test_sensitivity_structured import OF_GROUPS, OF_STRUCTURED, groups, structured

LATE = 1e5


def settled(duration=LATE):
    """Two units that have long learnt what noisy labels allow."""
    W = 0.5 * np.random.default_rng(0).standard_normal((2, 8))
    return ok.Problem(
        state=ok.OrderParameters.from_weights(W, 8**0.5 * np.eye(8)[:2]),
        heads={"main": [1.0, 0.9]},
        tasks={"main": ok.Task([1.0, 1.0], 0.2)},
        phases=[ok.Phase("main", duration, 1.5, 0.5)],
    )


@pytest.mark.parametrize("times", [(), (0.0, 3.0, 8.0)], ids=["end", "times"])
def test_forward_is_adjoint_and_both_are_differences(times):
    problem, names = everything(), NUMBERS
    of = [*QUANTITIES, "integrated_error", "phase_end"]
    t_eval = list(times) or None
    one, other = (
        ok.sensitivity(problem, of=of, wrt=names, t_eval=t_eval, method=method, integrator="Radau",
                       estimate=False, **SHARP)
        for method in ("forward", "adjoint")
    )  # fmt: skip
    for name in of:
        a, b = (ds[f"d_{name}"].values for ds in (one, other))
        assert np.abs(a - b).max() <= 1e-11 * np.abs(a).max()
    explicit = ok.sensitivity(
        problem, of=of, wrt=names, t_eval=t_eval, integrator="DOP853", estimate=False, **SHARP
    )
    for name in of:
        a, b = (ds[f"d_{name}"].values for ds in (one, explicit))
        assert np.abs(a - b).max() <= 1e-7 * np.abs(b).max()


def test_a_stiff_stretch_takes_a_fraction_of_the_steps():
    names = ["phases[0].learning_rate", "tasks[main].noise_std", "tasks[main].readout[0]",
             "heads[main][0]"]  # fmt: skip
    how = {"of": QUANTITIES, "wrt": names, "estimate": False, **SHARP}
    one, other = (ok.sensitivity(settled(), method=m, **how) for m in ("forward", "adjoint"))
    a, b = joined(one), joined(other)
    assert np.abs(a - b).max() <= 1e-11 * np.abs(a).max()

    def found(changed):
        run = ok.solve(changed, rtol=1e-12, atol=1e-14, t_eval=[LATE])
        return np.concatenate([run[name].values.ravel() for name in QUANTITIES])

    wanted = np.array([difference(settled(), name, found) for name in names]).T
    assert np.abs(a - wanted).max() <= 1e-8 * np.abs(wanted).max()
    # Everything stands still from t = 2000 on: a fiftieth of the steps.
    capped = ok.sensitivity(settled(LATE / 50), integrator="DOP853", **how)
    assert np.abs(a - joined(capped)).max() <= 1e-8 * np.abs(a).max()
    assert one.n_steps < 500
    assert 50 * float(capped.n_steps) > 40 * float(one.n_steps)


def test_the_estimate_is_above_the_error():
    names = ["phases[0].learning_rate", "heads[main][0]"]
    how = {"of": "R", "wrt": names, "integrator": "Radau"}
    found = ok.sensitivity(settled(60.0), **how)
    exact = ok.sensitivity(settled(60.0), of="R", wrt=names, rtol=1e-12, atol=1e-14, estimate=False)
    off = float(np.abs(found.d_R - exact.d_R).max())
    assert off < float(found.d_R_error.max()) < 1e-3 * float(np.abs(exact.d_R).max())


@pytest.mark.parametrize(
    ("problem", "names", "more"),
    [(groups(), OF_GROUPS, []), (structured(), OF_STRUCTURED, ["bias"])],
    ids=["groups", "structured"],
)
def test_structured_inputs(problem, names, more):
    of = [*QUANTITIES, "integrated_error", *more]
    how = {"of": of, "wrt": names, "estimate": False, "rtol": 1e-9, "atol": 1e-12}
    one, other = (
        ok.sensitivity(problem, method=method, integrator="Radau", **how)
        for method in ("forward", "adjoint")
    )
    explicit = ok.sensitivity(problem, integrator="DOP853", method="forward", **how)
    for name in of:
        a, b, c = (ds[f"d_{name}"].values for ds in (one, other, explicit))
        assert np.abs(a - b).max() <= 1e-11 * np.abs(a).max()
        assert np.abs(a - c).max() <= 1e-6 * np.abs(c).max()


def test_a_structured_problem_that_stands_still_turns_implicit():
    problem = structured().replace_phase(1, duration=3000.0)
    names = ["phases[1].learning_rate", "phases[1].keep_probability", "tasks[b].label"]
    implicit, explicit = (
        ok.sensitivity(
            problem, of="bias", wrt=names, integrator=integrator, estimate=False, method="forward"
        )
        for integrator in (None, "DOP853")
    )
    off = np.abs(implicit.d_bias - explicit.d_bias).max()
    assert off < 1e-7 * np.abs(explicit.d_bias).max()
    assert implicit.n_steps < 0.5 * explicit.n_steps


def test_rosenbrock_steps_are_refused():
    with pytest.raises(ok.ProblemError, match="Radau"):
        ok.sensitivity(everything(), of="R", wrt="phases[0].until", integrator="Rodas5P")


def test_points_of_a_sweep_that_fail_are_nan_and_the_others_those_of_single_problems():
    import xarray as xr

    durations = xr.DataArray([20.0, 1e4, 30.0], dims="duration")
    how = {"of": "R", "wrt": ["phases[0].learning_rate", "state.R"], "integrator": "DOP853"}
    with pytest.warns(ok.NotCompletedWarning):
        ds = ok.sensitivity(settled(durations), max_steps=500, threads=2, **how)
    assert ds.status.values.tolist() == [0, ok.Status.STEP_BUDGET, 0]
    assert np.isnan(ds.d_R[1]).all()
    for i in (0, 2):
        one = ok.sensitivity(settled(float(durations[i])), **how)
        assert (one.d_R.values == ds.d_R.values[i]).all()
        assert (one.d_R_error.values == ds.d_R_error.values[i]).all()


def test_ctrl_c_keeps_the_points_that_are_done(monkeypatch):
    import signal

    from odekit.systems.committee import gradients

    calls, before = [], gradients.differentiate

    def interrupted(*given, **more):
        calls.append(given)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
            import time

            time.sleep(0.5)  # the main thread takes it meanwhile
        return before(*given, **more)

    import xarray as xr

    monkeypatch.setattr(gradients, "differentiate", interrupted)
    durations = xr.DataArray([5.0, 6.0, 7.0, 8.0], dims="duration")
    with pytest.warns(ok.NotCompletedWarning):
        ds = ok.sensitivity(
            settled(durations), of="R", wrt="phases[0].learning_rate", threads=1, estimate=False
        )
    assert ds.status.values.tolist() == [0, 0, ok.Status.INTERRUPTED, ok.Status.INTERRUPTED]
    assert np.isfinite(ds.d_R[:2]).all()
    assert np.isnan(ds.d_R[2:]).all()
