"""Figures of measures: how a scenario asks for them, what they show, how they travel in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import odekit as ok
from odekit import measures
from odekit.base.errors import ProblemError, ScenarioError
from odekit.cli import main
from odekit.drawing.figure import ATTRIBUTE, FigureTable, default_figure, figure_of
from odekit.measures.named import catalogue, evaluate, parse, say, taken_of
from odekit.problem.system import system_of
from odekit.verbs.plot import plot_run
from odekit.verbs.scenario import parse_scenario, scenario_of

SCENARIO = """
title = "Two tasks"
[state]
Q = [[0.2, 0.0], [0.0, 0.1]]
R = [[0.1, 0.0], [0.0, 0.1]]
T = { rotated = { units = 1, overlap = { over = "V", values = [0.0, 0.5, 0.9] } } }
[heads]
a = { polar = { radius = { over = "scheme", labels = ["one", "two"], values = [1.0, 0.1] }, angles = { over = "scheme", labels = ["one", "two"], values = [0.8, 0.8] } } }
b = [0.1, 0.2]
[tasks]
a = { readout = [1.0, 0.0] }
b = { readout = [0.0, 1.0] }
[[phases]]
tasks = "a"
duration = 5
learning_rate = 1.0
readout_learning_rate = { over = "rate", values = [0.5, 1.0] }
[[phases]]
tasks = "b"
duration = 5
learning_rate = 1.0
[figure]
measures = ["forgetting.final", "|student_cosine[0,1].switch|"]
x = "V"
hue = "scheme"
column = "rate"
labels = { V = "similarity $V$", one = "the first" }
"""  # noqa: E501


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ok.solve(parse_scenario(SCENARIO).problem)


def with_figure(ds: xr.Dataset, **table: object) -> xr.Dataset:
    given = {"measures": ["forgetting.final"], "x": "V", "hue": "scheme", "column": "rate"}
    figure = FigureTable(**{**given, **table})
    return ds.assign_attrs({ATTRIBUTE: figure.model_dump_json()})


def shown(figure: Figure) -> list[str]:
    return [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def test_labels_name_the_values_of_an_axis(ds: xr.Dataset) -> None:
    assert ds.scheme.values.tolist() == ["one", "two"]
    expected = [ok.polar(1.0, 0.8), ok.polar(0.1, 0.8)]
    first = ds.readout.isel(time=0, V=0, rate=0).sel(head="a")
    np.testing.assert_array_equal(first, expected)


@pytest.mark.parametrize(
    "labels", ['["one"]', '["one", "one"]', '["one", 2.0]', '["one", "zw\u00f6lf"]', "[1.0, nan]"]
)
def test_bad_labels(labels: str) -> None:
    with pytest.raises(ScenarioError, match="must hold 2 different names"):
        parse_scenario(SCENARIO.replace('["one", "two"]', labels))


def test_measures_by_name(ds: xr.Dataset) -> None:
    F = measures.forgetting(ds)
    last = evaluate(ds, "forgetting").transpose(*F.dims[:-1])
    np.testing.assert_array_equal(last, F.isel(time=-1))
    assert set(last.coords) == {"V", "scheme", "rate"}
    peak = evaluate(ds, "forgetting.maximum").transpose(*F.dims[:-1])
    np.testing.assert_array_equal(peak, F.max("time"))
    row = int(np.flatnonzero(ds.phase.values.reshape(-1, ds.time.size)[0] == 0)[-1])
    v = evaluate(ds, "readout[a,1].switch").transpose("V", "scheme", "rate")
    expected = ds.readout.isel(time=row).sel(head="a", student=1).transpose("V", "scheme", "rate")
    np.testing.assert_array_equal(v, expected)
    cosine = evaluate(ds, "student_cosine[0,1].final")
    np.testing.assert_array_equal(evaluate(ds, "|student_cosine[0,1].final|"), abs(cosine))
    other = measures.final(measures.forgetting(ds, "a"))
    np.testing.assert_array_equal(evaluate(ds, "forgetting[a]").transpose(*other.dims), other)
    rate = measures.initial_rate(measures.transfer(ds))
    found = evaluate(ds, "transfer.initial_rate").transpose(*rate.dims)
    np.testing.assert_allclose(found, rate, rtol=1e-4)


def test_final_value_of_runs_that_are_shorter_than_others() -> None:
    problem = parse_scenario(SCENARIO).problem
    lengths = xr.DataArray([2.0, 5.0], dims="length", coords={"length": [2.0, 5.0]})
    ds = ok.solve(problem.replace_phase(1, duration=lengths)).isel(V=0, scheme=0, rate=0)
    error = evaluate(ds, "generalization_error[b].final")
    short = float(ds.generalization_error.sel(length=2.0, task="b", time=7.0))
    assert float(error.sel(length=2.0)) == short
    assert float(error.sel(length=5.0)) < short


@pytest.mark.parametrize("kind", ["committee", "linear"])
def test_every_measure_is_known_and_in_words(kind: str) -> None:
    known = catalogue(system_of(kind))
    assert len(known) > 3
    for name in known:
        for taken in taken_of(name):
            measure = parse(f"{name}.{taken}", known)
            assert measure.taken == taken
            assert "$" in say(measure, known)


def test_a_measure_of_another_system_is_unknown() -> None:
    with pytest.raises(ScenarioError, match=r"figure.measures: must be of forgetting.*readout"):
        parse_scenario(SCENARIO.replace("forgetting.final", "mode_share"))


def test_runs_that_failed_have_no_measure(ds: xr.Dataset) -> None:
    status = ds.status.copy()
    status[{"V": 1}] = 3
    F = evaluate(ds.assign(status=status), "forgetting.final")
    assert F.isel(V=1).isnull().all()
    assert F.isel(V=[0, 2]).notnull().all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("remembering", "must be of forgetting"),
        ("forgetting.switch", "must take one of final, maximum, initial_rate"),
        ("student_cosine", "label in brackets for each of student, student_other"),
        ("student_cosine[0,7]", "must have as student_other one of 0, 1"),
        ("forgetting.final.final", "must be of forgetting"),
    ],
)
def test_bad_measures(ds: xr.Dataset, name: str, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        evaluate(ds, name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('x = "V"', 'x = "W"', "figure.x: must be a sweep axis, one of V, scheme, rate"),
        ('hue = "scheme"\n', "", "figure.x: must, with y, hue, column and mean, use every"),
        ('hue = "scheme"', 'hue = "V"', "figure.x: must, with y, hue, column and mean, use every"),
        ("forgetting.final", "memory", "figure.measures: must be of forgetting"),
        ('x = "V"', 'x = "V"\nz = 1', "figure.z: is not a known key"),
        ('column = "rate"', 'y = "rate"', "figure.hue: must be left out of a map"),
    ],
)
def test_bad_figures_are_refused_before_computing(old: str, new: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse_scenario(SCENARIO.replace(old, new))


def test_lines(ds: xr.Dataset) -> None:
    figure = plot_run(with_figure(ds, labels={"V": "similarity $V$", "one": "the first"}))
    assert len(figure.axes) == 2
    assert [ax.get_title() for ax in figure.axes] == ["rate = 0.5", "rate = 1"]
    assert figure.axes[0].get_xlabel() == "similarity $V$"
    assert shown(figure) == ["the first", "two"]
    F = evaluate(ds, "forgetting.final")
    lines = figure.axes[1].lines[-2:]
    for line, scheme in zip(lines, ["one", "two"], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), F.sel(rate=1.0, scheme=scheme))
        np.testing.assert_array_equal(line.get_xdata(), [0.0, 0.5, 0.9])
    assert len({to_hex(line.get_color()) for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2


def test_names_may_stand_along_an_axis(ds: xr.Dataset) -> None:
    ax = plot_run(with_figure(ds, x="scheme", hue="V")).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["one", "two"]


def test_map_and_mean(ds: xr.Dataset) -> None:
    figure = plot_run(
        with_figure(ds, hue=None, column=None, y="scheme", mean=["rate"], levels=[0.0])
    )
    mesh = figure.axes[0].collections[0]
    expected = evaluate(ds, "forgetting.final").mean("rate").transpose("scheme", "V")
    np.testing.assert_allclose(mesh.get_array().reshape(2, 3), expected)
    assert figure.axes[-1].get_ylabel() == r"forgetting $\Delta\epsilon_g$"


def test_many_values_of_the_hue_have_a_colour_scale(ds: xr.Dataset) -> None:
    many = ds.isel(V=np.zeros(9, int)).assign_coords(V=np.geomspace(0.1, 10, 9))
    figure = plot_run(with_figure(many, x="scheme", hue="V"))
    assert figure.axes[-1].get_ylabel() == "V"
    assert figure.axes[-1].get_yscale() == "log"
    assert not figure.legends


def test_words_that_are_no_formula_are_shown_as_they_are(ds: xr.Dataset) -> None:
    labels = {"V": r"$\frac{1$", "one": "100 $", "forgetting.final": r"$\nonsense$"}
    figure = plot_run(with_figure(ds, labels=labels))
    figure.canvas.draw()
    assert figure.axes[0].get_xlabel() == r"\$\frac{1\$"


def test_figure_travels_in_the_file_and_may_be_drawn_again(tmp_path: Path) -> None:
    scenario, out = tmp_path / "s.toml", tmp_path / "out.nc"
    scenario.write_text(SCENARIO)
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert main(["run", str(scenario), "-o", str(out), "--plot", str(one)]) == 0
    assert main(["plot", str(out), "-o", str(two)]) == 0
    assert one.read_bytes() == two.read_bytes()
    again = tmp_path / "again.nc"
    assert main(["run", str(out), "-o", str(again)]) == 0
    assert figure_of(ok.open(again)) == scenario_of(out).figure == parse_scenario(SCENARIO).figure


def test_part_of_a_sweep_is_drawn_as_far_as_it_goes(ds: xr.Dataset) -> None:
    whole = with_figure(ds)
    assert len(plot_run(whole.isel(rate=0)).axes) == 1
    run = whole.isel(rate=0, V=0, scheme=0)
    assert plot_run(run).axes[0].get_ylabel() == r"$\epsilon_g$"
    assert (
        plot_run(whole.isel(rate=0, scheme=0), time="linear").axes[0].lines[0].get_xdata()[-1] == 10
    )


def test_damaged_figure_is_an_error(ds: xr.Dataset) -> None:
    with pytest.raises(ProblemError, match="odekit_figure"):
        plot_run(ds.assign_attrs({ATTRIBUTE: '{"x": 1}'}))


@pytest.mark.parametrize(
    ("sizes", "places"),
    [
        ({"a": 30}, {"x": "a"}),
        ({"a": 30, "b": 3}, {"x": "a", "hue": "b"}),
        ({"a": 3, "b": 30, "c": 2}, {"x": "b", "hue": "a", "column": "c"}),
        ({"a": 30, "b": 20}, {"x": "a", "y": "b"}),
        ({"a": 30, "b": 20, "c": 10, "draw": 50}, {"x": "a", "y": "b", "mean": ["draw", "c"]}),
        ({"draw": 40}, {"x": "draw"}),
    ],
)
def test_large_sweeps_have_a_figure(
    ds: xr.Dataset, sizes: dict[str, int], places: dict[str, object]
) -> None:
    coords = {d: np.arange(n, dtype=float) for d, n in sizes.items()}
    grid = xr.DataArray(np.ones(list(sizes.values())), coords, list(sizes))
    run = ds.isel(V=0, scheme=0, rate=0, drop=True)
    error = (run.generalization_error * grid).transpose(*sizes, "time", "task")
    large = run.assign(generalization_error=error, status=(run.status * grid).astype(np.int8))
    found = default_figure(large).model_dump(exclude_defaults=True)
    assert {k: v for k, v in found.items() if k != "measures"} == places
    plot_run(large).canvas.draw()


# --------------------------------------------------------------------------------- over time

DATA = Path(__file__).parents[1] / "data"


def drawn(name: str, tmp_path: Path) -> tuple[Figure, xr.Dataset]:
    """The picture of a shipped scenario of one run, and its result, by way of a file."""
    out = tmp_path / "out.nc"
    assert main(["run", str(DATA / f"{name}.toml"), "-o", str(out)]) == 0
    ds = ok.open(out)
    return plot_run(ds), ds


def test_the_exact_curve_is_that_of_the_equations(tmp_path: Path) -> None:
    """D = T − 2R + Q obeys dD/dt = −η (2 − η) D + η² σ², and ε = D/2; the run goes through it."""
    figure, ds = drawn("linear_exact", tmp_path)
    points = figure_of(ds).points["exact"]
    t, eta, noise = np.array(points.times), 0.5, 0.01
    last = eta * noise / (2 - eta)
    exact = 0.5 * (last + (1.25 - last) * np.exp(-eta * (2 - eta) * t))
    np.testing.assert_allclose(points.values, exact, rtol=1e-7)
    computed = ds.generalization_error.sel(task="main", time=t, method="nearest")
    np.testing.assert_allclose(computed, exact, rtol=0, atol=2e-8)
    marked = figure.axes[0].lines[-1]
    np.testing.assert_array_equal(marked.get_ydata(), points.values)
    assert figure.axes[0].get_xscale() == "linear"


def test_levels_of_an_error_are_drawn_and_named(tmp_path: Path) -> None:
    figure, ds = drawn("noise_floor_l0", tmp_path)
    (level,) = figure_of(ds).levels
    assert level == pytest.approx(1e-4 * 0.02 / (2 * np.pi) * 2 / np.sqrt(3), rel=1e-3)
    assert any(set(line.get_ydata()) == {level} for line in figure.axes[0].lines)
    assert "floor" in figure.axes[0].get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize(("name", "lines"), [("relu_imbalance", 3), ("linear_imbalance", 3)])
def test_what_gradient_flow_conserves_has_a_panel(name: str, lines: int, tmp_path: Path) -> None:
    """Of ReLU that of each of three units; of two linear units the whole matrix."""
    figure, ds = drawn(name, tmp_path)
    ax = figure.axes[4]
    assert "eta" in ax.get_ylabel()
    assert len(ax.lines) == lines + 1  # and the zero line
    found = measures.conserved(ds)
    kept = found["unit_imbalance"] if "imbalance_matrix" not in found else found["imbalance_matrix"]
    for line in ax.lines[:-1]:
        y = np.asarray(line.get_ydata())
        assert np.ptp(y) < 1e-7
        assert np.abs(kept.values[0] - y[0]).min() < 1e-12


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('x = "V"', "figure.x: must be a sweep axis, one of (there is none)"),
        ('x = "time"\nhue = "V"', "figure.hue: must be left out of pictures over time"),
        ('x = "time"\nmeasures = ["Q.final"]', "figure.measures: must be left out of pictures"),
        (
            'x = "time"\npoints = { a = { times = [0.0], values = [] } }',
            "figure.points: must have as many values as times",
        ),
        ('x = "time"\ntime = "fast"', "figure.time: "),
    ],
)
def test_bad_figures_of_one_run_are_refused(table: str, said: str) -> None:
    text = (DATA / "noise_floor_l1.toml").read_text().partition("[figure]")[0]
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"{text}[figure]\n{table}\n")
    assert said in str(caught.value)
