"""Families of tasks: the similarity asked for is the one that the teachers have."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit.base.errors import ProblemError


def blocks(T, units):
    """Overlaps as (task, unit, task, unit)."""
    n = len(T) // units
    return np.reshape(T, (n, units, n, units))


def cosine(a, b):
    return a @ b / np.sqrt(a @ a * (b @ b))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(2, 4), st.floats(-0.3, 1.0))
def test_every_unit_is_rotated_by_the_same_angle(units, tasks, similarity):
    T = blocks(ok.task_family(units, tasks=tasks, feature_similarity=similarity).T, units)
    for a in range(tasks):
        for b in range(tasks):
            expected = np.eye(units) * (1.0 if a == b else similarity)
            np.testing.assert_allclose(T[a, :, b], expected, atol=1e-15)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(2, 4), st.data())
def test_the_first_units_are_shared(units, tasks, data):
    shared = data.draw(st.integers(0, units))
    T = blocks(ok.task_family(units, tasks=tasks, shared_units=shared).T, units)
    between = np.diag((np.arange(units) < shared).astype(float))
    for a in range(tasks):
        for b in range(tasks):
            np.testing.assert_array_equal(T[a, :, b], np.eye(units) if a == b else between)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 4), st.integers(3, 5), st.floats(-0.3, 1.0), st.floats(0.1, 10))
def test_readouts_have_their_angle_and_scale(tasks, units, similarity, scale):
    units = max(units, tasks)
    family = ok.task_family(units, tasks=tasks, readout_similarity=similarity, readout_scale=scale)
    full = [np.asarray(task.readout).reshape(tasks, units) for task in family.tasks.values()]
    for i, readout in enumerate(full):
        np.testing.assert_array_equal(np.delete(readout, i, axis=0), 0)
        assert np.sqrt(np.mean(readout[i] ** 2)) == pytest.approx(scale, rel=1e-12)
        for j in range(i):
            assert cosine(readout[i], full[j][j]) == pytest.approx(similarity, abs=1e-7)
    np.testing.assert_allclose(full[0][0], scale, rtol=1e-12)


def test_matrices_of_similarities():
    features = np.array([[1, 0.2, 0.5], [0.2, 1, -0.1], [0.5, -0.1, 1]])
    readouts = np.array([[1, 0.9, 0.0], [0.9, 1, 0.1], [0.0, 0.1, 1]])
    family = ok.task_family(3, tasks=3, feature_similarity=features, readout_similarity=readouts)
    np.testing.assert_allclose(blocks(family.T, 3)[:, 1, :, 1], features, atol=1e-15)
    own = [np.asarray(t.readout)[3 * i : 3 * i + 3] for i, t in enumerate(family.tasks.values())]
    found = [[cosine(a, b) for a in own] for b in own]
    np.testing.assert_allclose(found, readouts, atol=1e-12)


def test_names_noise_and_heads():
    family = ok.task_family(2, tasks=3, names=["x", "y", "z"], noise_std=[0.0, 0.1, 0.2])
    assert list(family.tasks) == family.head_names == ["x", "y", "z"]
    assert [task.noise_std for task in family.tasks.values()] == [0.0, 0.1, 0.2]
    assert family.heads([1.0, 2.0]) == {name: [1.0, 2.0] for name in "xyz"}
    assert family.heads([[1.0], [2.0], [3.0]]) == {"x": [1.0], "y": [2.0], "z": [3.0]}
    one = ok.task_family(tasks=3, shared_head=True, noise_std=0.1)
    assert list(one.tasks) == ["1", "2", "3"]
    assert list(one.heads([1.0])) == one.head_names == ["shared"]
    assert all(task.noise_std == 0.1 for task in one.tasks.values())


@pytest.mark.parametrize("shared_head", [False, True])
def test_a_family_of_three_makes_a_problem_that_runs(shared_head):
    family = ok.task_family(2, tasks=3, shared_units=1, shared_head=shared_head)
    run = ok.solve(
        ok.Problem(
            state=ok.OrderParameters.draw(3, family.T, weight_std=0.1, input_dim=1000, seed=1),
            heads=family.heads([1.0, 0.5, -0.5]),
            tasks=family.tasks,
            phases=[ok.Phase(task, 5.0, 0.5, 0.5) for task in family.tasks],
        ),
        t_eval=[0.0, 5.0, 10.0, 15.0],
    )
    assert int(run.status) == 0
    assert run.sizes["head"] == (1 if shared_head else 3)


def test_equal_tasks_are_one_task_learned_twice():
    # V = 1 and one head: the second phase only goes on; both errors are the same throughout.
    family = ok.task_family(2, feature_similarity=1.0, shared_head=True)
    start = ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=1000, seed=1)

    def run(*phases):
        setting = ok.Problem(start, family.heads([1.0, 0.5]), family.tasks, phases)
        return ok.solve(setting, t_eval=[0.0, 10.0, 20.0]).generalization_error

    two = run(ok.Phase("1", 10.0, 1.0, 1.0), ok.Phase("2", 10.0, 1.0, 1.0))
    one = run(ok.Phase("1", 20.0, 1.0, 1.0))
    np.testing.assert_allclose(two[:, 0], two[:, 1], rtol=1e-9)
    np.testing.assert_allclose(two[:, 0], one[:, 0], rtol=1e-6)  # two runs at rtol 1e-8


def test_similarities_may_be_swept():
    V = xr.DataArray([0.0, 0.5, 1.0], dims="V", coords={"V": [0.0, 0.5, 1.0]})
    c = xr.DataArray([-0.5, 1.0], dims="angle", coords={"angle": [-0.5, 1.0]})
    family = ok.task_family(2, feature_similarity=V, readout_similarity=c)
    assert family.T.dims == ("V", "teacher", "teacher_other")
    u = family.tasks["2"].readout
    assert u.dims == ("angle", "teacher")
    for i, value in enumerate(V.values):
        plain = ok.task_family(2, feature_similarity=value)
        np.testing.assert_array_equal(family.T[i], plain.T)
    for i, value in enumerate(c.values):
        plain = ok.task_family(2, readout_similarity=value)
        np.testing.assert_array_equal(u[i], plain.tasks["2"].readout)
    setting = ok.Problem(
        state=ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=1000, seed=1),
        heads=family.heads(xr.DataArray(np.eye(2), dims=("theta", "student"))),
        tasks=family.tasks,
        phases=[ok.Phase("1", 1.0, 1.0)],
    )
    assert setting.heads["1"].dims == ("theta", "student")


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"units": 0}, "units"),
        ({"tasks": 0}, "tasks"),
        ({"feature_similarity": 1.5}, "overlap"),
        ({"tasks": 3, "feature_similarity": -0.9}, "overlap"),
        ({"readout_similarity": 0.5}, "similarity"),
        ({"readout_scale": 0.0}, "scale"),
        ({"shared_units": 2}, "common"),
        ({"shared_units": 1, "feature_similarity": 0.5}, "shared_units"),
        ({"names": ["a"]}, "names"),
        ({"names": ["a", "a"]}, "names"),
        ({"names": "ab"}, "names"),
        ({"noise_std": [0.1]}, "noise_std"),
        ({"noise_std": -0.1}, "noise_std"),
        ({"shared_head": "yes"}, "shared_head"),
    ],
)
def test_mistakes_are_named(arguments, argument):
    with pytest.raises(ProblemError) as caught:
        ok.task_family(**arguments)
    assert caught.value.argument == argument


def test_rows_of_heads_must_fit():
    with pytest.raises(ProblemError, match="one row for each of the heads"):
        ok.task_family().heads([[1.0], [1.0], [1.0]])
