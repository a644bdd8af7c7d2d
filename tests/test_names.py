"""Names of files and labels of sweeps that no file can hold; what killed saves leave."""

import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import cli
from odekit.integrate.options import output_times
from odekit.store.files import beside
from test_store import example
from test_zarr import SCENARIO

BAD_NAMES = {
    "NUL": "a\0b.nc",
    "NUL in a store's name": "a\0b.zarr",
    "not UTF-8": os.fsdecode(b"\xff\xfe.nc"),
    "half a surrogate pair": "\ud800.nc",
    "too long": "x" * 300 + ".nc",
    "empty": "",
    "bytes": b"a.nc",
    "none": None,
    "a number": 3,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_no_file_has(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for use in (
        lambda: ok.save(example(), name),
        lambda: ok.open(name),
        lambda: ok.load_scenario(name),
    ):
        with pytest.raises(ok.StoreError) as info:
            use()
        assert info.value.remedy
        str(info.value).encode()  # can be printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["not UTF-8", "too long"])  # the others come from no shell
def test_commands_with_such_names(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(SCENARIO)
    ok.save(example(), "a.nc")
    name = BAD_NAMES[kind]
    for arguments in (
        ["show", name],
        ["validate", name],
        ["run", name, "-o", "b.nc"],
        ["run", "s.toml", "-o", name],
        ["plot", name, "-o", "a.png"],
    ):
        assert cli.main(arguments) == 3
        assert capsys.readouterr().err.startswith("odekit: ")


@pytest.mark.parametrize("name", ["x.csv", "x", "x.NC", "x.h5", "x.nc.gz", ".nc"])
def test_only_what_the_command_writes_is_saved(tmp_path, name):
    with pytest.raises(ok.StoreError, match=r"Name it \.nc"):
        ok.save(example(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_what_exists_is_told_as_python_does(tmp_path, name):
    ok.save(example(), tmp_path / name)
    with pytest.raises(FileExistsError) as info:
        ok.save(example(), tmp_path / name)
    assert isinstance(info.value, ok.StoreError)


# ----------------------------------------------------------------------------------------- labels

LABELS = {
    "beyond 64 bits": ([2**64, 2**65], "whole numbers beyond 64 bits"),
    "below": ([-(2**63) - 1, 0], "whole numbers beyond 64 bits"),
    "dates": (np.array(["2020-01-01", "2021-01-01"], "M8[ns]"), "datetime64"),
    "durations": (np.array([1, 2], "m8[s]"), "timedelta64"),
    "days": ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], "type object"),
    "complex": ([1j, 2.0], "complex128"),
    "halves": (np.array([1, 2], "f2"), "float16"),
    "long doubles": (np.array([1, 2], "g"), "float128|longdouble"),
    "surrogates": (["\ud800", "a"], "valid Unicode"),
    "NUL": (["a\0b", "c"], "valid Unicode"),
    "bytes": ([b"a", b"b"], "type .S1"),
}


@pytest.mark.filterwarnings("ignore:`pandas.Index` does not support the `float16`")
@pytest.mark.parametrize(("labels", "words"), LABELS.values(), ids=LABELS)
def test_labels_that_no_file_can_hold_are_refused_before_any_work(labels, words):
    rates = xr.DataArray([0.1, 0.5], dims="eta", coords={"eta": labels})
    with pytest.raises(ok.ProblemError, match=words):
        ok.Phase("main", 1.0, rates)


@pytest.mark.parametrize("kind", ["f4", "i1", "u8", "?"])
def test_labels_that_files_hold(kind):
    rates = xr.DataArray([0.1, 0.5], dims="eta", coords={"eta": np.array([0, 1], kind)})
    assert ok.Phase("main", 1.0, rates).learning_rate.eta.dtype == kind


@pytest.mark.parametrize("labels", ["[18446744073709551616, 1]", "[2020-01-01, 2021-01-01]"])
def test_labels_of_scenarios(tmp_path, capsys, labels):
    rate = f'{{ over = "eta", values = [0.1, 0.5], labels = {labels} }}'
    text = SCENARIO.replace('{ over = "eta", geomspace = [0.1, 1.0, 20] }', rate)
    (tmp_path / "s.toml").write_text(text)
    assert cli.main(["run", str(tmp_path / "s.toml"), "-o", str(tmp_path / "a.nc")]) == 2
    assert "labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "times",
    [[True], [0.0, True], np.array([True]), ["1.0"], [None], [10**400], [1j], [[1.0]], True,
     np.array(["1970"], "M8[Y]"), np.array([1], "m8[s]"), "1"],
)  # fmt: skip
def test_times_that_are_no_numbers(times):
    with pytest.raises(ok.ProblemError, match="must be one axis of finite times"):
        output_times("t_eval", times, 1.0)


# --------------------------------------------------------------------------------------- leftovers

KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_store import example
from odekit.store.netcdf import save
ds = example(rows=30_000)
save(ds, sys.argv[1], overwrite=True)  # what is imported late is there
print("ready", flush=True)
while True:
    save(ds, sys.argv[1], overwrite=True)
"""


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_what_killed_saves_left_is_cleared_by_the_next(tmp_path, name):
    script, left = KILLED.format(tests=str(Path(__file__).parent)), 0
    for delay in (0.02, 0.05, 0.08, 0.11):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / name)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        left += bool(hidden(tmp_path))
    assert left
    ok.save(example(), tmp_path / name, overwrite=True)
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("what", ["save", "open"])
def test_only_what_no_living_process_owns_is_cleared(tmp_path, what):
    path = ok.save(example(), tmp_path / "a.nc")
    ours, theirs = beside(path), beside(tmp_path / "other.nc")
    above_any_process = 2**22 + 1
    gone = Path(str(ours).replace(f"-{os.getpid():x}-", f"-{above_any_process:x}-"))
    machine = ours.name.split(".")[3].split("-")[0]
    elsewhere = Path(str(gone).replace(machine, "0" * 8))
    for file in (ours, theirs, gone, elsewhere):
        file.write_text("half")
    if what == "save":
        ok.save(example(), path, overwrite=True)
    else:
        ok.open(path)
    assert not gone.exists()
    assert all(file.exists() for file in (ours, theirs, elsewhere))
