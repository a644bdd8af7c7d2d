"""Sweeps on other processes: the same numbers, whatever dies on the way."""

import concurrent.futures as cf
import json
import logging
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

import odekit as ok
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import part
from odekit.sweeps import targets
from odekit.sweeps.jobs import Job, own_threads, run_job
from odekit.sweeps.workers import DaskWorkers, PoolWorkers, workers_of
from odekit.verbs import solve as solver
from sweeps import DiesOnce, Poisoned, assert_same, sweep

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def whole():
    return ok.solve(sweep())


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    import cloudpickle

    import sweeps

    # Workers do not have the folder of the tests on their path.
    cloudpickle.register_pickle_by_value(sweeps)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(**options, **quiet) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def poison(monkeypatch, writer):
    """Let workers write a store's chunks by another writer."""

    def target(*arguments):
        made = targets.ZarrTarget(*arguments)
        made.write = writer(made.writer.path, made.writer.dims)
        return made

    monkeypatch.setattr(solver, "ZarrTarget", target)


def lost_of(ds):
    return json.loads(ds.attrs["odekit_lost"])


# ------------------------------------------------------------------------------------------ pools


def test_threads_of_one_process(whole):
    with cf.ThreadPoolExecutor(2) as pool:
        assert_same(ok.solve(sweep(), executor=pool, chunk_size=5), whole)


def test_a_pool_of_processes_survives_the_death_of_one(tmp_path, monkeypatch, whole):
    poison(monkeypatch, DiesOnce)
    with cf.ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        ds = ok.solve(sweep(), executor=pool, store=tmp_path / "g.zarr", chunk_size=5)
    assert_same(ds, whole)
    assert "odekit_lost" not in ds.attrs


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_a_chunk_that_kills_every_process_is_given_up_and_the_rest_completes(
    tmp_path, monkeypatch, whole
):

    poison(monkeypatch, lambda path, dims: Poisoned(path, dims, "kill"))
    with cf.ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        ds = ok.solve(sweep(), executor=pool, store=tmp_path / "g.zarr", chunk_size=5)
    check_lost(ds, whole, "died")


def check_lost(ds, whole, reason):
    (lost,) = lost_of(ds)
    assert reason in lost["reason"]
    assert lost["region"] == {"draw": [0, 1], "eta": [0, 3]}
    gone = ds.status.values == ok.Status.LOST
    assert gone.sum() == 3
    assert gone[0, :3].all()
    assert np.isnan(ds.Q.values[gone]).all()
    np.testing.assert_array_equal(ds.Q.values[~gone], whole.Q.values[~gone])
    assert ok.Status.LOST.remedy


def test_pools_that_fork_are_refused():
    with (
        cf.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ok.ProblemError, match="spawn"),
    ):
        ok.solve(sweep(), executor=pool)
    with pytest.raises(ok.ProblemError, match="executor"):
        ok.solve(sweep(), executor="here")


def test_an_error_in_this_process_is_not_hidden(tmp_path, monkeypatch):
    poison(monkeypatch, Poisoned)
    with pytest.raises(ArithmeticError, match="poisoned"):
        ok.solve(sweep(), store=tmp_path / "g.zarr", chunk_size=5)


def test_where_all_chunks_fail_the_reason_is_raised(tmp_path, monkeypatch):
    poison(monkeypatch, Poisoned)
    with (
        cf.ThreadPoolExecutor(2) as pool,
        pytest.raises(ok.SweepError, match="poisoned"),
    ):
        ok.solve(sweep(), executor=pool, store=tmp_path / "g.zarr", chunk_size=1000)


def test_threads_are_shared_out():
    with cf.ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        assert PoolWorkers(pool, None).threads == max(1, own_threads() // 2)
        assert PoolWorkers(pool, 3).threads == 3


# ------------------------------------------------------------------------------------------- dask


def test_a_cluster_returns_arrays(client, whole):
    assert isinstance(workers_of(client, None), DaskWorkers)
    assert_same(ok.solve(sweep(), executor=client), whole)


def test_workers_killed_midway_cost_only_their_chunks(client, tmp_path):
    """Two workers are killed while a store fills; every number is as if none had been."""
    problem, path = sweep(etas=10, draws=10, duration=5.0), tmp_path / "g.zarr"
    part_folder, killed = tmp_path / "g.zarr.part", []

    def kill():
        for chunks in (3, 10):
            while len(list(part_folder.glob("chunk-*.json"))) < chunks:
                time.sleep(0.01)
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    ds = ok.solve(problem, executor=client, store=path, chunk_size=4)
    killer.join()
    assert len(set(killed)) == 2
    assert (ds.status == ok.Status.COMPLETED).all()
    assert_same(ds, ok.solve(problem))


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize(("how", "reason"), [("raise", "poisoned"), ("kill", "KilledWorker")])
def test_a_chunk_that_always_fails_is_recorded(client, tmp_path, monkeypatch, whole, how, reason):
    poison(monkeypatch, lambda path, dims: Poisoned(path, dims, how))
    ds = ok.solve(sweep(), executor=client, store=tmp_path / "g.zarr", chunk_size=5)
    check_lost(ds, whole, reason)


def test_records_are_small_and_say_where(client):
    problem = sweep()
    region = {"draw": slice(0, 1), "eta": slice(0, 3)}
    job = Job(0, region, part(problem, region), SolverOptions(), np.array([0.0, 2.0]))
    done = client.submit(run_job, job).result()
    assert done.record["status"] == {"completed": 3}
    assert done.record["threads"] == 1
    assert done.record["where"].partition(":")[2].isdigit()
    assert done.record["seconds"] > 0


def test_a_worker_runs_a_chunk_with_the_threads_that_it_was_given(whole):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(**options, **quiet) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert client.submit(own_threads).result() == 2
        assert_same(ok.solve(sweep(), executor=client, chunk_size=5), whole)


def test_dask_is_not_needed_to_import_odekit():
    assert targets.MemoryTarget.write is None
    from test_layers import loaded

    assert not loaded("import odekit\nodekit.solve") & {"dask", "distributed", "zarr"}
