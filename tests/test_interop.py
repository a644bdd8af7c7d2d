"""Other tools read the files without loss: numbers to the bit, labels and attributes as written."""

import json
import shutil
import subprocess

import netCDF4
import numpy as np
import pytest

from odekit.base.status import Status
from odekit.store.netcdf import open as open_store
from odekit.store.netcdf import save
from test_store import example

pytestmark = pytest.mark.interop

TITLE = "Overlaps: η = ½, 'quoted' & \"double\""


@pytest.fixture
def ds():
    return example(rows=3, sweep=("eta",)).assign_attrs(title=TITLE, half=0.5, count=7)


@pytest.fixture
def path(ds, tmp_path):
    return save(ds, tmp_path / "run.nc")


def run(*command, **options):
    program = command[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_netcdf4(ds, path):
    with netCDF4.Dataset(path) as file:
        assert file.data_model == "NETCDF4"
        assert file.title == TITLE
        assert (file.half, file.count) == (0.5, 7)
        assert file["Q"].dimensions == ds.Q.dims
        assert np.asarray(file["Q"][:]).tobytes() == ds.Q.values.tobytes()
        assert file["status"].flag_meanings.split()[1] == "interrupted"
        # With `_Encoding` the library makes text of characters by itself.
        assert file["task"][:].tolist() == ["a", "β-task"]


def test_ncdump(ds, path):
    header = run("ncdump", "-h", str(path))
    assert "double Q(eta, time, student, student_other) ;" in header
    assert 'time:units = "1" ;' in header
    assert "string :" not in header  # NC_STRING attributes: Octave cannot read them
    assert "_FillValue" not in header
    labels = " ".join(run("ncdump", "-v", "task", str(path)).split())
    assert r'task = "a", "\316\262-task"' in labels  # ncdump's way to print UTF-8
    # 17 digits: every double to the bit
    text = run("ncdump", "-p", "9,17", "-v", "R", str(path)).split(" R =")[1]
    numbers = [float(x) for x in text.strip(" \n;}").replace(";", "").split(",")]
    assert np.array(numbers).tobytes() == ds.R.values.tobytes()


def test_nco(ds, path, tmp_path):
    copy = tmp_path / "copy.nc"
    run("ncks", str(path), str(copy))
    got = open_store(copy)  # also: the checksums still hold
    assert got.Q.values.tobytes() == ds.Q.values.tobytes()
    assert got.task.values.tolist() == ["a", "β-task"]
    assert got.attrs["title"] == TITLE
    assert got.attrs["odekit_problem"] == ds.attrs["odekit_problem"]
    run("ncap2", "-s", "total=Q.total($student,$student_other)", str(path), str(tmp_path / "b.nc"))
    total = open_store(tmp_path / "b.nc").total
    # NCO sums in another order: 4 numbers of size 1
    np.testing.assert_allclose(total, ds.Q.sum(["student", "student_other"]), atol=8e-16, rtol=0)


R_SCRIPT = """
suppressMessages(library(ncdf4))
nc <- nc_open(commandArgs(TRUE)[1])
cat(sprintf("%a", ncvar_get(nc, "Q")), sep = ",")
cat("\\n")
cat(sprintf("%a", ncvar_get(nc, "time")), sep = ",")
cat("\\n")
cat(ncvar_get(nc, "task"), sep = ",")
cat("\\n")
cat(ncatt_get(nc, 0, "title")$value)
cat("\\n")
cat(ncatt_get(nc, 0, "odekit_problem")$value)
cat("\\n")
cat(ncatt_get(nc, "status", "flag_values")$value, ncvar_get(nc, "status"))
"""


def test_r(ds, path, tmp_path):
    if shutil.which("Rscript"):
        found = subprocess.run(
            ["Rscript", "-e", "library(ncdf4)"], capture_output=True, check=False
        )
        if found.returncode:
            pytest.skip("R has no package ncdf4")
    script = tmp_path / "read.R"
    script.write_text(R_SCRIPT)
    q, time, task, title, problem, flags = run("Rscript", str(script), str(path)).splitlines()
    # R's arrays are column-major: the first dimension is the file's last.
    numbers = np.array([float.fromhex(x) for x in q.split(",")]).reshape(ds.Q.shape)
    assert numbers.tobytes() == ds.Q.values.tobytes()
    assert [float.fromhex(x) for x in time.split(",")] == ds.time.values.tolist()
    assert task == "a,β-task"
    assert title == TITLE
    assert problem == ds.attrs["odekit_problem"]
    assert [int(x) for x in flags.split()] == [*map(int, Status), 1, 1]


OCTAVE_SCRIPT = """
pkg load netcdf
f = argv(){1};
q = ncread(f, "Q");
printf("%s,", num2hex(q(:))'); printf("\\n");
printf("%s\\n", ncread(f, "task")(:, 1)');
printf("%s\\n", ncreadatt(f, "/", "title"));
printf("%s\\n", ncreadatt(f, "/", "odekit_problem"));
printf("%d ", ncreadatt(f, "status", "flag_values"), ncread(f, "status"));
info = ncinfo(f); printf("\\n%d\\n", numel(info.Variables));
"""


def test_octave(ds, path, tmp_path):
    if shutil.which("octave") and "netcdf" not in run("octave", "--eval", "pkg list"):
        pytest.skip("Octave has no package netcdf")
    script = tmp_path / "read.m"
    script.write_text(OCTAVE_SCRIPT)
    lines = run("octave", "--quiet", "--no-gui", str(script), str(path)).splitlines()
    q, task, title, problem, flags, count = lines[-6:]
    digits = q.replace(",", "")
    # Octave's arrays are column-major, as R's.
    numbers = np.frombuffer(bytes.fromhex(digits), ">f8").astype(float)
    assert numbers.tobytes() == ds.Q.values.tobytes()
    assert task.rstrip("\0 ") == "a"
    assert title == TITLE
    assert json.loads(problem) == json.loads(ds.attrs["odekit_problem"])
    assert [int(x) for x in flags.split()] == [*map(int, Status), 1, 1]
    assert int(count) == len(ds.variables)
