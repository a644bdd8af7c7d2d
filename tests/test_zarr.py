"""Sweeps that stream to a Zarr folder: the numbers in memory, whole or not there, resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import cli
from odekit.dataset.provenance import problem_of
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions
from odekit.store.zarrstore import open_folder
from odekit.sweeps.chunks import Chunking, chunk_shape
from odekit.sweeps.grid import Grid
from odekit.sweeps.targets import ZarrTarget
from odekit.verbs.validate import validate
from sweeps import StopAfter, StopWhen, assert_same, sweep


@pytest.fixture
def stored(tmp_path):
    ok.solve(sweep(), store=tmp_path / "grid.zarr", chunk_size=5)
    return tmp_path / "grid.zarr"


def test_a_store_holds_what_memory_does(stored):
    back, whole = ok.open(stored), ok.solve(sweep())
    assert_same(back, whole)
    assert back.Q.chunks is not None
    for name, variable in whole.variables.items():
        # Texts in memory are as long as the longest; a store that is open lazily cannot know it.
        text = variable.dtype.kind == back[name].dtype.kind == "U"
        assert text or back[name].dtype == variable.dtype
        assert back[name].attrs.keys() == variable.attrs.keys()
    assert ok.Problem.from_dict(problem_of(back)) == sweep()
    assert all(verdict.holds for verdict in validate(back))
    assert [p.name for p in stored.parent.iterdir()] == ["grid.zarr"]


def test_any_reader_of_zarr_reads_the_numbers(stored):
    """Plain zarr, no xarray; nothing in it is outside the specification: that would warn."""
    import zarr

    group = zarr.open_group(stored, mode="r", use_consolidated=False)
    assert group["Q"].metadata.dimension_names[:2] == ("draw", "eta")
    assert np.isfinite(group["Q"][...]).all()
    assert str(group["method"][0, 0, 0]) == "RK45"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xr.open_zarr(stored, consolidated=False).generalization_error.mean().compute()


def test_a_store_saved_as_netcdf_is_the_same(stored, tmp_path):
    part = ok.open(stored).isel(draw=slice(2))
    assert_same(ok.open(ok.save(part, tmp_path / "part.nc")), part)


def test_a_single_run_may_be_stored_too(tmp_path):
    problem = sweep().replace(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        phases=[ok.Phase("main", 1.0, 0.5)],
    )
    assert_same(ok.solve(problem, store=tmp_path / "one.zarr"), ok.solve(problem))


def test_targets_are_not_replaced_unless_told(stored, tmp_path):
    with pytest.raises(ok.StoreError, match="exists already"):
        ok.solve(sweep(), store=stored)
    again = ok.solve(sweep(etas=3), store=stored, overwrite=True)
    assert again.sizes["eta"] == 3
    (tmp_path / "mine").mkdir()
    with pytest.raises(ok.StoreError, match="something else"):
        ok.solve(sweep(), store=tmp_path / "mine", overwrite=True)
    with pytest.raises(ok.StoreError, match="does not exist"):
        ok.solve(sweep(), store=tmp_path / "no" / "grid.zarr")
    with pytest.raises(ok.ProblemError, match="its own checkpoint"):
        ok.solve(sweep(), store=tmp_path / "a.zarr", checkpoint=tmp_path / "b")


# ---------------------------------------------------------------------------------------- resume


def of_solve(problem, times):
    """What `solve` says of such a run."""
    words = {**SolverOptions().to_dict(), "t_eval": times.tolist()}
    return prepare(problem, ("odekit_solver", words))


def interrupted_grid(path):
    """A sweep that is asked to stop after three chunks."""
    problem = sweep()
    options, times = SolverOptions(), np.linspace(0.0, 2.0, 5)
    sizes = {"draw": 4, "eta": 6}
    target = ZarrTarget(of_solve(problem, times), times, sizes, path, False)
    grid = Grid(problem, sizes, options, times, target, threads=1, chunk_size=5)
    return grid.run(StopWhen(path.with_name("grid.zarr.part"), 3))


def test_an_interrupted_store_returns_what_is_finished_and_resumes(tmp_path):
    path = tmp_path / "grid.zarr"
    partial = interrupted_grid(path)
    (tmp_path / "grid.zarr.part/data/Q/c/0/0/0/0/0.0a.partial").write_text("cut off")
    assert_same(open_folder(tmp_path / "grid.zarr.part" / "data", 2**30, complete=False), partial)
    status = partial.status.values
    assert {0, int(ok.Status.INTERRUPTED)} == set(np.unique(status))
    assert np.isnan(partial.Q.values[status == ok.Status.INTERRUPTED]).all()
    assert np.isfinite(partial.Q.values[status == 0]).all()
    assert not path.exists()
    records = {p: p.stat().st_mtime_ns for p in (tmp_path / "grid.zarr.part").glob("chunk-*")}
    assert 3 <= len(records) < 8
    assert set(json.loads(next(iter(records)).read_text())) >= {"status", "seconds", "where"}

    kept = {}

    class Watched(ZarrTarget):
        def keep(self, number, done):
            kept[number] = done
            super().keep(number, done)

    times, sizes = np.linspace(0.0, 2.0, 5), {"draw": 4, "eta": 6}
    target = Watched(of_solve(sweep(), times), times, sizes, path, False)
    whole = Grid(sweep(), sizes, SolverOptions(), times, target, threads=1).run(StopAfter(10**9))
    assert len(kept) == len(Chunking(sizes, chunk_shape(sizes, 5))) - len(records)
    assert_same(whole, ok.solve(sweep(), t_eval=times))
    assert path.is_dir()
    assert not (tmp_path / "grid.zarr.part").exists()


def test_another_problem_does_not_continue_a_store(tmp_path):
    path = tmp_path / "grid.zarr"
    interrupted_grid(path)
    with pytest.raises(ok.CheckpointError, match=r"activation.*phases\[0\]\.duration"):
        ok.solve(sweep(duration=3.0).replace(activation="linear"), store=path)
    with pytest.raises(ok.CheckpointError, match=r"solver\.rtol.*solver\.t_eval"):
        ok.solve(sweep(), store=path, rtol=1e-5)


KILLED = """
import sys, odekit as ok
sys.path[:0] = {path!r}
from sweeps import sweep
ok.solve(sweep(etas=20, draws=10, duration=5.0), {target}, chunk_size=5)
"""


@pytest.mark.parametrize("target", ["store", "checkpoint"])
def test_a_killed_sweep_recomputes_at_most_the_unfinished_chunks(tmp_path, target):
    path = tmp_path / "grid.zarr"
    code = KILLED.format(path=sys.path, target=f"{target}={str(path)!r}")
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    folder = tmp_path / "grid.zarr.part" if target == "store" else path
    deadline = time.monotonic() + 60
    while len(list(folder.glob("chunk-*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    records = {p: p.stat().st_mtime_ns for p in folder.glob("chunk-*.json")}
    assert 5 <= len(records) < 40
    assert target == "checkpoint" or not path.exists()
    problem = sweep(etas=20, draws=10, duration=5.0)
    whole = ok.solve(problem, **{target: path})
    if target == "checkpoint":
        assert all(p.stat().st_mtime_ns == t for p, t in records.items())
    assert_same(whole, ok.solve(problem))


def test_ctrl_c_returns_what_is_finished(tmp_path):
    code = f"""
        import sys, os, signal, threading, time, pathlib, odekit as ok
        sys.path[:0] = {sys.path!r}
        from sweeps import sweep
        part = pathlib.Path({str(tmp_path)!r}, "g.zarr.part")
        def stop():
            while len(list(part.glob("chunk-*.json"))) < 3:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=stop).start()
        ds = ok.solve(sweep(20, 10, 5.0), store={str(tmp_path / "g.zarr")!r}, chunk_size=5)
        print((ds.status.values == 0).sum(), (ds.status.values == 1).sum())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    finished, rest = map(int, done.stdout.split())
    assert finished >= 15
    assert finished + rest == 200
    assert rest > 0


