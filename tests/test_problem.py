"""Problems are checked as they are written down, and each refusal says what to do."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.systems.committee.groups import fractions

STATE = ok.OrderParameters(Q=np.eye(2), R=np.zeros((2, 3)), T=np.eye(3))


def make(**changes):
    parts = {
        "state": STATE,
        "heads": {"a": [1.0, 1.0], "b": [0.5, -0.5]},
        "tasks": {"a": ok.Task([1.0, 0.0, 0.0]), "b": ok.Task([0.0, 1.0, 1.0], noise_std=0.1)},
        "phases": [ok.Phase("a", 10.0, 0.5), ok.Phase({"a": 0.25, "b": 0.75}, 5.0, 0.1)],
    }
    return ok.Problem(**{**parts, **changes})


def phase(**changes):
    return ok.Phase(**{"tasks": "a", "duration": 10.0, "learning_rate": 0.5, **changes})


def test_a_good_problem_is_kept_as_given():
    problem = make()
    assert problem.head_of("b") == "b"
    assert problem.phases[1].mixture == {"a": 0.25, "b": 0.75}
    np.testing.assert_array_equal(problem.heads["b"], [0.5, -0.5])
    assert problem == make()
    assert problem != make(activation="linear")


def test_one_phase_needs_no_list():
    assert len(make(phases=phase()).phases) == 1


REFUSED = {
    "activation": (lambda: make(activation="sigmoid"), "activation", "erf"),
    "no phases": (lambda: make(phases=[]), "phases", "at least one"),
    "phase of another type": (lambda: make(phases=["a"]), "phases[0]", "Phase"),
    "state of another type": (lambda: make(state=np.eye(2)), "state", "OrderParameters"),
    "no heads": (lambda: make(heads={}), "heads", "mapping"),
    "head of another length": (lambda: make(heads={"a": [1.0]}), "heads['a']", "(2,)"),
    "head of another shape": (
        lambda: make(heads={"a": np.ones((1, 2, 2))}),
        "heads['a']",
        "(1, 2, 2)",
    ),
    "head with NaN": (lambda: make(heads={"a": [1.0, np.nan]}), "heads['a']", "finite"),
    "head of text": (lambda: make(heads={"a": ["x", "y"]}), "heads['a']", "real numbers"),
    "ragged head": (lambda: make(heads={"a": [[1.0], [1.0, 2.0]]}), "heads['a']", "numbers"),
    "complex head": (lambda: make(heads={"a": [1j, 0]}), "heads['a']", "real numbers"),
    "name that is not ASCII": (lambda: make(heads={"ä": [1.0, 1.0]}), "heads", "ASCII"),
    "empty name": (lambda: make(tasks={"": ok.Task([1.0, 0, 0])}), "tasks", "non-empty"),
    "name that is no text": (lambda: make(tasks={1: ok.Task([1.0, 0, 0])}), "tasks", "1"),
    "long name": (lambda: make(heads={"x" * 129: [1.0, 1.0]}), "heads", "128"),
    "task of another type": (lambda: make(tasks={"a": [1.0, 0.0, 0.0]}), "tasks['a']", "Task"),
    "short readout": (
        lambda: make(tasks={"a": ok.Task([1.0, 0.0])}),
        "tasks['a'].readout",
        "zeros for the fixed vectors outside",
    ),
    "unknown head": (
        lambda: make(tasks={"a": ok.Task([1.0, 0, 0], head="c")}),
        "tasks['a'].head",
        "'a', 'b'",
    ),
    "unknown task": (lambda: make(phases=[phase(tasks="z")]), "phases[0].tasks", "'a', 'b'"),
    "unknown task in until": (
        lambda: make(phases=[phase(until={"z": 0.1})]),
        "phases[0].until",
        "'z'",
    ),
    "unknown head to copy": (
        lambda: make(phases=[phase(copy_heads={"a": "z"})]),
        "phases[0].copy_heads",
        "'z'",
    ),
    "mask of another length": (
        lambda: make(phases=[phase(frozen=[True])]),
        "phases[0].frozen",
        "(2,)",
    ),
    "consolidation before any task": (
        lambda: make(phases=[phase(consolidation=ok.Consolidation("node", 1.0))]),
        "phases[0].consolidation.task",
        "named",
    ),
    "consolidation after a mixture": (
        lambda: make(
            phases=[
                phase(tasks={"a": 0.5, "b": 0.5}),
                phase(consolidation=ok.Consolidation("node", 1.0)),
            ]
        ),
        "phases[1].consolidation.task",
        "exactly one task",
    ),
    "consolidation of an unknown task": (
        lambda: make(phases=[phase(consolidation=ok.Consolidation("node", 1.0, task="z"))]),
        "phases[0].consolidation.task",
        "'z'",
    ),
    "kind of consolidation": (lambda: ok.Consolidation("l2", 1.0), "kind", "'fisher'"),
    "negative strength": (lambda: ok.Consolidation("node", -1.0), "strength", ">= 0"),
    "consolidation of another type": (lambda: phase(consolidation="node"), "consolidation", "node"),
    "negative noise": (lambda: ok.Task([1.0], noise_std=-0.1), "noise_std", "-0.1"),
    "duration zero": (lambda: phase(duration=0.0), "duration", "> 0"),
    "endless duration": (lambda: phase(duration=np.inf), "duration", "finite"),
    "duration of text": (lambda: phase(duration="10"), "duration", "number"),
    "duration None": (lambda: phase(duration=None), "duration", "number"),
    "list of rates": (lambda: phase(learning_rate=[0.1, 0.2]), "learning_rate", "DataArray"),
    "negative rate": (lambda: phase(learning_rate=-0.5), "learning_rate", "-0.5"),
    "negative readout rate": (
        lambda: phase(readout_learning_rate=-1),
        "readout_learning_rate",
        ">= 0",
    ),
    "rate True": (lambda: phase(learning_rate=True), "learning_rate", "number"),
    "negative decay": (lambda: phase(weight_decay=-1e-3), "weight_decay", "-0.001"),
    "batch of none": (lambda: phase(batch_size=0), "batch_size", "between 1"),
    "batch of a half": (lambda: phase(batch_size=1.5), "batch_size", "integer"),
    "gradient flow as a number": (lambda: phase(gradient_flow=1), "gradient_flow", "True or False"),
    "mask of numbers": (lambda: phase(frozen=[1, 0]), "frozen", "True or False"),
    "threshold zero": (lambda: phase(until=0.0), "until", "> 0"),
    "no threshold": (lambda: phase(until={}), "until", "non-empty"),
    "probabilities": (lambda: phase(tasks={"a": 0.5, "b": 0.6}), "tasks", "1.1"),
    "probability": (lambda: phase(tasks={"a": 1.1, "b": -0.1}), "tasks['a']", "fraction"),
    "no task": (lambda: phase(tasks={}), "tasks", "non-empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_argument_rule_value_and_remedy(name):
    build, argument, said = REFUSED[name]
    with pytest.raises(ok.ProblemError) as caught:
        build()
    assert caught.value.argument == argument
    message = str(caught.value)
    assert message.startswith(f"`{argument}` must ")
    assert ", got " in message
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


def test_sizes_beyond_memory_are_refused_before_allocating():
    huge = np.broadcast_to(1.0, 10**9)
    with pytest.raises(ok.ProblemError, match="heads"):
        make(heads={"a": huge})
    with pytest.raises(ok.ProblemError, match="readout"):
        ok.Task(huge)
    many = [phase(tasks="a", consolidation=ok.Consolidation("node", 1.0, task="a"))] * 600
    with pytest.raises(ok.ProblemError, match="1024 fixed vectors"):
        make(phases=many)


def test_problems_are_frozen_and_their_arrays_read_only():
    given = np.ones(2)
    problem = make(heads={"a": given, "b": given})
    given[0] = 7.0
    assert problem.heads["a"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        problem.heads["a"][0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        problem.state.Q[0, 0] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.activation = "linear"
    with pytest.raises(TypeError, match="unhashable"):
        hash(problem)


def test_replacing_is_checked_again():
    problem = make()
    changed = problem.replace_phase(1, learning_rate=0.2)
    assert (changed.phases[1].learning_rate, problem.phases[1].learning_rate) == (0.2, 0.1)
    assert problem.replace_phase(-1, duration=7.0).phases[1].duration == 7.0
    assert problem.replace(activation="linear").activation == "linear"
    with pytest.raises(ok.ProblemError, match="0 to 1"):
        problem.replace_phase(2, learning_rate=0.1)
    with pytest.raises(ok.ProblemError, match="learning_rate"):
        problem.replace_phase(0, learning_rate=-1)


def test_one_threshold_stands_for_every_task_of_the_phase():
    both = phase(tasks={"a": 0.5, "b": 0.5}, until=0.01)
    assert both.thresholds == {"a": 0.01, "b": 0.01}
    assert phase(until={"b": 0.2}).thresholds == {"b": 0.2}
    assert phase().thresholds == {}


def test_labelled_numbers_keep_their_dims_and_the_coordinates_of_sweep_axes():
    etas = xr.DataArray([0.1, 0.2], dims="eta", coords={"eta": [0.1, 0.2]})
    problem = make().replace_phase(0, learning_rate=etas)
    assert problem.phases[0].learning_rate.dims == ("eta",)
    heads = xr.DataArray(
        np.ones((2, 4)),
        dims=("student", "theta"),
        coords={"theta": np.arange(4.0), "student": [5, 6]},
    )
    kept = make(heads={"a": heads, "b": [1.0, 1.0]}).heads["a"]
    assert kept.dims == ("theta", "student")
    assert set(kept.coords) == {"theta"}
    with pytest.raises(ok.ProblemError, match=r"-0.2"):
        phase(learning_rate=-etas[1:])
    with pytest.raises(ok.ProblemError, match="Rename or add"):
        make(heads={"a": heads.rename(student="unit"), "b": [1.0, 1.0]})
    p = xr.DataArray([0.2, 0.4], dims="p")
    with pytest.raises(ok.ProblemError, match="sum to 1"):
        phase(tasks={"a": p, "b": p})
    assert phase(tasks={"a": p, "b": 1 - p}).mixture["b"].dims == ("p",)


@pytest.mark.parametrize("dim", ["time", "student", "Q", "status", "a b", "a/b", "é"])
def test_a_sweep_dim_may_not_take_a_name_of_the_result(dim):
    with pytest.raises(
        ok.ProblemError, match="`learning_rate` must have sweep dims with plain names"
    ):
        ok.Phase("main", 1.0, xr.DataArray([1.0, 2.0], dims=dim))


def test_names_of_the_result_are_reserved():
    from odekit.base.checks import RESERVED
    from odekit.systems.committee.variables import variables

    REGISTRY = variables(groups=True, beyond=())

    assert {*REGISTRY, "time_since_switch"} == RESERVED


def test_a_task_may_have_probability_zero():
    """The baseline of a sweep over fractions is one of its points."""
    assert ok.Phase({"a": 1.0, "b": 0.0}, 1.0, 0.5).mixture == {"a": 1.0, "b": 0.0}


def test_units_in_another_order_are_refused():
    """A selection such as `.sel(student=[1, 0])` beside one not reordered mixes units up."""
    turned = xr.DataArray([1.0, 2.0], dims="student", coords={"student": [1, 0]})
    with pytest.raises(ok.ProblemError, match=r"drop_vars\('student'\)"):
        make(heads={"a": turned, "b": [1.0, 1.0]})
    make(heads={"a": turned.drop_vars("student"), "b": [1.0, 1.0]})


@pytest.mark.parametrize("labels", [[1.0, 2.0], [1.0, 0.0], [0.0, 1.0, 2.0]])
def test_labels_that_differ_are_refused_wherever_arrays_meet(labels):
    """And not aligned, with points that are lost or NaN."""
    one = xr.DataArray([0.3, 0.4], dims="x", coords={"x": [0.0, 1.0]})
    other = xr.DataArray(np.linspace(0.5, 0.6, len(labels)), dims="x", coords={"x": labels})
    T = xr.DataArray(np.ones((2, 1, 1)), dims=("x", "teacher", "teacher_other"), coords=one.coords)
    meets = [
        lambda: ok.polar(one, other),
        lambda: ok.imbalance(one, other),
        lambda: ok.Phase({"a": one, "b": other, "c": "rest"}, 1.0, 0.1),
        lambda: ok.Phase({"a": one, "b": 1.0 - other}, 1.0, 0.1),
        lambda: ok.linear.one_mode(1.0, one, other, 0.1),
        lambda: ok.OrderParameters.draw(1, T, weight_std=other, input_dim=100, seed=0),
        lambda: fractions("groups", {"g": one, "h": 1.0 - other}),
    ]
    for meet in meets:
        with pytest.raises(ok.ProblemError, match="coordinates of the sweep axes that they share"):
            meet()
