"""Results that were edited, with checksums that match: refused, or shown, in odekit's own words."""

import hashlib
import json

import netCDF4
import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import cli
from odekit.store.encode import encode
from odekit.store.files import write_atomic
from odekit.store.netcdf import _write

COMMANDS = ("show", "validate", "plot", "run")


@pytest.fixture(scope="module")
def result():
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task(readout=[1.0], noise_std=0.1)},
        phases=[ok.Phase("main", 1.0, 0.5), ok.Phase("main", 1.0, 0.5)],
    )
    return ok.solve(problem, t_eval=np.linspace(0.0, 2.0, 5))


def with_problem(ds, text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ds.assign_attrs(odekit_problem=text, odekit_problem_sha256=digest)


def told(path, command, capsys):
    """Exit code and words of a command, which must not end in a traceback."""
    more = ["-o", str(path.with_suffix(".png" if command == "plot" else ".out.nc")), "--overwrite"]
    code = cli.main([command, str(path), *(more if command in ("plot", "run") else [])])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


def replaced(data, path, value):
    twin = json.loads(json.dumps(data))
    inner = twin
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return twin


def places(data, path=()):
    """Every place in plain data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inner if isinstance(data, dict | list) else ():
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


WRONG = (None, "x", [], {}, -7, [[[1]]], {"dims": 3, "values": []}, True)


def test_parts_of_the_problem_of_another_type(result, tmp_path, capsys):
    data, path, codes = json.loads(result.attrs["odekit_problem"]), tmp_path / "a.nc", []
    for i, place in enumerate(places(data)):
        text = json.dumps(replaced(data, place, WRONG[i % len(WRONG)]))
        ok.save(with_problem(result, text), path, overwrite=True)
        codes += [told(path, command, capsys)[0] for command in ("show", "validate")]
    assert set(codes) <= {0, 1, 2}
    assert codes.count(2) > 10


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "3", "{}", '"x"', "{"])
def test_a_problem_that_is_none(result, tmp_path, capsys, text):
    path = tmp_path / "a.nc"
    # `save` refuses it: a file can only be made without.
    write_atomic(path, lambda p: _write(encode(with_problem(result, text), ValueError), p))
    for command in COMMANDS:
        code, said = told(path, command, capsys)
        assert code > 0
        assert "odekit_problem" in said
        assert len(said) < 1000


CHANGES = {
    "a missing variable": lambda ds: ds.drop_vars("Q"),
    "no status": lambda ds: ds.drop_vars("status"),
    "no error": lambda ds: ds.drop_vars("generalization_error"),
    "no coordinate": lambda ds: ds.drop_vars("time"),
    "no rows": lambda ds: ds.isel(time=slice(0)),
    "no task": lambda ds: ds.isel(task=slice(0)),
    "status 99": lambda ds: ds.assign(status=ds.status.copy(data=np.int8(99))),
    "outcome 99": lambda ds: ds.assign(
        phase_outcome=ds.phase_outcome.copy(data=np.array([0, 99], np.int8))
    ),
    "another task": lambda ds: ds.assign_coords(task=ds.task.copy(data=["other"])),
    "another head": lambda ds: ds.assign_coords(head=ds["head"].copy(data=["other"])),
    "another type": lambda ds: ds.assign(Q=ds.Q.astype("i4")),
    "text for numbers": lambda ds: ds.assign(n_steps=xr.Variable((), "many")),
    "more phases": lambda ds: xr.concat([ds, ds], "phase_index", data_vars="minimal"),
    "another dim": lambda ds: ds.assign(Q=ds.Q.transpose()),
    "another figure": lambda ds: ds.assign_attrs(odekit_figure="[]"),
    "solver no object": lambda ds: ds.assign_attrs(odekit_solver="[1]"),
    "solver of another type": lambda ds: ds.assign_attrs(odekit_solver='{"rtol": [], "method": 3}'),
    "title a number": lambda ds: ds.assign_attrs(title=3.0),
    "title with mathematics": lambda ds: ds.assign_attrs(title="$\\frac{$ x_$"),
}
REFUSED = [n for n in CHANGES if "title" not in n and "solver" not in n and "figure" not in n]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:.*coords:FutureWarning", "ignore:In a future version")
def test_datasets_that_do_not_hold_together(result, tmp_path, capsys, change):
    path = ok.save(CHANGES[change](result), tmp_path / "a.nc")
    for command in COMMANDS:
        code, said = told(path, command, capsys)
        assert code in (0, 1, 2), said
        if command in ("show", "plot") and change in REFUSED:
            assert code == 2, said
            assert "must" in said


def test_no_terminal_obeys_a_file(result, tmp_path, capsys):
    ds = result.assign_attrs(title="\x1b]0;owned\x07\x1b[2J\x9b31m red", comment="\x1b[1m")
    path = ok.save(ds, tmp_path / "a.nc")
    for command in COMMANDS:
        code, said = told(path, command, capsys)
        assert code == 0
        assert not any(c in said for c in "\x1b\x9b\x07")
    assert r"\x1b[2J\x9b31m red" in told(path, "show", capsys)[1]


def test_checksums_that_were_taken_out_are_missed(result, tmp_path):
    def without(name):
        path = ok.save(result, tmp_path / f"{name}.nc")
        with netCDF4.Dataset(path, "a") as file:
            sums = json.loads(file.getncattr("odekit_checksums"))
            file.delncattr("odekit_checksums")
            if name != "all":
                del sums[name]
                file.setncattr("odekit_checksums", json.dumps(sums))
        return path

    for name in ("all", "R"):
        lost = "`time`, .*, …" if name == "all" else "`R`"
        with pytest.raises(ok.StoreError, match=f"lost the checksums of {lost}. .*verify=False"):
            ok.open(without(name))
        assert ok.open(tmp_path / f"{name}.nc", verify=False).equals(result)