# ------------------------------------------------------------------------------------- untrusted


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def refuse(path, match):
    with pytest.raises(ok.StoreError, match=match):
        ok.open(path)


def test_links_and_strange_files_are_refused(stored, tmp_path):
    secret = tmp_path / "secret"
    chunk = stored / "status" / "c" / "0" / "0"
    secret.write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(secret)
    refuse(stored, "link")
    chunk.unlink()
    os.mkfifo(chunk)
    refuse(stored, "link or device")
    chunk.unlink()
    refuse(stored, r"has 7 of 8 chunks")
    chunk.write_bytes(secret.read_bytes())
    ok.open(stored)
    (stored / "readme").write_text("hello")
    refuse(stored, "no variable")
    (stored / "readme").unlink()
    (stored / "Q" / "c" / "99").mkdir()
    (stored / "Q" / "c" / "99" / "x").write_text("")
    refuse(stored, "no chunk")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d["codecs"].append({"name": "numcodecs.pickle"}), "codecs"),
        (lambda d: d["codecs"].__setitem__(0, {"name": "numcodecs.zlib"}), "codecs"),
        (lambda d: d.update(data_type="object"), "type"),
        (lambda d: d.update(data_type={"name": "fixed_length_utf32"}), "type"),
        (lambda d: d.update(shape=[10**12, 6, 168, 2, 2]), "of .* chunks"),
        (lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[10**12] * 5), "bytes"),
        (lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1] * 5), "size"),
        (lambda d: d.update(storage_transformers=[{"name": "x"}]), "transformers"),
        (lambda d: d.update(zarr_format=2), "version 3"),
        (lambda d: d.pop("codecs"), "codecs"),
    ],
)
def test_metadata_that_odekit_does_not_write_is_refused(stored, change, match):
    edit(stored / "Q" / "zarr.json", change)
    refuse(stored, match)


