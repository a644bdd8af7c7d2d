"""Sweeps: broadcast by name, each run as if it were alone, on one time axis."""

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.problem.axes import at, axes, part

TOLERANCE = 3e-7
"""30 times the default rtol of a step: both integrators take tens of steps here."""


def labelled(dim, values):
    return xr.DataArray(values, dims=dim, coords={dim: values})


def problem(**phase):
    given = {"duration": 20.0, "learning_rate": 0.5, **phase}
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.3, 0.1], [0.1, 0.4]], R=[[0.1], [0.2]], T=[[1.0]]),
        heads={"main": [1.0, 0.5]},
        tasks={"main": ok.Task(readout=[1.0], noise_std=0.1)},
        phases=[ok.Phase("main", **given)],
    )


def test_every_point_is_the_run_alone():
    state = ok.OrderParameters.draw(
        student=2, teacher=1, weight_std=0.5, input_dim=100, seed=3, draws=2
    )
    heads = {"main": xr.DataArray([[1.0, 0.5], [0.2, 0.9]], dims=("theta", "student"))}
    tasks = {"main": ok.Task(readout=[1.0], noise_std=labelled("noise", [0.0, 0.3]))}
    swept = problem(learning_rate=labelled("eta", [0.1, 0.7, 1.3])).replace(
        state=state, heads=heads, tasks=tasks
    )
    run = ok.solve(swept)
    assert dict(run.sizes).items() >= {"draw": 2, "theta": 2, "noise": 2, "eta": 3}.items()
    assert run.Q.dims[-3:] == ("time", "student", "student_other")
    assert {"draw", "noise", "eta"} <= set(run.coords)
    index = {"draw": 1, "theta": 0, "noise": 1, "eta": 2}
    alone = ok.solve(at(swept, index))
    for name in ("Q", "R", "readout", "generalization_error", "status", "phase"):
        np.testing.assert_allclose(run[name].isel(index), alone[name], atol=TOLERANCE)
    # In another company a trajectory is the same to the last bit.
    few = ok.solve(part(swept, {dim: slice(i, i + 1) for dim, i in index.items()}))
    xr.testing.assert_equal(run.isel({d: [i] for d, i in index.items()}).drop_attrs(), few)


def test_a_swept_teacher_and_a_swept_duration():
    overlap = labelled("V", [0.0, 0.5, 1.0])
    family = ok.task_family(units=1, tasks=2, feature_similarity=overlap)
    start = ok.OrderParameters.draw(
        student=2, teacher=family.T, weight_std=0.1, input_dim=1000, seed=0
    )
    run = ok.solve(
        ok.Problem(
            state=start,
            heads=family.heads([1.0, 0.5]),
            tasks=family.tasks,
            phases=[
                ok.Phase("1", labelled("span", [2.0, 4.0]), 0.5),
                ok.Phase("2", 2.0, 0.5),
            ],
        )
    )
    assert run.T.dims == ("V", "teacher", "teacher_other")
    np.testing.assert_array_equal(run.phase_end.isel(V=0), [[2.0, 4.0], [4.0, 6.0]])
    short = run.isel(span=0, V=0)
    assert short.t_last == 4.0
    assert np.isnan(short.Q.sel(time=slice(4.0 + 1e-9, None))).all()
    assert np.isfinite(short.Q.sel(time=slice(None, 4.0))).all()
    np.testing.assert_array_equal(short.phase.sel(time=[2.0, 6.0]), [0, -1])


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_one_bad_run_has_its_own_status_and_harms_no_other():
    """Linear learning diverges above eta = 2; what it reached is kept at the times reached."""
    etas = labelled("eta", [0.5, 40.0, 1.0])
    run = ok.solve(problem(duration=200.0, learning_rate=etas).replace(activation="linear"))
    assert [ok.Status(s).name for s in run.status.values] == ["COMPLETED", "BLOW_UP", "COMPLETED"]
    bad = run.isel(eta=1)
    reached = run.time <= bad.t_last
    assert 1 < reached.sum() < run.time.size
    assert np.isfinite(bad.Q.sel(time=reached)).all()
    assert np.isnan(bad.Q.sel(time=~reached)).all()
    good = labelled("eta", [0.5, 1.0])
    alone = ok.solve(problem(duration=200.0, learning_rate=good).replace(activation="linear"))
    np.testing.assert_array_equal(run.Q.isel(eta=[0, 2]), alone.Q)


def test_thresholds_sweep():
    levels = labelled("level", [1e-2, 1e-4])
    quiet = problem(duration=500.0, until=levels).replace(tasks={"main": ok.Task([1.0])})
    run = ok.solve(quiet)
    assert (run.phase_outcome == ok.Outcome.THRESHOLD).all()
    ends = run.phase_end.values.ravel()
    assert 0 < ends[0] < ends[1] < 500
    np.testing.assert_allclose(run.t_last, ends)
    # Ends stand between the common rows, but the errors there are known.
    np.testing.assert_allclose(run.phase_end_error.values.ravel(), levels, rtol=1e-6)
    assert ok.Problem.from_dict(quiet.to_dict()) == quiet


def test_no_two_rows_differ_by_rounding():
    """Where a shorter phase ends at a row of the longest, but for the last digit."""
    for last in np.linspace(1.0, 5.0, 40):
        duration = labelled("part", [1.0, 0.7, 0.3]) * last
        some = problem(duration=4.630387621704017)
        some = some.replace(phases=[*some.phases, ok.Phase("main", duration, 0.3)])
        run = ok.solve(some, rtol=1e-3, atol=1e-6)
        assert run.time.diff("time").min() > 1e-9
        assert set(run.phase_end.values.ravel()) <= set(run.time.values)
        assert run.time[0] == 0.0


def test_the_rows_of_swept_durations_hold_every_end():
    spans = labelled("span", [3.0, 20.0, 77.7])
    swept = problem(duration=spans)
    swept = swept.replace(phases=[*swept.phases, ok.Phase("main", 1.0, 0.2)])
    run = ok.solve(swept)
    for span in spans.values:
        alone = ok.solve(at(swept, {"span": int(np.argmax(spans.values == span))}))
        last = ok.measures.final(run.sel(span=span).generalization_error)
        np.testing.assert_allclose(last, alone.generalization_error[-1], atol=TOLERANCE)


@pytest.mark.parametrize("seconds", [0.0, 1e6])
def test_a_sweep_resumes_from_its_points(tmp_path, seconds):
    swept = problem(learning_rate=labelled("eta", [0.1, 0.7]))
    first = ok.solve(swept, checkpoint=ok.Checkpoint(tmp_path, seconds))
    again = ok.solve(swept, checkpoint=ok.Checkpoint(tmp_path, seconds))
    xr.testing.assert_equal(first, again)


def test_a_stored_sweep_is_the_same_problem(tmp_path):
    swept = problem(learning_rate=labelled("eta", [0.1, 0.7]))
    path = ok.save(ok.solve(swept), tmp_path / "sweep.nc")
    from odekit.dataset.provenance import problem_of

    back = ok.Problem.from_dict(problem_of(ok.open(path)))
    assert back == swept
    assert list(axes(back)) == ["eta"]


def test_arrays_that_disagree_are_refused():
    with pytest.raises(ok.ProblemError, match="eta"):
        ok.solve(
            problem(
                learning_rate=labelled("eta", [0.1, 0.7]), weight_decay=labelled("eta", [0.1, 0.8])
            )
        )
