"""Cutting a grid: every point in one chunk, aligned, small enough, and the same numbers."""

import math
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import at, axes, part
from odekit.sweeps.block import run_block
from odekit.sweeps.chunks import Chunking, chunk_shape, most_runs, pilot, sample
from sweeps import StopAfter, assert_same, labelled, sweep

grids = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(
    lambda sizes: {f"d{i}": n for i, n in enumerate(sizes)}
)


@given(grids, st.integers(1, 500))
def test_chunks_cover_every_point_once(sizes, runs):
    shape = chunk_shape(sizes, runs)
    assert math.prod(shape.values()) <= runs
    cut = Chunking(sizes, shape)
    seen = np.zeros(tuple(sizes.values()), dtype=int)
    for i in range(len(cut)):
        region = cut.region(i)
        assert list(region) == list(sizes)
        assert all(s.start % shape[d] == 0 for d, s in region.items())
        seen[tuple(region.values())] += 1
        assert cut.runs(i) == math.prod(s.stop - s.start for s in region.values())
    assert (seen == 1).all()


@given(grids, st.integers(1, 500))
def test_one_dim_is_cut_those_behind_are_whole(sizes, runs):
    shape = chunk_shape(sizes, runs)
    cut = [d for d in sizes if 1 < shape[d] < sizes[d]]
    assert len(cut) <= 1
    if cut:
        dims = list(sizes)
        behind, before = dims[dims.index(cut[0]) + 1 :], dims[: dims.index(cut[0])]
        assert all(shape[d] == sizes[d] for d in behind)
        assert all(shape[d] == 1 for d in before)


def test_results_do_not_depend_on_the_cut():
    whole = ok.solve(sweep())
    for size in (1, 3, 5, 24):
        assert_same(ok.solve(sweep(), chunk_size=size), whole)


def test_a_part_of_a_problem_is_the_problem_there():
    problem = sweep()
    some = part(problem, {"draw": slice(1, 3), "eta": slice(2, 3)})
    assert {d: n for d, (n, _) in axes(some).items()} == {"draw": 2, "eta": 1}
    assert ok.Problem.from_dict(some.to_dict()) == some
    np.testing.assert_array_equal(some.state.Q, problem.state.Q[1:3])
    # Nothing of the whole travels along with it to a worker.
    assert some.state.Q.values.base is None or some.state.Q.values.base.nbytes < 10_000


def test_cutting_is_fast_for_large_sweeps():
    """Milliseconds at 65,536 trajectories; here ten times as much, as the machine may be busy."""
    start = ok.OrderParameters.draw(
        student=2, teacher=2, weight_std=0.1, input_dim=100, seed=1, draws=65_536
    )
    problem = sweep().replace(
        state=start, tasks={"main": ok.Task([1.0, 1.0])}, phases=[ok.Phase("main", 1.0, 0.5)]
    )
    cut = Chunking({"draw": 65_536}, {"draw": 1024})
    begin = time.process_time()
    for i in range(len(cut)):
        part(problem, cut.region(i))
    assert (time.process_time() - begin) / len(cut) < 0.01


def test_a_chunk_is_small_enough_to_hold():
    few, many = most_runs(sweep(), 10), most_runs(sweep(), 10_000)
    assert few > 100 * many >= 100


def test_a_sample_is_spread_over_the_grid():
    some = sample(sweep(etas=40, draws=40), 16)
    sizes = [n for n, _ in axes(some).values()]
    assert 8 <= math.prod(sizes) <= 32
    assert float(some.phases[0].learning_rate.max()) > 0.9


def test_a_pilot_measures_and_stops_when_asked():
    problem = sweep(etas=3, draws=2)
    times = np.array([0.0, 1.0])
    assert pilot(problem, SolverOptions(), times, 1, StopAfter(10**9)) > 1
    assert pilot(problem, SolverOptions(), times, 1, StopAfter(0)) == 0


def test_an_interrupted_block_says_what_is_missing():
    arrays = run_block(
        sweep(etas=3, draws=2),
        SolverOptions(),
        np.array([0.0, 2.0]),
        threads=1,
        interrupts=StopAfter(0),
    )
    assert (arrays["status"] == ok.Status.INTERRUPTED).all()
    assert (arrays["n_steps"] == 0).all()
    assert np.isnan(arrays["Q"][:, :, 1]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        xr.DataArray(np.zeros(0), dims="eta"),
        xr.DataArray([1.0, 2.0], dims="eta", coords={"eta": [1 + 2j, 3j]}),
        xr.DataArray([1.0, 2.0], dims="eta", coords={"eta": [0.0, np.nan]}),
        xr.DataArray([1.0, 2.0], dims="problem_eta"),
        xr.DataArray(
            [1.0, 2.0], dims="eta", coords={"eta": np.array(["2020", "2021"], "datetime64[ns]")}
        ),
    ],
)
def test_axes_that_no_file_can_hold_are_refused_first(wrong):
    with pytest.raises(ok.ProblemError, match="eta"):
        ok.Phase("main", 1.0, wrong)


