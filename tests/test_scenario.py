"""Scenarios: every key arrives, every mistake is reported with its key."""

from __future__ import annotations

import copy
import re
import tomllib
import typing
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import odekit as ok
from odekit.base.errors import ProblemError, ScenarioError
from odekit.problem.system import system_of
from odekit.systems.committee.tables import ScenarioTable
from odekit.verbs.scenario import MAX_BYTES, load_scenario, parse_scenario

DATA = Path(__file__).parent.parent / "data"

MINIMAL = """
[state]
Q = [[1.0, 0.0], [0.0, 1.0]]
R = [[0.1, 0.0], [0.0, 0.1]]
T = [[1.0, 0.0], [0.0, 1.0]]
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 100
learning_rate = 0.5
"""

FULL = """
title = "Two tasks"
description = "A little of everything."
references = ["Somebody (2021)"]
activation = "erf"

[state.draw]
student = 2
teacher = { rotated = { units = 1, overlap = 0.3, tasks = 2 } }
weight_std = { imbalance = { scale = 0.1, gain = 2.0 } }
input_dim = 1000
seed = 3

[heads]
a = { polar = { radius = { imbalance = { scale = 0.1, gain = 2.0 } }, angles = 0.5 } }
b = [0.1, 0.2]

[tasks.first]
readout = { embed = { readout = [1.0], task = 0, tasks = 2 } }
head = "a"
[tasks.second]
readout = [0.0, 1.0]
noise_std = 0.1
head = "b"

[[phases]]
tasks = "first"
duration = 50.0
learning_rate = { times = [0.0, 10.0], values = [1.0, 0.5], interpolation = "cubic" }
readout_learning_rate = 0.25
until = 1e-3
weight_decay = 1e-4
readout_weight_decay = 1e-5
batch_size = 4
frozen = [true, false]

[[phases]]
tasks = { first = 0.25, second = 0.75 }
duration = 20
learning_rate = 1
until = { second = 1e-4 }
gradient_flow = true
consolidation = { kind = "fisher", strength = 2.0, task = "first" }
copy_heads = { b = "a" }

[solver]
t_eval = { geomspace = [1.0, 70.0, 3], start = 0.0 }
method = "DOP853"
rtol = 1e-6
max_steps = 1000
"""


def keys(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    return [key for key, _ in caught.value.problems]


def messages(text: str) -> dict[str, str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    return dict(caught.value.problems)


def test_minimal_scenario_is_the_problem_written_in_python() -> None:
    expected = ok.Problem(
        state=ok.OrderParameters(Q=np.eye(2), R=0.1 * np.eye(2), T=np.eye(2)),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", duration=100.0, learning_rate=0.5)],
    )
    scenario = parse_scenario(MINIMAL)
    assert scenario.problem == expected
    assert scenario.solver == {}


def test_every_key_arrives() -> None:
    scenario = parse_scenario(FULL)
    problem = scenario.problem
    assert (scenario.title, scenario.description) == ("Two tasks", "A little of everything.")
    assert scenario.references == ("Somebody (2021)",)
    assert scenario.source == FULL
    drawn = ok.OrderParameters.draw(
        student=2,
        teacher=ok.teachers.rotated(1, 0.3),
        weight_std=0.2,
        input_dim=1000,
        seed=3,
    )
    np.testing.assert_array_equal(problem.state.Q, drawn.Q)
    np.testing.assert_array_equal(problem.state.T, [[1.0, 0.3], [0.3, 1.0]])
    np.testing.assert_array_equal(problem.heads["a"], ok.polar(0.05, 0.5))
    np.testing.assert_array_equal(problem.tasks["first"].readout, [1.0, 0.0])
    assert problem.tasks["second"].noise_std == 0.1
    assert problem.head_of("second") == "b"
    one, two = problem.phases
    assert one.learning_rate.interpolation == "cubic"
    assert one.learning_rate(10.0) == 0.5
    assert (one.until, one.batch_size, one.frozen) == (1e-3, 4, (True, False))
    assert (one.weight_decay, one.readout_weight_decay) == (1e-4, 1e-5)
    assert one.readout_learning_rate == 0.25
    assert two.mixture == {"first": 0.25, "second": 0.75}
    assert two.thresholds == {"second": 1e-4}
    assert two.gradient_flow
    assert vars(two.consolidation) == {"kind": "fisher", "strength": 2.0, "task": "first"}
    assert two.copy_heads == {"b": "a"}
    solver = dict(scenario.solver)
    np.testing.assert_allclose(solver.pop("t_eval"), [0.0, 1.0, 70**0.5, 70.0], rtol=1e-15)
    assert solver == {"method": "DOP853", "rtol": 1e-6, "max_steps": 1000}


def test_problem_survives_the_way_through_plain_data() -> None:
    problem = parse_scenario(FULL).problem
    assert ok.Problem.from_dict(problem.to_dict()) == problem


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("values = [0.1, 0.4]", [0.1, 0.4]),
        ("linspace = [0.0, 1.0, 3]", [0.0, 0.5, 1.0]),
        ("geomspace = [0.01, 1, 3]", [0.01, 0.1, 1.0]),
    ],
)
def test_axis_becomes_a_labelled_array(form: str, expected: list[float]) -> None:
    text = MINIMAL.replace("learning_rate = 0.5", f'learning_rate = {{ over = "eta", {form} }}')
    rate = parse_scenario(text).problem.phases[0].learning_rate
    assert rate.dims == ("eta",)
    np.testing.assert_allclose(rate.values, expected, rtol=1e-15)
    np.testing.assert_array_equal(rate.eta.values, rate.values)


