"""Systems that a user declares: what is refused, and what is kept."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from declared import START, axis, case, net
from odekit.problem.axes import axes
from odekit.systems.outside.probe import layouts
from odekit_kernels._jit import NO_JIT

# ------------------------------------------------------------------------------------ declarations


def quiet(y, p):
    return y.x


def fine(y, p, d):
    d.x = -y.x


def writes_y(y, p, d):
    y.v[0] = 1.0
    d.v[0] = 0.0


def unknown(y, p, d):
    d.x = p.rat


def misspelt(y, p, d):
    d.xx = 1.0


def nothing(y, p, d):
    pass


def not_a_number(y, p, d):
    d.x = math.nan


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"state": {"time": ()}}, "plain names that nothing else"),
        ({"state": {"generalization_error": ()}}, "plain names that nothing else"),
        ({"state": {"x y": ()}}, "plain names"),
        ({"state": {"problem_x": ()}}, "plain names"),
        ({"state": {"lambda": ()}}, "plain names"),
        ({"state": {"x": ("task",)}}, "plain names that nothing else"),
        ({"state": {"x": ("a", "a")}}, "must not name a dim twice"),
        ({"state": {"x": 3}}, "tuple of dims"),
        ({"state": {}}, "at least one variable"),
        ({"state": {"x": "x"}}, "a name of its own"),
        ({"parameters": {"x": ()}}, "a name of its own"),
        ({"parameters": {"learning_rate": ()}}, "must have another name"),
        ({"rhs": 3}, r"must be a function of the arguments \(y, p, d\)"),
        ({"rhs": quiet}, r"must be a function of the arguments \(y, p, d\)"),
        ({"error": fine}, r"must be a function of the arguments \(y, p\)"),
        ({"error": None}, "must be a function"),
        ({"jacobian": quiet}, r"must be a function of the arguments \(y, p, J\)"),
        ({"laws": {"a": ("odd", "x")}}, "must be a function"),
        ({"laws": {"a": ("within", "x", 0)}}, "must have the form"),
        ({"laws": {"a": ("within", "z", 0, 1)}}, "must be of state variables"),
        ({"laws": {"a": ("symmetric", "x")}}, "must be of a matrix"),
        ({"symbols": {"z": "z"}}, "must be of state variables"),
        ({"symbols": {"x": 3}}, "printable ASCII text"),
    ],
)
def test_bad_declarations_are_refused_in_words(given, said):
    with pytest.raises(ok.ProblemError, match=said):
        ok.system("bad", **{"state": {"x": ()}, "rhs": fine, "error": quiet, **given})


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (unknown, "nothing is named 'rat'"),
        (misspelt, "nothing is named 'xx'"),
        (nothing, r"none for d\.x"),
        (not_a_number, r"none for d\.x"),
    ],
)
def test_functions_are_tried_where_the_problem_begins(function, said):
    system = ok.system("tried", state={"x": ()}, parameters={"rate": ()}, rhs=function, error=quiet)
    with pytest.raises(ok.ProblemError, match=said):
        system.problem(x=1.0, rate=1.0, duration=1.0)


def test_functions_may_not_write_what_they_are_given():
    system = ok.system("writes", state={"v": "unit"}, rhs=writes_y, error=lambda y, p: y.v[0])
    with pytest.raises(ok.ProblemError, match="writes only its last argument"):
        system.problem(v=[1.0], duration=1.0)


def sorts(y, p, d):
    d.x = sorted({"a": y.x}.values(), key=str)[0]


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
def test_what_numba_cannot_compile_is_said_so():
    system = ok.system("sorts", state={"x": ()}, rhs=sorts, error=quiet)
    with pytest.raises(
        ok.ProblemError, match=r"`rhs` must be plain arithmetic that numba compiles"
    ):
        ok.solve(system.problem(x=1.0, duration=1.0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"W": [[1.0, 2.0]]}, r"must have 1 entries along 'unit|must have 2 entries along"),
        ({"v": [1.0, 2.0, 3.0]}, "must have 2 entries along 'unit', as W has"),
        ({"v": 1.0}, r"`v` must be an array over \('unit',\)"),
        ({"s": [1.0]}, "`s` must be one number"),
        ({"s": np.nan}, "`s` must be finite"),
        ({"ss": 1.0}, "`ss` must be one of the names of 'net of two'"),
        ({"v": xr.DataArray([1.0, 2.0], dims="units")}, "must have the dims"),
        ({"s": xr.DataArray([1.0, 2.0], dims="v")}, "sweep dims that no state variable"),
        ({"tasks": {"a": {"pull": 1.0}}}, "must name parameters of"),
        ({"tasks": {"a": {}}, "push": None}, "`push` must be given to the problem or to the task"),
        ({"phases": ok.Phase("b", 1.0, 1.0)}, "must name a task"),
        ({"phases": ok.Phase("main", 1.0, 1.0, weight_decay=0.1)}, "must be left out"),
        ({"phases": ok.Phase("main", 1.0, 1.0, batch_size=2)}, "must be left out"),
        ({"phases": []}, "at least one Phase"),
        ({"duration": 1.0}, "`phases` must be given, or `duration`"),
    ],
)
def test_bad_problems_are_refused_in_words(given, said):
    whole = {**START, "rate": 0.4, "push": [0.6, 0.2], "phases": ok.Phase("main", 1.0, 0.5)}
    values = {k: v for k, v in {**whole, **given}.items() if v is not None}
    if "tasks" in given:
        values["phases"] = ok.Phase("a", 1.0, 0.5)
    with pytest.raises(ok.ProblemError, match=said):
        net.problem(**values)


def test_a_missing_start_is_named():
    with pytest.raises(ok.ProblemError, match="`s` must be given at time 0"):
        net.problem(
            **{k: v for k, v in START.items() if k != "s"}, rate=1.0, push=[0, 0], duration=1
        )


def test_scenarios_refer_to_python(tmp_path):
    (tmp_path / "own.toml").write_text('system = "outside"\n')
    with pytest.raises(ok.ScenarioError, match="run from Python"):
        ok.load_scenario(tmp_path / "own.toml")


def test_plain_data_and_copies_keep_everything():
    problem = case(axis("rate", [0.1, 0.2]), [net.phase("main", 1.0, 0.5, push=[0.1, 0.2])])
    data = json.loads(json.dumps(problem.to_dict()))
    again = ok.DeclaredProblem.from_dict(data)
    assert again == problem
    assert again.phases[0].parameters["push"].tolist() == [0.1, 0.2]
    assert again.declaration is net
    moved = problem.replace_phase(0, duration=2.0)
    assert moved.phases[0].parameters["push"].tolist() == [0.1, 0.2]
    assert list(axes(problem)) == ["rate"]
    state, given = layouts(problem)
    assert (state.itemsize, given.itemsize) == (7 * 8, (4 + 2 + 1 + 2) * 8)
