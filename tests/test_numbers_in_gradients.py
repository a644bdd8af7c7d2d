"""Gradients through numbers of phases that move in time, and through what structured phases change.

Against fourth-order differences of runs, forward against backward, and implicit steps too.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import odekit as ok
from odekit.control.pieces import controls_of
from odekit.problem.names import replace
from test_sensitivity import FINE, SHARP, difference

OF = ["generalization_error", "Q", "R", "readout"]
MOVING = [
    "phases[1].tasks[a].values[1]", "phases[1].tasks[b].times[1]",
    "phases[1].weight_decay.values[2]", "phases[1].weight_decay.times[1]",
    "phases[1].noise_std[b].values[2]", "phases[1].input_variance[b].values[1]",
    "phases[1].consolidation.strength.values[1]", "phases[1].consolidation.strength.values[2]",
    "phases[1].duration", "tasks[a].noise_std", "tasks[b].student_gain",
    "tasks[b].student_noise_std", "tasks[a].student_gain", "heads[a][0]", "state.Q[0, 1]",
    "state.T[0, 1]",
]  # fmt: skip


def table(*values, times=(0.0, 1.0, 2.0), **more):
    return ok.Schedule(times, values, **more)


def moving(**more):
    """Everything that may move in a phase, between one with numbers of its own and a plain one."""
    rng = np.random.default_rng(4)
    W, B = 0.7 * rng.standard_normal((2, 7)), rng.standard_normal((2, 7))
    own = {"noise_std": {"a": 0.3}, "input_variance": {"a": 1.3}}
    phase = ok.Phase(
        {"a": table(0.2, 0.9, 0.5), "b": "rest"},
        2.3,
        learning_rate=table(0.8, 0.3, 0.6, interpolation="cubic"),
        readout_learning_rate=table(0.1, 0.4, 0.4),
        weight_decay=table(0.05, 0.2, 0.1, interpolation="cubic"),
        readout_weight_decay=table(0.3, 0.0, 0.1),
        noise_std={"b": table(0.1, 0.0, 0.8)},
        input_variance={"b": table(1.0, 0.5, 2.0)},
        consolidation=ok.Consolidation("fisher", table(0.0, 2.0, 1.0)),
    )
    return ok.Problem(
        state=ok.OrderParameters.from_weights(W, B),
        heads={"a": [0.9, 0.6], "b": [0.5, 0.8]},
        tasks={"a": ok.Task([1.0, 0.4], 0.1), "b": ok.Task([0.3, 1.1], 0.2, student_noise_std=0.2)},
        phases=[ok.Phase("a", 2.0, 0.6, 0.2, **own), phase, ok.Phase("b", 1.0, 0.5, 0.3)],
        **more,
    )


def structured():
    """The same with biases, means, labels and dropout; momentum that ends, and a second anchor."""
    begin = moving()
    own = ({"momentum_decay": 1.0}, {"momentum_decay": 0.7}, {})
    phases = [
        dataclasses.replace(phase, bias_learning_rate=0.3, **more)
        for phase, more in zip(begin.phases, own, strict=True)
    ]
    phases[1] = dataclasses.replace(phases[1], keep_probability=table(0.9, 0.6, 0.8))
    phases[2] = dataclasses.replace(
        phases[2], normalization=ok.RMSNorm(initial=0.5, decay=0.5, epsilon=0.1),
        consolidation=ok.Consolidation("node", 0.4, "b"), copy_heads={"b": "a"},
        keep_probability=0.9,
    )  # fmt: skip
    tasks = {
        "a": ok.Task([1.0, 0.4], 0.1, input_mean=[0.3, 0.1]),
        "b": ok.Task([0.3, 1.1], 0.2, label=0.3, input_variance=1.5, student_gain=0.8,
                     student_noise_std=0.2),
    }  # fmt: skip
    return begin.replace(biases=[0.1, -0.2], tasks=tasks, phases=phases)


OF_WHITE = [
    *MOVING, "phases[1].learning_rate.times[1]", "phases[1].readout_weight_decay.values[0]",
    "phases[0].noise_std[a]", "phases[0].input_variance[a]", "tasks[a].input_variance",
]  # fmt: skip
OF_STRUCTURED = [
    *MOVING, "phases[1].keep_probability.values[1]", "phases[0].momentum_decay",
    "phases[1].momentum_decay", "phases[2].consolidation.strength", "tasks[a].input_mean[0]",
    "biases[1]",
]  # fmt: skip


def joined(ds, names, of):
    return np.vstack([ds[f"d_{name}"].values.reshape(-1, len(names)) for name in of])


def found_and_wanted(problem, names, of, at_the_end):
    """Derivatives, forward as adjoint, and differences of what runs end with."""
    how = {"of": of, "wrt": names, "estimate": False}
    one, other = (
        joined(ok.sensitivity(problem, method=method, **how, **SHARP), names, of)
        for method in ("forward", "adjoint")
    )
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()
    return one, np.array([difference(problem, name, at_the_end) for name in names]).T


@pytest.mark.parametrize(
    ("problem", "names", "more"),
    [(moving(), OF_WHITE, []), (structured(), OF_STRUCTURED, ["bias"])],
    ids=["white", "structured"],
)
def test_derivatives_are_differences_and_forward_is_adjoint(problem, names, more):
    of = [*OF, *more]

    def at_the_end(changed):
        run = ok.solve(changed, **FINE, t_eval=None)
        return np.concatenate([run[name].isel(time=-1).values.ravel() for name in of])

    one, wanted = found_and_wanted(problem, names, of, at_the_end)
    assert (np.abs(wanted).max(axis=0) > 1e-6).all()
    scale = np.maximum(np.abs(wanted).max(axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_less(np.abs(one - wanted) / scale, 2e-9)


@pytest.mark.parametrize(
    ("problem", "names"),
    [(moving(), OF_WHITE[::3]), (structured(), OF_STRUCTURED[::4])],
    ids=["white", "structured"],
)
def test_implicit_steps(problem, names):
    how = {"of": OF, "wrt": names, "estimate": False, "rtol": 1e-4, "atol": 1e-7}
    one, other, explicit = (
        joined(ok.sensitivity(problem, method=m, integrator=i, **how), names, OF)
        for m, i in (("forward", "Radau"), ("adjoint", "Radau"), ("forward", "DOP853"))
    )
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()
    assert np.abs(one - explicit).max() <= 1e-5 * np.abs(explicit).max()


def test_rates_of_groups_move():
    half = ok.Schedule([0.0, 2.0, 4.0], [0.5, 0.6, 0.1], "cubic")
    problem = ok.Problem(
        groups={"x": 0.3, "y": 0.7},
        state=ok.OrderParameters(
            Q=np.full((2, 1, 1), 0.5), R=np.full((2, 1, 1), 0.1), T=np.ones((2, 1, 1))
        ),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0], 0.2)},
        phases=[ok.Phase("main", duration=4.0, learning_rate={"x": half, "y": 0.2})],
    )
    names = ["phases[0].learning_rate[x].values[1]", "phases[0].learning_rate[x].times[1]",
             "phases[0].learning_rate[y]"]  # fmt: skip

    def end(changed):
        return ok.solve(changed, **FINE, t_eval=[4.0]).R_group.values.ravel()

    found = ok.sensitivity(problem, of="R_group", wrt=names, estimate=False, **SHARP).d_R_group
    wanted = np.array([difference(problem, name, end) for name in names]).T
    np.testing.assert_allclose(
        found.values.reshape(wanted.shape), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max()
    )


def three(**tasks):
    """Three tasks of a phase, learnt one after another before it."""
    readouts = {"a": [1.0, 0.4], "b": [0.2, 1.0], "c": [0.6, -0.5]}
    return moving().replace(
        heads={name: [0.9, 0.6] for name in tasks},
        tasks={name: ok.Task(readouts[name], 0.2) for name in tasks},
        phases=[ok.Phase(tasks, 2.0, 0.7, 0.3)],
    )


APART = table(0.1, 0.3, 0.2, times=(0.0, 0.6, 2.0))
SPLINE = {"times": (0.0, 0.5, 1.0, 2.0), "interpolation": "spline"}


@pytest.mark.parametrize(
    ("tasks", "names"),
    [
        (
            {"a": table(0.2, 0.4, 0.1), "b": 0.3, "c": "rest"},
            ["tasks[a].values[1]", "tasks[a].times[1]", "tasks[b]", "tasks[c].values[0]"],
        ),
        (
            {
                "a": table(0.2, 0.4, 0.1),
                "b": table(0.1, 0.3, 0.2, times=(0.0, 0.6, 2.0)),
                "c": "rest",
            },
            ["tasks[a].values[1]", "tasks[b].values[2]", "tasks[c].values[1]"],
        ),
        (
            {"a": table(0.2, 0.4, 0.3, 0.1, **SPLINE), "b": 0.3, "c": "rest"},
            ["tasks[a].values[1]", "tasks[c].times[2]", "tasks[b]"],
        ),
        (
            {"a": table(0.2, 0.4, 0.1, interpolation="cubic"), "b": 0.3, "c": "rest"},
            ["tasks[b]"],
        ),
    ],
    ids=["linear", "times apart", "spline", "cubic"],
)
def test_others_make_room_in_proportion(tasks, names):
    """For a table of probabilities, or beside one, among three tasks."""
    problem, of = three(**tasks), ["Q", "R", "readout"]
    names = [f"phases[0].{name}" for name in names]

    def at_the_end(changed):
        shares = changed.phases[0].mixture.values()
        at = np.linspace(0.0, 2.0, 41)
        total = sum(p.at(at) if isinstance(p, ok.Schedule) else p for p in shares)
        np.testing.assert_allclose(total, 1.0, rtol=1e-14)
        run = ok.solve(changed, **FINE, t_eval=None)
        return np.concatenate([run[name].isel(time=-1).values.ravel() for name in of])

    one, wanted = found_and_wanted(problem, names, of, at_the_end)
    assert (np.abs(wanted).max(axis=0) > 1e-4).all()
    np.testing.assert_allclose(one, wanted, rtol=0, atol=2e-9 * np.abs(wanted).max())


def test_who_makes_room_for_a_probability_must_be_known():
    linear = three(a=table(0.2, 0.4, 0.1), b=APART, c="rest")
    cubic = three(a=table(0.2, 0.4, 0.1, interpolation="cubic"), b=0.3, c="rest")
    for problem, name, said in (
        (linear, "phases[0].tasks[a].times[1]", "all tables of the mixture"),
        (cubic, "phases[0].tasks[a].values[1]", "linear tables, or of splines"),
        (linear, "phases[0].tasks[a]", r"\.values"),
    ):
        with pytest.raises(ok.ProblemError, match=said):
            ok.sensitivity(problem, of="Q", wrt=name)
    with pytest.raises(ok.ProblemError, match="linear tables, or of splines"):
        replace(cubic, "phases[0].tasks[a].values[1]", 0.3)
    alone = three(a=1.0, b=0.0, c=0.0)
    shares = replace(alone, "phases[0].tasks[a]", 0.9).phases[0].mixture
    np.testing.assert_allclose(list(shares.values()), [0.9, 0.05, 0.05], rtol=1e-14)


def test_one_schedule_for_two_numbers_is_two_schedules():
    """Each of them may be changed alone."""
    same = table(0.3, 0.6, 0.4)
    problem = moving().replace_phase(1, noise_std={"a": same, "b": same}, weight_decay=same)
    names = ["phases[1].noise_std[a].values[1]", "phases[1].noise_std[b].values[1]"]

    def end(changed):
        return ok.solve(changed, **FINE, t_eval=None).Q.values[-1].ravel()

    found = ok.sensitivity(problem, of="Q", wrt=names, estimate=False, **SHARP).d_Q.values
    wanted = np.array([difference(problem, name, end) for name in names]).T
    np.testing.assert_allclose(
        found.reshape(wanted.shape), wanted, rtol=0, atol=2e-9 * np.abs(wanted).max()
    )


def test_controls_that_are_linear_between_values():
    """Of any number of a phase, where two tasks are mixed of one of them."""
    mixed = ok.Phase({"a": 0.4, "b": 0.6}, 2.0, 0.5, consolidation=ok.Consolidation("node", 0.3))
    problem = moving().replace_phase(1, **vars(mixed))
    parts = {"phases[1].tasks[a]": 3, "phases[1].consolidation.strength": 2}
    controls = controls_of(problem, parts, "linear", {}, {})
    assert controls.low.tolist() == [0.0] * 5
    assert controls.high.tolist() == [1.0] * 3 + [np.inf] * 2
    phase = controls.at(np.array([0.1, 0.2, 0.7, 1.0, 2.0])).phases[1]
    assert phase.mixture["a"].values.tolist() == [0.1, 0.2, 0.7]
    np.testing.assert_allclose(phase.mixture["b"].values, [0.9, 0.8, 0.3], rtol=1e-15)
    assert phase.consolidation.strength.values.tolist() == [1.0, 2.0]
