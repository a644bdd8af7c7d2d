"""Theory and simulation side by side: numbers, pictures, commands."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.cli import BAD_INPUT, DONE, main
from odekit.verbs.plot import plot_run
from test_against_sgd import one_phase, two_teachers

PROBLEM = two_teachers([one_phase("a", 2.0), one_phase("b", 2.0)])
SMALL = """
[state]
Q = [[1.0, 0.0], [0.0, 0.5]]
R = [[0.1, 0.0], [0.0, 0.1]]
T = 2
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 5
learning_rate = 0.5
"""


@pytest.fixture(scope="module")
def run():
    return ok.solve(PROBLEM)


@pytest.fixture(scope="module")
def sim():
    return ok.simulate(PROBLEM, input_dim=400, seed=0, replicas=6)


# ---------------------------------------------------------------------------------------- numbers


def test_numbers_are_what_they_say(run, sim):
    found = ok.compare(run, sim)
    assert found.attrs == {"input_dim": 400, "replicas": 6}
    off = (sim.R - run.R).transpose("replica", "time", ...).values.reshape(6, -1)
    r = found.sel(variable="R")
    np.testing.assert_allclose(r.deviation, np.sqrt((off**2).mean()))
    np.testing.assert_allclose(r.times_root_n, 20 * np.sqrt((off**2).mean()))
    np.testing.assert_allclose(r.largest, np.abs(off.mean(axis=0)).max())
    np.testing.assert_allclose(r.mean_deviation, np.sqrt((off.mean(axis=0) ** 2).mean()))
    np.testing.assert_allclose(r.spread, np.sqrt(off.var(axis=0, ddof=1).mean()))
    np.testing.assert_allclose(
        r.in_standard_errors, r.mean_deviation / (r.spread / np.sqrt(6)), rtol=1e-12
    )


def test_agreement_and_disagreement_show(run):
    sim = ok.simulate(PROBLEM, input_dim=400, seed=0, replicas=16)
    assert float(ok.compare(run, sim).in_standard_errors.max()) < 3
    wrong = ok.solve(PROBLEM.replace_phase(0, learning_rate=0.4))
    assert float(ok.compare(wrong, sim).in_standard_errors.sel(variable="R")) > 6


def test_one_network_has_no_spread(run):
    found = ok.compare(run, ok.simulate(PROBLEM, input_dim=400, seed=0))
    assert np.isnan(found.spread).all()
    assert np.isnan(found.in_standard_errors).all()
    assert (found.deviation == found.mean_deviation).all()


def test_sweeps_are_compared_point_by_point():
    etas = xr.DataArray([0.3, 0.6], dims="eta", coords={"eta": [0.3, 0.6]})
    swept = PROBLEM.replace_phase(0, learning_rate=etas)
    times = [0.0, 1.0, 4.0]
    run, sim = (
        ok.solve(swept, t_eval=times),
        ok.simulate(swept, input_dim=100, seed=0, replicas=3, t_eval=times),
    )
    found = ok.compare(run, sim)
    assert found.deviation.dims == ("eta", "variable")
    one = ok.compare(run.sel(eta=0.6), sim.sel(eta=0.6))
    np.testing.assert_allclose(found.deviation.sel(eta=0.6), one.deviation)


def test_common_times_alone_are_compared(run, sim):
    some = run.isel(time=slice(None, None, 10))
    assert ok.compare(some, sim).deviation.notnull().all()


@pytest.mark.parametrize("case", ["two theories", "other units", "no times"])
def test_what_cannot_be_compared_is_refused(case, run, sim):
    pairs = {
        "two theories": (run, run),
        "other units": (run.isel(student=[0]), sim),
        "no times": (run.assign_coords(time=run.time + 0.123), sim),
    }
    with pytest.raises(ok.ProblemError) as error:
        ok.compare(*pairs[case])
    assert error.value.argument == "sim"


# -------------------------------------------------------------------------------------- labelling


def plateau(activation="erf", heads=(1.0, 1.0), R=0.005, **phase):
    """Units that are all but alike: chance decides which of them learns which teacher unit."""
    return ok.Problem(
        state=ok.OrderParameters(Q=0.2 * np.eye(2), R=R * np.eye(2), T=np.eye(2)),
        heads={"main": heads},
        tasks={"main": ok.Task(readout=[1.0, 1.0])},
        phases=[ok.Phase("main", duration=200.0, learning_rate=0.7, **phase)],
        activation=activation,
    )


def rearranged(sim, order, signs=(1, 1), of_readout=None, which=slice(None)):
    """A dataset whose networks `which` have their units in another order and of other signs."""
    s, v = np.array(signs), np.array(signs if of_readout is None else of_readout)
    changed = sim.copy(deep=True)
    R, Q, readout = (sim[name].values[which] for name in ("R", "Q", "readout"))
    changed.R.values[which] = R[:, :, order] * s[:, None]
    changed.Q.values[which] = Q[:, :, order][:, :, :, order] * np.outer(s, s)
    changed.readout.values[which] = readout[..., order] * v
    return changed


@pytest.fixture(scope="module")
def escape():
    problem = plateau()
    return ok.solve(problem), ok.simulate(problem, input_dim=200, seed=0, replicas=16)


def test_networks_with_another_labelling_are_aligned(escape):
    run, sim = escape
    swapped = int((sim.R[:, -1, 0, 1] > sim.R[:, -1, 0, 0]).sum())
    assert 0 < swapped < 8
    found, as_they_are = ok.compare(run, sim), ok.compare(run, sim, align=False)
    assert found.aligned == swapped
    assert as_they_are.aligned == 0
    R = [float(x.deviation.sel(variable="R")) for x in (found, as_they_are)]
    assert 2 * R[0] < R[1]
    # What has no labels is as it was.
    errors = [x.sel(variable="generalization_error").deviation for x in (found, as_they_are)]
    assert errors[0] == errors[1]


def test_alignment_undoes_what_was_rearranged(run, sim):
    """These networks agree with the theory: the figures are theirs, whatever their labels were."""
    found = ok.compare(run, sim)
    assert found.aligned == 0
    mixed = rearranged(sim, [1, 0], [1, -1], which=slice(1, 4))
    again = ok.compare(run, mixed)
    assert again.aligned == 3
    xr.testing.assert_allclose(again.drop_vars("aligned"), found.drop_vars("aligned"))
    assert ok.compare(run, mixed, align=False).deviation.sel(variable="R") > 10 * found.deviation[1]


@pytest.mark.parametrize(
    ("case", "signs", "of_readout", "aligned"),
    [
        ("even", [1, -1], [1, 1], 2),
        ("odd", [1, -1], [1, -1], 0),  # readouts that no phase trains have a sign
        ("neither", [1, -1], [1, -1], 0),
    ],
)
def test_signs_change_where_the_activation_lets_them(case, signs, of_readout, aligned):
    name = {"even": "quadratic", "odd": "erf", "neither": "softplus"}[case]
    problem = plateau(name, R=0.1).replace_phase(0, duration=3.0, learning_rate=0.05)
    run = ok.solve(problem)
    sim = ok.simulate(problem, input_dim=3000, seed=0, replicas=3)
    turned = rearranged(sim, [0, 1], signs, of_readout, which=slice(0, 2))
    assert ok.compare(run, turned).aligned == aligned


def test_units_that_the_problem_tells_apart_keep_their_places():
    """Fixed readouts of two sizes, or a unit that is frozen: an exchange is a disagreement."""
    told_apart = {
        "readouts": plateau(heads=[1.0, 0.7], R=0.1),
        "frozen": plateau(R=0.1, frozen=[True, False]),
    }
    for name, problem in told_apart.items():
        problem = problem.replace_phase(0, duration=20.0)
        run = ok.solve(problem)
        sim = ok.simulate(problem, input_dim=500, seed=0, replicas=2)
        swapped = rearranged(sim, [1, 0], which=slice(0, 2))
        assert ok.compare(run, swapped).aligned == 0, name
    # The same exchange among units that are alike is undone.
    problem = plateau(R=0.1).replace_phase(0, duration=20.0)
    sim = ok.simulate(problem, input_dim=500, seed=0, replicas=2)
    assert ok.compare(ok.solve(problem), rearranged(sim, [1, 0])).aligned == 2


def test_a_dropout_that_moves_tells_no_units_apart():
    table = ok.Schedule([0.0, 20.0], [1.0, 0.8])
    problem = plateau(R=0.1, keep_probability=table).replace_phase(0, duration=20.0)
    sim = ok.simulate(problem, input_dim=500, seed=0, replicas=2)
    assert ok.compare(ok.solve(problem), rearranged(sim, [1, 0])).aligned == 2


def test_trained_readouts_are_exchanged_with_their_units():
    problem = plateau(heads=[1.0, 0.7], R=0.1, readout_learning_rate=0.3)
    problem = problem.replace_phase(0, duration=20.0)
    sim = ok.simulate(problem, input_dim=500, seed=0, replicas=2)
    found = ok.compare(ok.solve(problem), rearranged(sim, [1, 0], [-1, 1], which=slice(0, 1)))
    assert found.aligned == 1


def test_points_of_a_sweep_are_aligned_one_by_one():
    rates = xr.DataArray([0.6, 0.7], dims="eta", coords={"eta": [0.6, 0.7]})
    swept = plateau().replace_phase(0, learning_rate=rates)
    run = ok.solve(swept, t_eval=np.linspace(0, 200, 21))
    networks = ok.simulate(swept, input_dim=200, seed=0, replicas=4, t_eval=run.time)
    found = ok.compare(run, networks)
    assert found.aligned.dims == ("eta",)
    one = ok.compare(run.sel(eta=0.7), networks.sel(eta=0.7))
    assert found.aligned.sel(eta=0.7) == one.aligned


def test_pictures_show_aligned_networks_and_say_how_many(escape):
    run, sim = escape
    moved = int(ok.compare(run, sim).aligned)
    figure, plain = plot_run(run, beside=[sim]), plot_run(run, beside=[sim], align=False)
    texts = [f.legends[0].get_texts()[1].get_text() for f in (figure, plain)]
    assert texts == [f"SGD, $N=200$, 16 networks ({moved} aligned)", "SGD, $N=200$, 16 networks"]
    last = [float(marked(f.axes[1])[0][-1]) for f in (figure, plain)]
    assert last[0] > 0.9 > last[1] + 0.02


# --------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("name", ["variable", "deviation"])
def test_sweep_dims_named_as_a_part_of_the_result_are_refused(name, run, sim):
    swept, beside = (xr.concat([ds, ds], name, data_vars="all") for ds in (run, sim))
    with pytest.raises(ok.ProblemError, match=rf"ds.rename\({name}='{name}_'\)"):
        ok.compare(swept, beside)


def marked(ax):
    """Values of the markers of a panel, one array a series."""
    return [np.asarray(c.lines[0].get_ydata()) for c in ax.containers]


def test_markers_are_the_mean_over_networks(run, sim):
    figure = plot_run(run, beside=[sim])
    errors, overlaps, norms, readouts = (marked(ax) for ax in figure.axes)
    assert [len(m) for m in (errors, overlaps, norms, readouts)] == [2, 8, 3, 4]
    mean = sim.generalization_error.mean("replica")
    assert np.isin(errors[0], mean.sel(task="a")).all()
    assert 8 <= errors[0].size <= 16
    assert np.isin(overlaps[3], sim.R.mean("replica")[:, 0, 3]).all()
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    assert texts == ["theory", "SGD, $N=400$, 6 networks"]


def test_a_sweep_has_markers_in_its_colours():
    etas = xr.DataArray([0.3, 0.6], dims="eta", coords={"eta": [0.3, 0.6]})
    swept = PROBLEM.replace_phase(0, learning_rate=etas)
    run = ok.solve(swept)
    sim = ok.simulate(swept, input_dim=50, seed=0)
    axes = plot_run(run, beside=[sim]).axes[:2]
    for ax in axes:
        lines = [line.get_color() for line in ax.lines[:2]]
        assert [tuple(c.lines[0].get_color()) for c in ax.containers] == [tuple(x) for x in lines]


def test_fixed_readouts_have_no_panel_and_measured_errors_have_crosses():
    problem = two_teachers([one_phase("a", 2.0, readout_learning_rate=0.0)])
    x = np.random.default_rng(0).normal(size=(200, 30))
    sim = ok.simulate(problem, inputs=x, seed=0)
    figure = plot_run(ok.solve(problem), beside=[sim])
    assert len(figure.axes) == 3
    assert len(marked(figure.axes[0])) == 4
    assert "measured over the inputs" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_other_units_are_refused(run):
    other = ok.simulate(
        ok.Problem(
            state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
            heads={"a": [1.0]},
            tasks={"a": ok.Task(readout=[1.0])},
            phases=[ok.Phase("a", duration=4.0, learning_rate=1.0)],
        ),
        input_dim=50,
        seed=0,
    )
    with pytest.raises(ok.ProblemError, match="same 'student'"):
        plot_run(run, beside=[other])


# --------------------------------------------------------------------------------------- commands


def test_simulate_and_plot_both(tmp_path, capsys):
    scenario, theory, networks = (tmp_path / n for n in ("s.toml", "a.nc", "b.nc"))
    scenario.write_text(SMALL)
    assert main(["run", str(scenario), "-o", str(theory)]) == DONE
    words = ["--input-dim", "100", "--replicas", "2", "--seed", "5"]
    assert main(["simulate", str(scenario), "-o", str(networks), *words]) == DONE
    assert "1000 steps of SGD" in capsys.readouterr().out
    sim = ok.open(networks)
    direct = ok.simulate(ok.load_scenario(scenario).problem, input_dim=100, replicas=2, seed=5)
    np.testing.assert_array_equal(sim.Q, direct.Q)
    picture = tmp_path / "both.png"
    assert main(["plot", str(theory), str(networks), "-o", str(picture)]) == DONE
    other = str(tmp_path / "other.png")
    assert main(["plot", str(theory), str(networks), "-o", other, "--no-align"]) == DONE
    assert picture.stat().st_size > 10_000
    again = tmp_path / "again.nc"
    assert main(["simulate", str(theory), "-o", str(again), *words]) == DONE
    np.testing.assert_array_equal(ok.open(again).Q, sim.Q)
    assert main(["validate", str(networks)]) == DONE
    assert main(["show", str(networks)]) == DONE


def test_bad_arguments_of_simulate(tmp_path, capsys):
    scenario = tmp_path / "s.toml"
    scenario.write_text(SMALL)
    out = str(tmp_path / "x.nc")
    for words in ([], ["--input-dim", "0"], ["--input-dim", "3"]):
        assert main(["simulate", str(scenario), "-o", out, *words]) == BAD_INPUT
    assert "rank of the overlaps" in capsys.readouterr().err
    assert main(["simulate", str(scenario), "-o", "x.txt", "--input-dim", "9"]) == BAD_INPUT