def test_axis_may_stand_in_a_vector_a_matrix_and_a_builder() -> None:
    text = (
        FULL.replace("b = [0.1, 0.2]", 'b = [0.1, { over = "v", values = [1, 2] }]')
        .replace("overlap = 0.3", 'overlap = { over = "V", values = [0.0, 0.5, 1.0] }')
        .replace("angles = 0.5", 'angles = { over = "theta", values = [0.0, 1.0] }')
    )
    problem = parse_scenario(text).problem
    assert problem.heads["b"].dims == ("v", "student")
    np.testing.assert_array_equal(problem.heads["b"], [[0.1, 1.0], [0.1, 2.0]])
    np.testing.assert_array_equal(problem.heads["a"][1], ok.polar(0.05, 1.0))
    assert problem.state.T.dims == ("V", "teacher", "teacher_other")
    np.testing.assert_array_equal(problem.state.T[1], [[1.0, 0.5], [0.5, 1.0]])
    one = ok.OrderParameters.draw(
        student=2, teacher=ok.teachers.rotated(1, 0.5), weight_std=0.2, input_dim=1000, seed=3
    )
    np.testing.assert_array_equal(problem.state.Q, one.Q)
    np.testing.assert_array_equal(problem.state.R.sel(V=0.5), one.R)
    matrix = MINIMAL.replace("R = [[0.1,", 'R = [[{ over = "r", values = [0.1, 0.2] },')
    np.testing.assert_array_equal(parse_scenario(matrix).problem.state.R[:, 0, 0], [0.1, 0.2])


def test_draws_and_a_sweep_of_the_weights_combine() -> None:
    text = FULL.replace(
        "weight_std = { imbalance = { scale = 0.1, gain = 2.0 } }",
        'weight_std = { imbalance = { scale = 0.1, gain = { over = "gain", values = [1, 2] } } }\n'
        "draws = 3",
    )
    state = parse_scenario(text).problem.state
    assert state.Q.dims == ("gain", "draw", "student", "student_other")
    np.testing.assert_allclose(state.Q.sel(gain=2), 4 * state.Q.sel(gain=1), rtol=1e-14)
    assert isinstance(state.R, xr.DataArray)


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("2", np.eye(2)),
        ("{ shared = { units = 1, common = 1 } }", np.ones((2, 2))),
        ("[[1.0, 0.5], [0.5, 1.0]]", np.array([[1.0, 0.5], [0.5, 1.0]])),
        (
            "{ random = { units = 2, input_dim = 50, seed = 1 } }",
            ok.teachers.random(2, input_dim=50, seed=1),
        ),
    ],
)
def test_teachers(teacher: str, expected: np.ndarray) -> None:
    text = FULL.replace("{ rotated = { units = 1, overlap = 0.3, tasks = 2 } }", teacher)
    np.testing.assert_array_equal(parse_scenario(text).problem.state.T, expected)