def test_other_stores_are_refused(stored, tmp_path):
    edit(stored / "zarr.json", lambda d: d["attributes"].update(odekit_schema_version=99))
    refuse(stored, "layout 99")
    edit(stored / "zarr.json", lambda d: d["attributes"].pop("odekit_problem"))
    refuse(stored, "not of odekit")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / ".zgroup").write_text('{"zarr_format": 2}')
    refuse(tmp_path / "v2", "could not be read")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "is a folder")


def test_an_edited_problem_and_a_flipped_byte_are_found(stored):
    chunk = stored / "Q" / "c" / "0" / "0" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ok.StoreError, match=r"`Q`\[0:1, .*could not be read.*solve the problem"):
        ok.open(stored).Q.load()
    text = (stored / "zarr.json").read_text()
    (stored / "zarr.json").write_text(text.replace("0.5", "0.6"))
    refuse(stored, "`zarr.json` has changed")
    with pytest.raises(ok.StoreError, match="unharmed"):
        ok.open(stored, verify=False)


def test_sizes_are_limited(stored):
    with pytest.raises(ok.StoreError, match="max_bytes"):
        ok.open(stored, max_bytes=100)


# ----------------------------------------------------------------------------- the command line

SCENARIO = """
title = "Rates"
[state]
Q = [[0.5]]
R = [[0.1]]
T = [[1.0]]
[heads]
main = [1.0]
[tasks.main]
readout = [1.0]
[[phases]]
tasks = "main"
duration = 2.0
learning_rate = { over = "eta", geomspace = [0.1, 1.0, 20] }
"""


def test_the_command_writes_and_reads_stores(tmp_path, capsys):
    scenario, out = tmp_path / "s.toml", tmp_path / "out.zarr"
    scenario.write_text(SCENARIO)
    assert cli.main(["run", str(scenario), "-o", str(out)]) == 0
    assert cli.main(["run", str(scenario), "-o", str(tmp_path / "out.nc")]) == 0
    assert_same(ok.open(out), ok.open(tmp_path / "out.nc"))
    assert ok.open(out).attrs["title"] == "Rates"
    assert cli.main(["show", str(out)]) == 0
    assert "20 of 20 runs completed" in capsys.readouterr().out
    assert cli.main(["validate", str(out)]) == 0
    assert cli.main(["plot", str(out), "-o", str(tmp_path / "out.png")]) == 0
    assert cli.main(["run", str(out), "-o", str(tmp_path / "again.nc")]) == 0
    assert_same(ok.open(tmp_path / "again.nc"), ok.open(out))
    assert cli.main(["run", str(scenario), "-o", str(out)]) == 3
    assert cli.main(["run", str(scenario), "-o", str(out), "--overwrite"]) == 0
    assert cli.main(["run", str(scenario), "-o", str(out), "--checkpoint", "x"]) == 2


def test_what_is_left_of_a_published_store_does_no_harm(tmp_path):
    """Killed between putting the store in its place and removing the rest: records, no data."""
    times, path = np.linspace(0.0, 2.0, 5), tmp_path / "grid.zarr"
    interrupted_grid(path)
    part = tmp_path / "grid.zarr.part"
    shutil.rmtree(part / "data")
    assert list(part.glob("chunk-*.json"))
    assert_same(ok.solve(sweep(), t_eval=times, store=path), ok.solve(sweep(), t_eval=times))


def test_two_runs_do_not_write_to_one_store(tmp_path):
    times, sizes = np.linspace(0.0, 2.0, 5), {"draw": 4, "eta": 6}
    result = of_solve(sweep(), times)
    first = ZarrTarget(result, times, sizes, tmp_path / "g.zarr", False)
    with pytest.raises(ok.CheckpointError, match="another run"):
        ok.solve(sweep(), t_eval=times, store=tmp_path / "g.zarr")
    first.release()
    ok.solve(sweep(), t_eval=times, store=tmp_path / "g.zarr")


def test_measures_take_what_is_opened_lazily(tmp_path):
    family = ok.task_family(units=1, tasks=2, feature_similarity=0.5)
    rates = xr.DataArray([0.5, 1.0, 1.5], dims="eta")
    problem = ok.Problem(
        state=ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=100, seed=0, draws=2),
        heads=family.heads([1.0, 0.5]),
        tasks=family.tasks,
        phases=[ok.Phase("1", 5.0, rates), ok.Phase("2", 5.0, 0.5)],
    )
    whole = ok.solve(problem)
    lazy = ok.solve(problem, store=tmp_path / "g.zarr", chunk_size=2)
    m = ok.measures
    for measure in [
        *(lambda ds, f=f: f(ds, "1") for f in (m.forgetting, m.transfer)),
        lambda ds: m.final(ds.generalization_error),
        lambda ds: m.maximum(m.forgetting(ds, "1")),
        m.overlap_cosine,
        m.imbalance,
    ]:
        found = measure(lazy)
        assert found.chunks is not None
        np.testing.assert_array_equal(found.values, measure(whole).values)
    # These solve the problem again, and are there at once.
    xr.testing.assert_equal(m.plateau(lazy), m.plateau(whole))
    xr.testing.assert_equal(m.initial_rate(lazy), m.initial_rate(whole))