@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
def test_a_dim_named_twice_is_refused():
    with pytest.raises(ok.ProblemError, match="twice"):
        ok.Phase("main", 1.0, xr.DataArray(np.ones((2, 2)), dims=("eta", "eta")))


@pytest.mark.parametrize(
    "coord", [["a", "ü"], [True, False], np.array(["x", "y"], dtype=object), [1, 2], [0.5, 0.25]]
)
def test_coordinates_of_every_type_travel_along(tmp_path, coord):
    rates = xr.DataArray([0.1, 0.2], dims="rate", coords={"rate": coord})
    problem = sweep(draws=2).replace(phases=[ok.Phase("main", 1.0, rates)])
    run = ok.solve(problem, t_eval=[0.0, 1.0])
    assert run.rate.values.tolist() == list(coord)
    for name in ("run.nc", "run.zarr"):
        back = ok.open(ok.save(run, tmp_path / name))
        assert back.rate.values.tolist() == list(coord)


def test_a_labelled_scalar_is_no_axis():
    problem = sweep().replace(phases=[ok.Phase("main", 1.0, xr.DataArray(0.3))])
    assert list(axes(problem)) == ["draw"]


def test_too_many_ends_of_phases_need_times():
    spans = xr.DataArray(np.linspace(1.0, 2.0, 10_001), dims="span")
    problem = sweep().replace(phases=[ok.Phase("main", spans, 0.5)])
    with pytest.raises(ok.ProblemError, match="t_eval"):
        ok.solve(problem)


def test_what_no_memory_can_hold_is_refused():
    many = xr.DataArray(np.full(4_000, 0.5), dims="eta")
    more = xr.DataArray(np.zeros(5_000), dims="decay")
    problem = sweep().replace(phases=[ok.Phase("main", 1.0, many, weight_decay=more)])
    tracemalloc.start()
    with pytest.raises(ok.ProblemError, match="store="):
        ok.solve(problem)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_progress_counts_trajectories(capsys):
    ok.solve(sweep(), progress=True, chunk_size=6)
    shown = capsys.readouterr().err
    assert "24/24" in shown
    assert "run" in shown


def test_a_curriculum_with_everything_swept_is_that_of_each_point(tmp_path):
    """Teachers, thresholds, mixtures, strengths, spans, noise and decays at once, streamed."""
    family = ok.task_family(units=1, tasks=2, feature_similarity=labelled("V", [0.2, 0.8]))
    family.tasks["2"] = replace(family.tasks["2"], noise_std=labelled("noise", [0.0, 0.2]))
    p = labelled("p", [0.25, 0.5])
    problem = ok.Problem(
        state=ok.OrderParameters.draw(2, family.T, weight_std=0.3, input_dim=100, seed=0),
        heads=family.heads([1.0, 0.5]),
        tasks=family.tasks,
        phases=[
            ok.Phase("1", 50.0, 0.5, until=labelled("level", [0.1, 0.05])),
            ok.Phase(
                {"1": p, "2": 1 - p},
                labelled("span", [1.0, 2.0]),
                0.5,
                readout_learning_rate=0.2,
                weight_decay=labelled("decay", [0.0, 0.1]),
                consolidation=ok.Consolidation("fisher", labelled("strength", [0.0, 2.0]), "1"),
            ),
        ],
    )
    times = np.linspace(0.0, 51.0, 7)
    whole = ok.solve(problem, t_eval=times)
    assert dict(whole.status.sizes) == dict.fromkeys(
        ["V", "noise", "level", "p", "span", "decay", "strength"], 2
    )
    assert_same(ok.solve(problem, t_eval=times, store=tmp_path / "g.zarr", chunk_size=24), whole)
    for place in [dict.fromkeys(whole.status.dims, 0), dict.fromkeys(whole.status.dims, 1)]:
        alone = ok.solve(at(problem, place), t_eval=times)
        one = whole.isel(place)
        for name in ("Q", "R", "T", "readout", "phase_end", "phase_end_error"):
            known = np.isin(one.time, alone.time) if "time" in one[name].dims else ...
            there = np.isin(alone.time, one.time) if "time" in one[name].dims else ...
            # 30 times the rtol of a step: sweeps and single runs have integrators of their own.
            np.testing.assert_allclose(
                one[name].values[known], alone[name].values[there], atol=3e-7
            )


def test_labels_of_swept_teachers_survive_the_cut():
    overlap = labelled("V", [0.0, 0.5, 1.0])
    family = ok.task_family(units=1, tasks=2, feature_similarity=overlap)
    problem = ok.Problem(
        state=ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=100, seed=0, draws=3),
        heads=family.heads([1.0, 0.5]),
        tasks=family.tasks,
        phases=[ok.Phase("1", labelled("span", [1.0, 2.0]), 0.5), ok.Phase("2", 1.0, 0.5)],
    )
    assert_same(ok.solve(problem, chunk_size=4), ok.solve(problem, chunk_size=100))