def test_six_mistakes_in_six_places_are_six_lines() -> None:
    text = (
        FULL.replace("seed = 3", "seed = -3")
        .replace("b = [0.1, 0.2]", "b = [0.1]")
        .replace('head = "b"', 'head = "c"')
        .replace("duration = 50.0", "duration = -50.0")
        .replace("strength = 2.0", 'strenght = "two"')
        .replace("rtol = 1e-6", "rtol = 3")
    )
    # A state that cannot be built leaves no lengths to compare the head with.
    assert keys(text) == [
        "state.draw.seed",
        "tasks.second.head",
        "phases[0].duration",
        "phases[1].consolidation.strenght",
        "solver.rtol",
    ]
    assert keys(text.replace("seed = -3", "seed = 3")) == [
        "heads.b",
        "tasks.second.head",
        "phases[0].duration",
        "phases[1].consolidation.strenght",
        "solver.rtol",
    ]
    more = text.replace("seed = -3", "seed = 3").replace("batch_size = 4", "batch_size = 0")
    assert len(keys(more)) == 6


def test_several_mistakes_in_one_part_are_all_found() -> None:
    text = FULL.replace("duration = 50.0", "duration = -50.0").replace(
        "learning_rate = {", "learning_rate = -1.0 # {"
    )
    text = text.replace("frozen = [true, false]", "frozen = [true]")
    text = text.replace("until = 1e-3", "until = { third = 0.1 }")
    assert keys(text) == [
        "phases[0].duration",
        "phases[0].learning_rate",
        "phases[0].until",
        "phases[0].frozen",
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("title =", "titel =", "titel", "did you mean `title`?"),
        ("[tasks.first]", "[task.first]", "task", "did you mean `tasks`?"),
        ("weight_std =", "weigth_std =", "state.draw.weigth_std", "`weight_std`"),
        ("overlap = 0.3", "overlp = 0.3", "state.draw.teacher.rotated.overlp", "`overlap`"),
        ("angles = 0.5", "angle = 0.5", "heads.a.polar.angle", "`angles`"),
        ("noise_std = 0.1", "noise = 0.1", "tasks.second.noise", "`noise_std`"),
        ("until = 1e-3", "untill = 1e-3", "phases[0].untill", "`until`"),
        ("values = [1.0, 0.5]", "vals = [1.0, 0.5]", "phases[0].learning_rate.vals", "`values`"),
        ("start = 0.0", "strt = 0.0", "solver.t_eval.strt", "`start`"),
        ("rtol = 1e-6", "rtoll = 1e-6", "solver.rtoll", "`rtol`"),
        ("gradient_flow = true", "zzz = true", "phases[1].zzz", "known here: tasks, duration"),
        ("overlap = 0.3", "overlap = 2.0", "state.draw.teacher.rotated.overlap", "positive semi"),
        (
            "gain = 2.0 } }\ninput",
            "gain = 0 } }\ninput",
            "state.draw.weight_std.imbalance.gain",
            "",
        ),
        (
            "gain = 2.0 } }, angles",
            "gain = -1 } }, angles",
            "heads.a.polar.radius.imbalance.gain",
            "",
        ),
        ("task = 0,", "task = 5,", "tasks.first.readout.embed.task", "between 0 and 1"),
        ("[1.0], task", "[1.0, 1.0], task", "tasks.first.readout", "(P,) = (2,)"),
        ("values = [1.0, 0.5]", "values = [1.0, -1]", "phases[0].learning_rate.values", ">= 0"),
        ("duration = 20", "duration = true", "phases[1].duration", "must be a number"),
        ("duration = 20", "duration = nan", "phases[1].duration", "finite"),
        ("duration = 20", 'duration = "20"', "phases[1].duration", "got '20'"),
        ("batch_size = 4", "batch_size = 4.5", "phases[0].batch_size", "whole number"),
        ("gradient_flow = true", "gradient_flow = 1", "phases[1].gradient_flow", "true or false"),
        ("second = 0.75", "second = 0.7", "phases[1].tasks", "sum to 1"),
        ("second = 0.75", "third = 0.75", "phases[1].tasks", "'first', 'second'"),
        ('kind = "fisher"', 'kind = "ewc"', "phases[1].consolidation.kind", "'quadratic'"),
        ('{ b = "a" }', '{ b = "z" }', "phases[1].copy_heads", "head"),
        ('activation = "erf"', 'activation = "sigmoid"', "activation", "'relu'"),
        ('activation = "erf"', "activation = { name = 'sine' }", "activation", "'gelu'"),
        ('activation = "erf"', "activation = { nodes = 8 }", "activation.name", "missing"),
        ('method = "DOP853"', 'method = "RK"', "solver.method", "'LSODA'"),
        ("70.0, 3]", "90.0, 3]", "solver.t_eval", "total duration 70"),
        ("[1.0, 70.0, 3]", "[0.0, 70.0, 3]", "solver.t_eval.geomspace", "> 0"),
        ("units = 1,", "units = 1000000000,", "state.draw.teacher.rotated", "1024"),
        ("units = 1,", "units = 900,", "state.draw.teacher.rotated.tasks", "between 1 and 1"),
        ("student = 2", "student = 1000000000", "state.draw.student", "1024"),
    ],
)
def test_mistake_is_reported_at_its_key(old: str, new: str, key: str, said: str) -> None:
    assert old in FULL
    found = messages(FULL.replace(old, new, 1))
    at = [k for k in found if k == key or k.startswith(key + ".")]
    assert at, found
    assert said in found[at[0]]


