"""What a problem and a result say of themselves: in a line, in a notebook, and as a scenario."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.problem.words import phase_words
from odekit.verbs.scenario import load_scenario, parse_scenario

DATA = Path(__file__).parents[1] / "data"
SEVERAL = "must vary along at most one dim"
BEYOND = {
    "hidden_manifold": "must be plain numbers with groups",
    **dict.fromkeys(("linear_specialisation", "specialisation_map", "xor"), SEVERAL),
}
"""Scenarios that `to_toml` cannot say, and why."""


def problem(**changes):
    fields = {
        "state": ok.OrderParameters(Q=[[0.5]], R=[[0.1, 0.0]], T=np.eye(2)),
        "heads": {"main": [1.0]},
        "tasks": {"main": ok.Task(readout=[1.0, 0.0]), "b": ok.Task([0.0, 1.0], head="main")},
        "phases": [ok.Phase("main", duration=2.0, learning_rate=0.5)],
    }
    return ok.Problem(**{**fields, **changes})


# ------------------------------------------------------------------------------------------- words


def test_a_phase_with_a_function_is_one_line():
    said = repr(ok.Phase("main", duration=1.0, learning_rate=lambda t: 1 / (1 + t)))
    assert said.startswith("Phase(tasks='main', duration=1.0, learning_rate=Schedule(spline, ")
    assert "\n" not in said
    assert len(said) < 160


def test_only_what_is_not_at_its_default_is_said():
    said = repr(ok.Phase("main", duration=1.0, learning_rate=0.1, weight_decay=0.2))
    assert said == "Phase(tasks='main', duration=1.0, learning_rate=0.1, weight_decay=0.2)"


def test_a_swept_phase_names_its_dims():
    etas = xr.DataArray(np.linspace(0.1, 2.0, 500), dims="eta")
    said = repr(ok.Phase("main", duration=1.0, learning_rate=etas))
    assert "learning_rate=array of (eta: 500), 0.1 to 2" in said


def test_a_swept_mixture_is_said_in_words():
    p = xr.DataArray([0.1, 0.25, 0.5], dims="replay")
    swept = ok.Phase({"main": p, "b": 1.0 - p}, 2.0, 0.5)
    words = "main in 0.1, 0.25, 0.5 and b in 0.9, 0.75, 0.5 of the samples over replay, for 2"
    assert phase_words(swept).startswith(words)
    assert phase_words(ok.Phase({"main": 0.7, "b": 0.3}, 2.0, 0.5)).startswith("0.7 main + 0.3 b")


def test_no_axis_says_that_a_number_is_pure():
    """Units of 1 stand at the time alone; `odekit.plot` of an array leaves them out there too."""
    run = ok.solve(problem(), t_eval=[0.0, 1.0, 2.0])
    assert [name for name in run.variables if "units" in run[name].attrs] == ["time"]
    lines = run.generalization_error.sel(task="main").odekit.plot()
    axes = lines[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps / N", "generalization error")
    assert run.time.attrs["units"] == "1"
    assert all(len(v.attrs.get("long_name", "")) <= 32 for v in run.variables.values())


@pytest.mark.parametrize(
    "item",
    [
        problem(),
        problem().phases[0],
        problem().state,
        ok.Schedule([0.0, 1.0], [1.0, 0.5]),
        load_scenario(DATA / "linear_exact.toml").problem,
    ],
    ids=lambda item: type(item).__name__,
)
def test_tables_of_a_notebook(item):
    table = item._repr_html_()
    assert table.startswith("<table><caption>")
    assert table.endswith("</table>")
    assert type(item).__name__ in table


def test_tables_escape_what_the_user_wrote():
    table = problem(title="<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in table
    assert "&lt;script&gt;" in table


# ------------------------------------------------------------------------------------------- title


def test_title_is_that_of_results_and_pictures(tmp_path):
    run = ok.solve(problem(title="A small one"))
    ok.save(run, tmp_path / "run.nc")
    again = ok.open(tmp_path / "run.nc")
    assert again.attrs["title"] == "A small one"
    assert again.odekit.problem == problem(title="A small one")
    assert again.odekit.problem != problem()
    assert again.odekit.plot()._suptitle.get_text() == "A small one"


def test_without_a_title_nothing_changes():
    assert "title" not in problem().to_dict()
    assert ok.solve(problem()).attrs["title"] == "Order parameters of online learning"


def test_a_title_is_text():
    with pytest.raises(ok.ProblemError, match="`title` must be text"):
        problem(title=3)


# ---------------------------------------------------------------------------------------- scenario


@pytest.mark.parametrize("path", sorted(DATA.glob("*.toml")), ids=lambda p: p.stem)
def test_every_scenario_comes_back(path):
    given = load_scenario(path).problem
    if path.stem in BEYOND:
        with pytest.raises(ok.ProblemError, match=BEYOND[path.stem]):
            given.to_toml()
        return
    assert parse_scenario(given.to_toml()).problem == given


def test_schedules_labels_mixtures_and_names_come_back():
    p = xr.DataArray([0.2, 0.5], dims="p", coords={"p": ["few", "many"]})
    ramp = ok.Schedule([0.0, 1.0, 2.0], [1.0, 0.1, 0.3], "spline", [1.0])
    given = problem(
        title='With "quotes"',
        activation=ok.Activation.shipped("tanh", accuracy=1e-5),
        phases=[
            ok.Phase({"main": p, "b": 1 - p}, duration=2.0, learning_rate=ramp, until={"b": 0.1}),
            ok.Phase("b", 1.0, 0.5, consolidation=ok.Consolidation("node", 2.0, "main")),
        ],
    )
    text = given.to_toml()
    assert parse_scenario(text).problem.replace(title=given.title) == given
    assert tomllib.loads(text)["title"] == given.title


def test_functions_of_ones_own_are_refused():
    own = ok.Activation("mine", lambda x: np.tanh(x), lambda x: 1 - np.tanh(x) ** 2)
    with pytest.raises(ok.ProblemError, match="must be one that scenarios name"):
        problem(activation=own).to_toml()


# ---------------------------------------------------------------------------------------- accessor


@pytest.fixture(scope="module")
def run():
    return ok.solve(problem(), t_eval=np.linspace(0.0, 2.0, 11), rtol=1e-9)


def test_rerun_is_the_same_run(run):
    again = run.odekit.rerun()
    xr.testing.assert_identical(again.drop_attrs(deep=False), run.drop_attrs(deep=False))
    assert again.attrs["odekit_solver"] == run.attrs["odekit_solver"]
    loose = run.odekit.rerun(rtol=1e-3)
    assert float(loose.n_steps) < float(run.n_steps)


def test_rerun_of_another_result_says_so(run):
    sim = ok.simulate(problem(), input_dim=50, seed=0)
    with pytest.raises(ok.ProblemError, match=r"must be a result of odekit\.solve"):
        sim.odekit.rerun()


def test_measures_are_methods(run):
    xr.testing.assert_identical(run.odekit.overlap_cosine(), ok.measures.overlap_cosine(run))
    assert float(run.odekit.measure("generalization_error[main].final")) == pytest.approx(
        float(run.generalization_error[-1, 0])
    )
    assert {"forgetting", "plateau", "rerun"} <= set(dir(run.odekit))
    with pytest.raises(AttributeError, match="no measure 'forgeting'"):
        run.odekit.forgeting()


def test_a_result_says_itself(run, tmp_path):
    assert repr(run.odekit) == run.odekit.summary()
    assert run.odekit._repr_html_().startswith("<pre>Order parameters of online learning")
    assert all(verdict.holds for verdict in run.odekit.validate())
    run.odekit.save(tmp_path / "run.nc")
    assert ok.open(tmp_path / "run.nc").sizes == run.sizes
