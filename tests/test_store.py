"""Files: what is saved comes back exactly, and what is not a sound file of ours is refused."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from committees import REGISTRY, assemble, provenance
from odekit.base.errors import ProblemError, StoreError
from odekit.base.status import Outcome, Status
from odekit.dataset.assemble import check
from odekit.dataset.common import document
from odekit.dataset.provenance import problem_of
from odekit.store.encode import encode
from odekit.store.netcdf import open as open_store
from odekit.store.netcdf import save

PROBLEM = {"activation": "erf", "state": {"Q": [[0.1, 0.0], [0.0, 0.3]]}, "phases": [1e4, 0.1]}


def example(rows=5, sweep=(), seed=0):
    rng = np.random.default_rng(seed)
    lead = tuple(range(2, 2 + len(sweep)))

    def noise(*shape):
        return rng.standard_normal((*lead, *shape))

    arrays = {
        "Q": noise(rows, 2, 2),
        "R": noise(rows, 2, 3),
        "T": noise(3, 3) if sweep else np.eye(3),
        "readout": noise(rows, 2, 2),
        "generalization_error": noise(rows, 2),
        "test_error": noise(rows, 2),
        "misclassification": noise(rows, 2),
        "phase": np.arange(rows) // 3,
        "status": np.full(lead, Status.INTERRUPTED),
        "t_last": np.full(lead, 4.0),
        "n_steps": np.full(lead, 17.0),
        "n_rhs": np.full(lead, 987_654_321),
        "n_jac": np.full(lead, 0),
        "phase_end": noise(2),
        "phase_end_error": noise(2, 2),
        "phase_outcome": np.full((*lead, 2), Outcome.STEADY),
        "quadrature_nodes": np.full(lead, 64),
        "quadrature_error": noise(),
        "method": ["DOP853", "DOP853 -> Radau"],
    }
    coords = {"time": np.linspace(0, 4, rows), "head": ["a", "b"], "task": ["a", "β-task"]}
    coords |= {
        name: np.linspace(0.1, 1, n) if name != "replica" else np.arange(n)
        for name, n in zip(sweep, lead, strict=True)
    }
    return assemble(arrays, coords, provenance(PROBLEM, "An example"), sweep)


def assert_same(got, wanted):
    """Equal to the bit: values, types, dimensions, coordinates, attributes."""
    assert set(got.variables) == set(wanted.variables)
    assert set(got.coords) == set(wanted.coords)
    assert dict(got.sizes) == dict(wanted.sizes)
    assert_same_attributes(got.attrs, wanted.attrs)
    for name, variable in wanted.variables.items():
        other = got.variables[name]
        assert other.dims == variable.dims
        assert other.dtype == variable.dtype, name
        assert other.values.tobytes() == np.ascontiguousarray(variable.values).tobytes(), name
        assert_same_attributes(other.attrs, variable.attrs)


def assert_same_attributes(got, wanted):
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert np.array_equal(got[name], value), name
        if isinstance(value, str | int | float):
            assert type(got[name]) is type(value), name


# ------------------------------------------------------------------------------------- the dataset


def test_example_follows_the_registry():
    assert check(example()) == []
    assert check(example(sweep=("eta", "sigma"))) == []
    assert set(REGISTRY) <= set(example(sweep=("replica",)).variables)
    assert all(f"`{name}`" in document(REGISTRY) for name in REGISTRY)


def test_flags_are_described():
    status = example().status
    assert status.attrs["flag_values"].tolist() == [int(s) for s in Status] == list(range(10))
    assert status.attrs["flag_values"].dtype == np.int8
    assert status.attrs["flag_meanings"].split()[4] == "stalled"
    assert all(flag.meaning for flag in (*Status, *Outcome))
    assert all(flag.remedy for flag in Status if flag != Status.COMPLETED)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.drop_vars("R"), "`R` is missing"),
        (lambda ds: ds.assign(Q=ds.Q.transpose()), "`Q` must have dimensions"),
        (lambda ds: ds.assign(Q=ds.Q.astype("float32")), "`Q` must be of type float64"),
        (lambda ds: ds.assign(R=ds.R.assign_attrs(units="m")), "`R` must have no units"),
        (lambda ds: ds.assign_coords(time=ds.time.copy(data=ds.time.values[::-1])), "strictly"),
        (lambda ds: ds.assign(status=ds.status + np.int8(90)), "without a meaning: [91]"),
        (lambda ds: ds.assign_coords(task=ds.task.copy(data=["a", "a"])), "not repeat a label"),
        (lambda ds: ds.assign_attrs(odekit_problem="{}"), "must match its checksum"),
        (lambda ds: ds.drop_attrs(deep=False), "must name CF"),
    ],
)
def test_check_finds(change, words):
    with xr.set_options(keep_attrs=True):
        changed = change(example())
    assert any(words in sentence for sentence in check(changed)), check(changed)


def test_assemble_refuses_wrong_dimensions():
    with pytest.raises(ProblemError, match=r"`Q` must have dimensions .*got 2 dimensions"):
        assemble({"Q": np.eye(2)}, {"time": [0.0]}, {})
    with pytest.raises(ProblemError, match="`mine` needs its dimensions named"):
        assemble({"mine": np.eye(2)}, {"time": [0.0]}, {})
    with pytest.raises(ProblemError, match="whole numbers"):
        assemble({"n_steps": 0.5}, {"time": [0.0]}, {})


def test_problem_survives_and_is_checked(tmp_path):
    path = save(example(), tmp_path / "a.nc")
    assert problem_of(open_store(path)) == PROBLEM
    with pytest.raises(ProblemError, match="finite numbers"):
        provenance({"a": float("nan")})


# -------------------------------------------------------------------------------------- round trip


def test_round_trip(tmp_path):
    ds = example(sweep=("eta", "sigma"))
    path = save(ds, tmp_path / "a.nc")
    assert_same(open_store(path), ds)
    assert_same(open_store(save(open_store(path), tmp_path / "b.nc")), ds)


def test_xarray_reads_the_same(tmp_path):
    ds = example().assign_coords(angle=("task", [0.1, 0.2]), label="x")
    with xr.open_dataset(save(ds, tmp_path / "a.nc")) as got:
        xr.testing.assert_equal(got.load(), ds)
        assert set(got.coords) == set(ds.coords)


def test_large_variables_are_compressed_with_a_checksum(tmp_path):
    ds = example(rows=20_000)
    path = save(ds, tmp_path / "a.nc")
    with netCDF4.Dataset(path) as file:
        assert file["Q"].filters()["fletcher32"]
        assert not file["T"].filters()["fletcher32"]
        assert all("_FillValue" not in v.ncattrs() for v in file.variables.values())
    assert_same(open_store(path), ds)


NUMBERS = st.sampled_from(["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)
ATTRIBUTE = st.one_of(
    TEXT,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=4),
)


@st.composite
def extended(draw):
    """A result with variables, coordinates and attributes of its user's."""
    ds = example(rows=2)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    dims = [f"d{i}_{n}" for i, n in enumerate(shape)]
    values = draw(hnp.arrays(draw(NUMBERS), shape))
    texts = draw(hnp.arrays(object, shape, elements=TEXT)).astype(np.str_)
    attrs = draw(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), ATTRIBUTE))
    ds["mine"] = xr.Variable(dims, values, attrs)
    ds = ds.assign_coords(named=xr.Variable(dims, texts))
    return ds.assign_attrs({f"my_{k}": v for k, v in attrs.items()})


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(ds=extended())
def test_any_extension_round_trips(ds, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.nc"
    got = open_store(save(ds, path))
    for name in ("mine", "named"):
        assert got[name].dims == ds[name].dims
        assert got[name].dtype == ds[name].dtype or ds[name].dtype.kind == "U"
    assert got["mine"].values.tobytes() == ds["mine"].values.tobytes()
    assert got["named"].values.tolist() == ds["named"].values.tolist()
    for owner, other in ((got, ds), (got["mine"], ds["mine"])):
        for key, value in other.attrs.items():
            assert np.array_equal(owner.attrs[key], value, equal_nan=isinstance(value, float))


def test_attributes_of_other_types(tmp_path):
    given = {"yes": True, "none": None, "nested": {"a": [1, None, "b"]}, "words": ["a", "b"]}
    got = open_store(save(example().assign_attrs(given), tmp_path / "a.nc")).attrs
    assert got["yes"] == 1
    assert "none" not in got
    assert got["nested"] == '{"a": [1, null, "b"]}'
    assert got["words"] == '["a", "b"]'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.assign(z=ds.Q * 1j), r"`z` of type complex128 .*\.real"),
        (lambda ds: ds.assign(z=ds.Q.astype("f2")), r"`z` of type float16 .*astype"),
        (lambda ds: ds.assign(z=ds.Q.astype("M8[ns]")), "`z` of type datetime64"),
        (lambda ds: ds.assign(z=("task", np.array([1, "a"], object))), "`z` of type object"),
        (lambda ds: ds.assign(z=("task", ["a", "\ud800"])), "`z` holds text that is not valid"),
        (lambda ds: ds.assign({"a/b": 1}), r"'a/b' must be named by letters.*rename"),
        (lambda ds: ds.assign({"a b": 1}), r"'a b' must be named by letters"),
        (lambda ds: ds.rename(task="t t"), "dimension 't t' must be named by letters"),
        (lambda ds: ds.assign_attrs(x=1j), "attribute `x` of the dataset is a complex"),
        (lambda ds: ds.assign_attrs(x=2**70), "`x` of the dataset is an integer beyond 64"),
        (lambda ds: ds.assign_attrs(x="a\0b"), "holds a NUL"),
        (lambda ds: ds.assign_attrs(x={"a": object()}), "cannot be written as JSON"),
        (lambda ds: ds.assign_attrs(scale_factor=2.0), "netCDF uses for itself"),
        (lambda ds: ds.drop_attrs(), "does not say what it solves.*keep|Keep the attributes"),
        (lambda ds: ds.Q, "only a Dataset can be saved"),
    ],
)
@pytest.mark.filterwarnings("ignore:Converting non-nanosecond")
def test_what_does_not_fit_is_refused_before_there_is_a_file(tmp_path, change, words):
    with pytest.raises(StoreError, match=words):
        save(change(example()), tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------- targets


def test_targets_that_cannot_be(tmp_path):
    ds = example()
    path = save(ds, tmp_path / "a.nc")
    old = path.read_bytes()
    with pytest.raises(StoreError, match=r"exists already.*`overwrite=True`"):
        save(ds, path)
    assert path.read_bytes() == old
    with pytest.raises(StoreError, match="folder does not exist"):
        save(ds, tmp_path / "no" / "a.nc")
    with pytest.raises(StoreError, match="is a folder"):
        save(ds, tmp_path)
    with pytest.raises(StoreError, match="not a regular file"):
        save(ds, "/dev/null", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_overwrite_keeps_mode_and_links(tmp_path):
    path = save(example(), tmp_path / "a.nc")
    path.chmod(0o640)
    link = tmp_path / "link.nc"
    link.symlink_to(path)
    save(example(seed=1), link, overwrite=True)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert_same(open_store(path), example(seed=1).assign_attrs(open_store(path).attrs))


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(example(), tmp_path / "a.nc")
    old = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("odekit.store.files._sync", full)
    with pytest.raises(StoreError, match=r"No space left.*space on the disk"):
        save(example(seed=1), path, overwrite=True)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_leftovers_of_killed_saves_go(tmp_path):
    stale, fresh = tmp_path / ".a.nc.0123.tmp", tmp_path / ".a.nc.4567.tmp"
    for path in (stale, fresh):
        path.write_text("half")
    os.utime(stale, (0, 0))
    save(example(), tmp_path / "a.nc")
    assert not stale.exists()
    assert fresh.exists()


def test_threads_take_turns(tmp_path):
    ds, failures = example(), []

    def work(i):
        try:
            for j in range(5):
                assert_same(open_store(save(ds, tmp_path / f"{i}-{j}.nc")), ds)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_store import example
from odekit.store.netcdf import save
ds = example(rows=30_000, seed=1)
print("ready", flush=True)
while True:
    save(ds, sys.argv[1], overwrite=True)
"""


@pytest.mark.parametrize(("existing", "delay"), [(True, 0.03), (True, 0.1), (False, 0.05)])
def test_kill_leaves_the_old_file_or_the_new_one(tmp_path, existing, delay):
    path = tmp_path / "a.nc"
    old = example()
    if existing:
        save(old, path)
    script = KILLED.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.kill()
    if path.exists():
        got = open_store(path)
        wanted = old if got.sizes["time"] == 5 else example(rows=30_000, seed=1)
        assert_same(got, wanted.assign_attrs(got.attrs))
    else:
        assert not existing


def test_plan_needs_no_file(tmp_path):
    plan = encode(example(), StoreError)
    assert plan.sizes["time"] == 5
    assert {item.name for item in plan.items} == set(example().variables)