@pytest.mark.parametrize(
    ("axis", "key"),
    [
        ('{ over = "eta" }', ""),
        ('{ over = "eta", values = [1], linspace = [0, 1, 2] }', ""),
        ('{ over = "eta", values = [] }', ".values"),
        ('{ over = "eta", values = [1, 1] }', ".values"),
        ('{ over = "eta", linspace = [0, 1, 2.5] }', ".linspace"),
        ('{ over = "eta", linspace = [0, 1, 1e12] }', ".linspace"),
        ('{ over = "eta", linspace = [0, 1, nan] }', ".linspace"),
        ('{ over = "eta", geomspace = [-1, 1, 2] }', ".geomspace"),
        ('{ over = "time", values = [1] }', ".over"),
        ('{ over = "a b", values = [1] }', ".over"),
        ('{ over = "eta", values = [-1] }', ""),
    ],
)
def test_bad_axes(axis: str, key: str) -> None:
    text = MINIMAL.replace("learning_rate = 0.5", f"learning_rate = {axis}")
    assert keys(text) == [f"phases[0].learning_rate{key}"]


def test_one_axis_has_one_set_of_values() -> None:
    text = MINIMAL.replace(
        "learning_rate = 0.5",
        'learning_rate = { over = "eta", values = [1, 2] }\n'
        'readout_learning_rate = { over = "eta", values = [1, 3] }',
    )
    assert len(keys(text)) == 1
    assert parse_scenario(text.replace("[1, 3]", "[1, 2]")).problem.phases


def test_builder_refuses_too_many_combinations() -> None:
    text = FULL.replace("overlap = 0.3", 'overlap = { over = "V", linspace = [0, 1, 20000] }')
    assert "at most 10000 combinations" in messages(text)["state.draw.teacher.rotated"]


def test_state_is_given_or_drawn() -> None:
    assert keys(MINIMAL.replace("T = [[1.0, 0.0], [0.0, 1.0]]", "")) == ["state.T"]
    both = FULL + "\n[state]\nQ = [[1.0]]\n"
    assert keys(both) == ["state"]
    assert keys(MINIMAL.replace("R = [[0.1, 0.0]", "R = [[0.1]")) == ["state.R"]
    assert "Cauchy" in messages(MINIMAL.replace("R = [[0.1", "R = [[1.5"))["state"]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "gelu", "softplus", "quadratic"])
