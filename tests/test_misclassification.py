"""How often the sign of an output is wrong, against draws of the fields and the dataset's own."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf

import odekit as ok
from test_structured import TIMES, WIDE


def test_misclassification_is_what_is_counted():
    """Two units, clusters and a sign teacher with a bias: against draws of the fields."""
    world = ok.gaussian_mixture([[1.0], [-0.5]], labels=[1.0, -1.0], variance=0.8)
    given = ok.Problem(
        WIDE["state"], {"main": [0.7, -0.4]},
        world.tasks | {"sign": ok.Task([-1.0], head="main")},
        [ok.Phase(world.probabilities, 0.5, 0.3)],
        biases=[0.2, -0.1], teacher_biases=[0.3], teacher_activation="sign",
    )  # fmt: skip
    run = ok.solve(given, t_eval=[0.0, 0.5])
    found = ok.measures.misclassification(run)
    assert found.dims == ("time", "task")
    assert found.attrs["nodes_error"] < 1e-3
    rng, n = np.random.default_rng(0), 400_000
    last = run.isel(time=-1)
    Q, R, T = (last[name].values for name in ("Q", "R", "T"))
    fields = rng.standard_normal((n, 3)) @ np.linalg.cholesky(np.block([[Q, R], [R.T, T]])).T
    for task, (s, m, y) in {"cluster_0": (1.0, 0.8, 1.0), "cluster_1": (-0.5, 0.8, -1.0),
                            "sign": (0.0, 1.0, None)}.items():  # fmt: skip
        phi = s * R[:, 0] + last.bias.values + np.sqrt(m) * fields[:, :2]
        output = erf(phi / np.sqrt(2)) @ last.readout.values[0]
        label = y if y is not None else -np.sign(fields[:, 2] + 0.3)
        off = np.mean(output * label < 0)
        assert float(found.sel(task=task)[-1]) == pytest.approx(off, abs=4 * 0.5 / np.sqrt(n))


def test_misclassification_of_one_unit_is_in_the_dataset():
    world = ok.gaussian_mixture([[1.0], [-1.0]], labels=[1.0, -1.0], variance=0.5)
    given = ok.Problem(
        ok.OrderParameters([[0.5]], [[0.1]], [[1.0]]), {"main": [1.0]}, world.tasks,
        [ok.Phase(world.probabilities, 2.0, 0.3)],
    )  # fmt: skip
    run = ok.solve(given, t_eval=TIMES)
    assert_allclose(run.misclassification, ok.measures.misclassification(run), rtol=0, atol=1e-15)
    regression = ok.Problem(
        given.state,
        {"main": [1.0]},
        {"main": ok.Task([1.0])},
        ok.Phase("main", 1.0, 0.3),
    )
    with pytest.raises(ok.ProblemError, match="labels are signs"):
        ok.measures.misclassification(ok.solve(regression, t_eval=[0.0, 1.0]))
