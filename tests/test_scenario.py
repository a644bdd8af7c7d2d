"""Scenarios: every key arrives, and is documented."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydantic import BaseModel

import odekit as ok
from odekit.base.errors import ScenarioError
from odekit.systems.committee.tables import ScenarioTable
from odekit.verbs.scenario import MAX_BYTES, load_scenario, parse_scenario
from scenarios import FULL, MINIMAL

DATA = Path(__file__).parent.parent / "data"


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


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "gelu", "softplus", "quadratic"])
def test_every_shipped_activation_goes_by_its_name(name: str) -> None:
    text = FULL.replace('activation = "erf"', f'activation = "{name}"')
    assert parse_scenario(text).problem.activation == name


def test_an_activation_may_have_an_accuracy_of_its_own() -> None:
    table = "{ name = 'leaky_relu', slope = 0.2, accuracy = 1e-6, nodes = 32 }"
    found = parse_scenario(FULL.replace('"erf"', table)).problem.activation
    assert (found.name, found.slope, found.accuracy, found.nodes) == ("leaky_relu", 0.2, 1e-6, 32)


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