def test_every_shipped_activation_goes_by_its_name(name: str) -> None:
    text = FULL.replace('activation = "erf"', f'activation = "{name}"')
    assert parse_scenario(text).problem.activation == name


def test_an_activation_may_have_an_accuracy_of_its_own() -> None:
    table = "{ name = 'leaky_relu', slope = 0.2, accuracy = 1e-6, nodes = 32 }"
    found = parse_scenario(FULL.replace('"erf"', table)).problem.activation
    assert (found.name, found.slope, found.accuracy, found.nodes) == ("leaky_relu", 0.2, 1e-6, 32)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a = 1\nb = = 3\n", "line 2"),
        ("[state\n", "line 1"),
        ("x = " + "[" * 100_000, "file"),
    ],
)
def test_broken_toml_names_the_line(text: str, key: str) -> None:
    assert keys(text)[0].startswith(key)


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_scenario(path).problem == parse_scenario(MINIMAL).problem
    path.write_bytes(b"title = 'a'\n\xff\n")
    with pytest.raises(ScenarioError, match="line 2: must be UTF-8"):
        load_scenario(str(path))
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ScenarioError, match="16 MiB"):
        load_scenario(path)
    with pytest.raises(FileNotFoundError):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(IsADirectoryError):
        load_scenario(tmp_path)


AXIS = {"over": "x", "values": [1.0, -2.0]}
BUILT = {"embed": {"readout": [1.0], "task": 0}}
SCALE = {"imbalance": {"scale": 1.0, "gain": 2.0}}
TABLE = {"times": [0, 1], "values": [1, 1]}
WORDS = ["", "main", "τ", "over", ["a"]]
NUMBERS = [-1, 0, 7, 2.5, float("nan"), float("inf"), True, 10**9, -1e300]
LISTS = [[], [1.0], [[1.0]], [{}]]
TABLES = [{}, {"over": "x"}, {"over": 1.0}, {"polar": {}}, {"main": 1.0}, AXIS, BUILT, SCALE, TABLE]
JUNK = st.sampled_from([None, *WORDS, *NUMBERS, *LISTS, *TABLES])


def places(tree: object, path: tuple = ()) -> list[tuple]:
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    found = [path] if path else []
    for key, below in items:
        found += places(below, (*path, key))
    return found


@settings(max_examples=200, deadline=None)
@given(data=st.data(), text=st.sampled_from([MINIMAL, FULL]))
def test_junk_anywhere_is_a_scenario_error_or_a_problem(data: st.DataObject, text: str) -> None:
    raw = tomllib.loads(text)
    for _ in range(data.draw(st.integers(1, 4))):
        *path, last = data.draw(st.sampled_from(places(raw)))
        target = raw
        for step in path:
            target = target[step]
        what = data.draw(JUNK)
        if what is None:
            del target[last]
        else:
            target[last] = copy.deepcopy(what)
    table, builder, mistakes = system_of("committee").scenario(raw)
    problem = builder.problem(table)
    builder.solver(table)
    assert mistakes or problem is not None
    assert all(key and message for key, message in mistakes.in_order())


def tables(kind: type[BaseModel] = ScenarioTable) -> set[type[BaseModel]]:
    def below(annotation: object) -> set[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return tables(annotation)
        return {t for a in typing.get_args(annotation) for t in below(a)}

    return {kind}.union(*(below(f.annotation) for f in kind.model_fields.values()))


def test_every_key_is_documented() -> None:
    text = (DATA / "README.md").read_text()
    keys = {name for table in tables() for name in table.model_fields}
    assert len(keys) > 50
    assert {k for k in keys if not re.search(rf"\b{k}\b", text)} == set()


def test_messages_of_the_checks_are_kept_whole() -> None:
    with pytest.raises(ProblemError) as caught:
        ok.Phase("main", duration=-1.0, learning_rate=0.1)
    said = messages(MINIMAL.replace("duration = 100", "duration = -1"))["phases[0].duration"]
    assert said in str(caught.value)
