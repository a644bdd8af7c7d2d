"""Mistakes in scenarios: every one is reported, with its key."""

from __future__ import annotations

import copy
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit.base.errors import ProblemError
from odekit.problem.system import system_of
from odekit.verbs.scenario import parse_scenario
from scenarios import FULL, MINIMAL, keys, messages


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


def test_messages_of_the_checks_are_kept_whole() -> None:
    with pytest.raises(ProblemError) as caught:
        ok.Phase("main", duration=-1.0, learning_rate=0.1)
    said = messages(MINIMAL.replace("duration = 100", "duration = -1"))["phases[0].duration"]
    assert said in str(caught.value)
