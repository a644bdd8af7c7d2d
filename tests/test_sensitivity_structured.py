"""Derivatives with groups of inputs, dropout, biases and means against differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import odekit as ok
from odekit.problem.names import get, replace
from odekit.systems.committee.gradients.columns import Columns, names_of
from odekit.systems.committee.gradients.structured import kernels_of
from test_sensitivity import FINE, SHARP, difference

COMMON = ["generalization_error", "Q", "R", "readout"]


def groups():
    """A threshold and a table; consolidation by Fisher information; a mixture, a rate by group."""
    rng = np.random.default_rng(4)
    parts = []
    for _ in range(2):
        W, B = 0.7 * rng.standard_normal((2, 7)), rng.standard_normal((2, 7))
        parts.append((W @ W.T / 7, W @ B.T / 7, B @ B.T / 7))
    Q, R, T = (np.array(blocks) for blocks in zip(*parts, strict=True))
    return ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=T),
        heads={"a": [0.9, 0.6], "b": [0.5, 0.8]},
        tasks={
            "a": ok.Task([1.0, 0.4], 0.1, input_variance={"x": 1.0, "y": 0.5}),
            "b": ok.Task([0.3, 1.1], 0.2, input_variance={"x": 1.0, "y": 2.0},
                         student_gain=0.8, student_noise_std=0.3),
        },
        phases=[
            ok.Phase("a", 30.0, ok.Schedule([0.0, 2.0, 9.0], [0.8, 0.5, 0.3]), 0.2, until=0.08),
            ok.Phase("b", 3.0, 0.6, 0.3, weight_decay=0.05, copy_heads={"b": "a"},
                     consolidation=ok.Consolidation("fisher", 0.4, "a")),
            ok.Phase({"a": 0.4, "b": 0.6}, 2.5, {"x": 0.5, "y": 0.3}, 0.4,
                     readout_weight_decay=0.1),
        ],
        groups={"x": 0.3, "y": 0.7},
    )  # fmt: skip


OF_GROUPS = [
    "phases[0].learning_rate.values[1]", "phases[0].until", "phases[1].learning_rate",
    "phases[1].consolidation.strength", "phases[2].duration", "phases[2].tasks[a]",
    "phases[2].learning_rate[x]", "tasks[a].noise_std", "tasks[a].readout[1]",
    "tasks[a].input_variance[y]", "tasks[b].student_gain", "tasks[b].student_noise_std",
    "heads[a][0]", "state.Q[0, 0, 1]", "state.R[1, 1, 0]", "state.T[0, 0, 1]",
]  # fmt: skip


def structured():
    """Biases, means, labels, dropout and a factor at test."""
    rng = np.random.default_rng(0)
    W, B = 0.7 * rng.standard_normal((2, 7)), rng.standard_normal((2, 7))
    return ok.Problem(
        state=ok.OrderParameters.from_weights(W, B),
        heads={"a": [0.9, 0.6], "b": [0.5, 0.8]},
        biases=[0.1, -0.2],
        tasks={
            "a": ok.Task([1.0, 0.4], 0.1, input_mean=[0.3, 0.1]),
            "b": ok.Task([0.3, 1.1], 0.2, label=0.3, input_variance=1.5, student_gain=0.8),
        },
        phases=[
            ok.Phase("a", 20.0, 0.8, 0.2, until=0.16, keep_probability=0.9, bias_learning_rate=0.3),
            ok.Phase({"a": 0.4, "b": 0.6}, 2.5, 0.5, 0.4, keep_probability=0.7, weight_decay=0.05,
                     bias_learning_rate=0.2),
        ],
        test_scale=0.9,
    )  # fmt: skip


OF_STRUCTURED = [
    "phases[0].learning_rate", "phases[0].bias_learning_rate", "phases[0].keep_probability",
    "phases[0].until", "phases[1].keep_probability", "phases[1].tasks[a]", "tasks[a].noise_std",
    "tasks[a].readout[1]", "tasks[a].input_mean[0]", "tasks[b].label", "tasks[b].input_variance",
    "tasks[b].student_gain", "heads[a][0]", "biases[1]", "test_scale", "state.R[1, 0]",
    "state.Q[0, 1]", "state.T[0, 1]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "names", "more"),
    [(groups(), OF_GROUPS, ["Q_group", "R_group"]), (structured(), OF_STRUCTURED, ["bias"])],
    ids=["groups", "structured"],
)
def test_derivatives_are_differences_and_forward_is_adjoint(problem, names, more):
    of = [*COMMON, *more]

    def at_the_end(changed):
        run = ok.solve(changed, **FINE, t_eval=None)
        parts = [run[name].isel(time=-1).values.ravel() for name in of]
        return np.concatenate([*parts, run.phase_end.values])

    def joined(ds):
        parts = [ds[f"d_{name}"].values.reshape(-1, len(names)) for name in [*of, "phase_end"]]
        return np.vstack(parts)

    one, other = (
        ok.sensitivity(problem, of=[*of, "phase_end"], wrt=names, method=method, estimate=False,
                       **SHARP)
        for method in ("forward", "adjoint")
    )  # fmt: skip
    found = joined(one)
    assert np.abs(found - joined(other)).max() <= 1e-11 * np.abs(found).max()
    wanted = np.array([difference(problem, name, at_the_end) for name in names]).T
    scale = np.maximum(np.abs(wanted).max(axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_less(np.abs(found - wanted) / scale, 1e-9)
    assert one.phase_end[0] < problem.phases[0].duration


@pytest.mark.parametrize(
    ("problem", "names"),
    [(groups(), OF_GROUPS[4::6]), (structured(), OF_STRUCTURED[2::6])],
    ids=["groups", "structured"],
)
def test_integrated_errors(problem, names):
    how = {"of": "integrated_error", "estimate": False, "rtol": 1e-12, "atol": 1e-14}
    found = ok.sensitivity(problem, wrt=names, method="adjoint", **how)
    for name in names:

        def values(changed, name=name):
            return ok.sensitivity(changed, wrt=name, **how).integrated_error.values

        wanted = difference(problem, name, values)
        slope = found.d_integrated_error.sel(parameter=name)
        atol = 1e-9 * float(np.abs(found.d_integrated_error).max())
        np.testing.assert_allclose(slope, wanted, rtol=0, atol=atol)


def curriculum(easy=0.5):
    """One unit, a sign teacher that reads half of the inputs: Mignacco & Mori 2025."""
    return ok.Problem(
        state=ok.OrderParameters(
            Q=np.ones((2, 1, 1)), R=np.zeros((2, 1, 1)), T=np.array([[[1.0]], [[0.0]]])
        ),
        heads={"main": [1.0]},
        tasks={
            name: ok.Task([1.0], head="main", input_variance={"relevant": 1.0, "irrelevant": m})
            for name, m in (("easy", 0.0), ("hard", 2.0))
        },
        phases=[ok.Phase({"easy": easy, "hard": 1.0 - easy}, 6.0, 3.0)],
        groups={"relevant": 0.5, "irrelevant": 0.5},
        teacher_activation="sign",
    )


def test_misclassification_of_one_unit():
    problem = curriculum()
    names = ["phases[0].tasks[easy]", "phases[0].learning_rate", "state.Q[1, 0, 0]",
             "tasks[hard].input_variance[irrelevant]"]  # fmt: skip
    # A sign teacher is seen sharpened a hundred million times: no tolerance below rounds the same.
    how = {"rtol": 1e-8, "atol": 1e-10}
    ds = ok.sensitivity(problem, of="misclassification", wrt=names, estimate=False, **how)

    def at_the_end(changed):
        run = ok.solve(changed, method="DOP853", t_eval=[6.0], **how)
        return run.misclassification[-1].values

    wanted = np.array([difference(problem, name, at_the_end, 1e-2) for name in names]).T
    np.testing.assert_allclose(ds.misclassification, at_the_end(problem), rtol=1e-7)
    np.testing.assert_allclose(
        ds.d_misclassification, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max()
    )
    with pytest.raises(ok.ProblemError, match="must be of"):
        ok.sensitivity(groups(), of="misclassification", wrt="phases[0].until")


def test_rows_of_phases_of_the_same_tasks():
    """What phases share is packed once; each row is the one that is packed whole."""
    begin = structured()
    phase = begin.phases[1]
    changed = {
        "duration": 1.0, "learning_rate": 0.3, "readout_learning_rate": 0.1, "batch_size": 4,
        "keep_probability": 0.6, "weight_decay": 0.02, "readout_weight_decay": 0.3,
        "bias_learning_rate": 0.1, "tasks": {"a": 0.1, "b": 0.9},
    }  # fmt: skip
    phases = [phase, *(dataclasses.replace(phase, **{k: v}) for k, v in changed.items())]
    heavy = [dataclasses.replace(p, momentum_decay=0.1 + 0.1 * i) for i, p in enumerate(phases)]
    normal = [
        dataclasses.replace(p, normalization=ok.RMSNorm(0.5 + 0.01 * i, 1e-3 * (i + 1)))
        for i, p in enumerate(phases)
    ]
    for every in (phases, heavy, normal):
        problem = begin.replace(phases=every)
        points = problem.system.points(problem, {})
        columns = Columns(problem, points, names_of(problem, ["phases[0].duration"]))
        frame, y = points.start()
        for i, one in enumerate(problem.phases):
            frame, y = points.enter(i, frame, y)
            tape = kernels_of(points, i, one, frame, columns).tape
            whole = points.constants(one, frame, tape.plan)[0]
            np.testing.assert_array_equal(tape.row, whole)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("erf", "test_scale"),
        ("erf", "phases[0].keep_probability"),
        ("linear", "phases[0].keep_probability"),
        ("relu", "tasks[a].label"),
    ],
)
@pytest.mark.parametrize("method", ["forward", "adjoint"])
def test_what_a_plain_problem_leaves_out_has_a_derivative_at_its_usual_value(
    activation, name, method
):
    """The quicker equations do not know it; a probability is met from below."""
    plain = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5, 0.1], [0.1, 0.4]], R=[[0.3], [0.1]], T=[[1.0]]),
        heads={"a": [0.9, 0.6]},
        tasks={"a": ok.Task([1.0])},
        phases=[ok.Phase("a", 3.0, 0.5, 0.2, gradient_flow=activation == "relu")],
        activation=activation,
    )
    found = ok.sensitivity(plain, of=COMMON, wrt=name, method=method, **SHARP)

    def at(x):
        run = ok.solve(replace(plain, name, x), **FINE, t_eval=None)
        parts = [run[of].isel(time=-1).values.ravel() for of in COMMON]
        return np.concatenate(parts)

    h = 1e-3
    if name.endswith("keep_probability"):
        f = [at(1.0 - i * h) for i in range(5)]
        expected = (25 * f[0] - 48 * f[1] + 36 * f[2] - 16 * f[3] + 3 * f[4]) / (12 * h)
    else:
        expected = difference(plain, name, lambda p: at(get(p, name)))
    slopes = np.concatenate([found[f"d_{of}"].values.ravel() for of in COMMON])
    assert np.abs(expected).max() > 1e-3
    assert np.abs(slopes - expected).max() < 1e-7 * max(np.abs(expected).max(), 1.0)
