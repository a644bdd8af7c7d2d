"""Shares of trajectories, memory that is used again, and where results of chunks are written."""

import numpy as np
import xarray as xr

import odekit as ok
from odekit.base import memory
from odekit.base.memory import lent
from odekit.dataset.result import prepare
from odekit.integrate.record import Record
from odekit.integrate.results import Results
from odekit.integrate.shares import BYTES, Pool, room, shares, spread
from odekit.sweeps.chunks import Chunking
from odekit.sweeps.jobs import Done
from odekit.sweeps.targets import MemoryTarget

TIMES = np.array([0.0, 1.0])


def swept(points):
    etas = xr.DataArray(np.linspace(0.1, 1.0, points), dims="eta")
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.3]], R=[[0.1]], T=[[1.0]]),
        heads={"a": [1.0]},
        tasks={"a": ok.Task([1.0])},
        phases=[ok.Phase("a", 1.0, etas)],
    )


def target(points):
    problem = swept(points)
    found = MemoryTarget(prepare(problem, ("odekit_solver", {})), TIMES, {"eta": points}, None)
    found.start(Chunking({"eta": points}, {"eta": 2}))
    return found


def test_shares_are_whole_small_and_for_all_threads():
    for size, each, threads in ((10, 8, 3), (100_000, 3600, 2), (1, 2**30, 4), (7, 0, 1)):
        found = shares(size, each, threads)
        places = np.concatenate([np.arange(size)[s] for s in found])
        assert np.array_equal(places, np.arange(size))
        assert len(found) >= min(threads, size)
        assert all(s.stop - s.start == 1 or (s.stop - s.start) * each <= BYTES for s in found)


def test_an_error_on_a_thread_is_the_callers():
    done = []
    spread(done.append, range(9), 3)
    assert sorted(done) == list(range(9))
    try:
        spread(lambda i: 1 // i, [1, 0, 2], 2)
    except ZeroDivisionError:
        return
    raise AssertionError("the error is lost")


def test_memory_is_used_again_and_never_by_two_at_once():
    pool = Pool(object)
    with pool.one() as a, pool.one() as b:
        assert a is not b
    with pool.one() as c:
        assert c in (a, b)
    with room((3, 4)) as first, room((3, 4)) as second:
        assert not np.may_share_memory(first, second)
    with room((2, 5)) as third:
        assert np.may_share_memory(third, first) or np.may_share_memory(third, second)


def test_memory_of_results_is_used_again_once_nobody_holds_it(monkeypatch):
    monkeypatch.setattr(memory, "_store", memory._Store())
    first = lent((300, 100), float)
    first[:] = 1.0
    place, part = first.ctypes.data, first.reshape(100, 300)[3:5].T
    assert not np.may_share_memory(first, lent((300, 100), float))
    del first
    assert not np.may_share_memory(part, lent((300, 100), float))
    assert (part == 1.0).all()
    del part
    assert lent((300, 100), float).ctypes.data == place
    assert lent((3, 2), float).flags.owndata
    assert lent((300, 100), np.int32).dtype == np.int32


def test_little_memory_is_kept_for_results(monkeypatch):
    monkeypatch.setattr(memory, "MOST_KEPT", 500_000)
    monkeypatch.setattr(memory, "_store", memory._Store())
    held = [lent((25_000,), float) for _ in range(5)]
    del held
    assert lent((70_000,), float).nbytes == 560_000  # too large to be kept in place of others
    assert sum(block.size for block in memory._store._free.values()) == 400_000


def test_datasets_stay_what_they_are_while_others_are_solved():
    problem = swept(400)
    first = ok.solve(problem, t_eval=np.linspace(0.0, 1.0, 60))
    kept, before = first.Q[3:9], first.copy(deep=True)
    for _ in range(3):
        again = ok.solve(problem, t_eval=np.linspace(0.0, 1.0, 60))
        again.Q[:] = 7.0
        again.generalization_error[:] = 7.0
    xr.testing.assert_identical(first, before)
    del first
    ok.solve(problem, t_eval=np.linspace(0.0, 1.0, 60)).Q[:] = 7.0
    xr.testing.assert_identical(kept, before.Q[3:9])


def test_results_are_written_where_they_belong_if_they_fit():
    there = {"Q": np.zeros((4, 2)), "R": np.zeros((4, 9))}
    results = Results(4, there)
    results.put(slice(1, 3), {"Q": np.ones((2, 2)), "R": np.ones((2, 2)), "v": np.ones((2, 1))})
    assert results.arrays["Q"] is there["Q"]
    assert there["Q"].sum() == 4
    assert there["R"].sum() == 0
    assert results.arrays["R"].shape == (4, 2)
    results.take({"Q": np.full((4, 2), 2.0), "w": np.zeros(4)})
    assert (there["Q"] == 2.0).all()


def test_a_chunk_is_written_in_place_and_what_is_missing_is_blank():
    found = target(5)
    chunk = found.room(1)
    assert chunk["Q"].shape == (2, 2, 1, 1)
    chunk["Q"][:] = 7.0
    arrays = {"Q": chunk["Q"], "method": np.array([["RK45"], ["none"]])}
    arrays["status"] = np.zeros(2, dtype=np.int8)
    found.keep(1, Done({}, arrays))
    long = np.array([["RK45 -> Rodas5P"]])
    status = np.zeros(1, dtype=np.int8)
    last = {"Q": np.full((1, 2, 1, 1), 8.0), "method": long, "status": status}
    found.keep(2, Done({}, last))
    ds = found.close(complete=False, late=False)
    assert np.isnan(ds.Q.values[:2]).all()
    assert (ds.Q.values[2:4] == 7.0).all()
    assert (ds.Q.values[4] == 8.0).all()
    assert ds.method.values[:, 0].tolist() == ["none", "none", "RK45", "none", "RK45 -> Rodas5P"]
    assert ds.status.values.tolist() == [int(ok.Status.INTERRUPTED)] * 2 + [0] * 2 + [0]
    # What the chunks did not have is as if nothing had been reached.
    assert np.isnan(ds.R.values).all()
    assert (ds.phase.values == -1).all()


def test_methods_that_took_turns_are_named_in_their_order():
    record = Record(3, 1, 1)
    for which, method in (([0, 1], "RK45"), ([1], "Rodas5P"), ([1], "Rodas5P")):
        record.uses(np.array(which), 0, method)
    assert record.arrays()["method"][:, 0].tolist() == ["RK45", "RK45 -> Rodas5P", "none"]
    for _ in range(9):
        for method in ("RK45", "Rodas5P"):
            record.uses(np.array([1]), 0, method)
    longest = record.arrays()["method"][1, 0]
    assert longest.endswith("-> ...")
    assert len(longest) <= 64
