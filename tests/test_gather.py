"""Runs of different sizes in one dataset: what fits together, nothing padded."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok

TIMES = [0.0, 1.0, 2.0]


def run(K, M, t_eval=TIMES):
    problem = ok.Problem(
        state=ok.OrderParameters.draw(student=K, teacher=M, weight_std=0.5, input_dim=100, seed=K),
        heads={"main": [1.0] * K},
        tasks={"main": ok.Task([1.0] * M)},
        phases=[ok.Phase("main", 2.0, 0.1 * K)],
    )
    return ok.solve(problem, t_eval=t_eval, rtol=1e-5)


@pytest.fixture(scope="module")
def runs():
    return {(K, M): run(K, M) for K in (3, 1, 2) for M in (1, 2)}


def test_a_grid_of_sizes_has_a_dim_for_each(runs):
    found = ok.gather(runs, ["K", "M"], {"Q00": lambda ds: ds.Q[:, 0, 0], "end": "Q[0,0].final"})
    assert found.generalization_error.dims == ("K", "M", "time", "task")
    assert found.K.values.tolist() == [3, 1, 2]
    assert found.M.values.tolist() == [1, 2]
    for (K, M), one in runs.items():
        here = found.sel(K=K, M=M)
        np.testing.assert_array_equal(here.generalization_error, one.generalization_error)
        np.testing.assert_array_equal(here.Q00, one.Q[:, 0, 0])
        assert here.end == one.Q[-1, 0, 0]
        assert here.n_steps == one.n_steps


def test_nothing_is_padded(runs):
    found = ok.gather(runs, ["K", "M"])
    sized = {"student", "student_other", "teacher", "Q", "R", "T", "readout"}
    assert not sized & set(found.variables)
    assert not any(v.isnull().any() for v in found.data_vars.values())
    assert "odekit_problem" not in found.attrs
    assert found.generalization_error.attrs["long_name"] == "generalization error"


def test_what_has_the_same_shape_is_kept(runs):
    found = ok.gather({2: runs[1, 2], 1: runs[3, 2]}, "rate")
    assert "T" in found
    assert "R" not in found
    assert found.T.dims == ("rate", "teacher", "teacher_other")


def test_sizes_that_fill_no_grid_are_runs_with_coordinates(runs):
    some = {key: runs[key] for key in runs if key[0] >= key[1]}
    found = ok.gather(some, ("K", "M"))
    assert found.generalization_error.dims == ("run", "time", "task")
    assert found.set_index(run=["K", "M"]).sel(run=(3, 2)).n_rhs == runs[3, 2].n_rhs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: ok.gather({}, "K"), "`runs` must be results by key"),
        (lambda r: ok.gather(r, "K"), "`runs` must be keys of 1 entries, for K"),
        (lambda r: ok.gather(r, ["K", "time"]), "`dims` must not be names that the runs have"),
        (
            lambda r: ok.gather({1: r[1, 1], 2: run(2, 1, [0.0, 2.0])}, "K"),
            "`runs` must have the same `time`, got others. Give all of them the same `t_eval`.",
        ),
        (
            lambda r: ok.gather(r, ["K", "M"], {"R": lambda ds: ds.R.isel(time=-1)}),
            "must leave no dim that differs between the runs",
        ),
    ],
)
def test_what_does_not_fit_is_refused(runs, change, words):
    with pytest.raises(ok.ProblemError) as caught:
        change(runs)
    assert words in str(caught.value)
