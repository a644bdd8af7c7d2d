"""Files that `open` must refuse: foreign, damaged, absurd, or reaching for other files."""

import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from odekit.base.errors import StoreError
from odekit.store.h5scan import strangeness
from odekit.store.netcdf import open as open_store
from odekit.store.netcdf import save
from test_store import assert_same, example

# -------------------------------------------------------------------------------- what is refused


def refused(path, words, **options):
    with pytest.raises(StoreError, match=words) as info:
        open_store(path, **options)
    assert str(path) in str(info.value)
    assert info.value.remedy


def test_foreign_files(tmp_path):
    (tmp_path / "text.nc").write_text(
        "CDF? no: just words, and enough of them to fill a superblock"
    )
    refused(tmp_path / "text.nc", "not a netCDF-4 file")
    (tmp_path / "empty.nc").write_bytes(b"")
    refused(tmp_path / "empty.nc", "not a netCDF-4 file")
    refused(tmp_path / "none.nc", "does not exist")
    refused(tmp_path, "is a folder")
    with netCDF4.Dataset(tmp_path / "other.nc", "w") as file:
        file.title = "of someone else"
    refused(tmp_path / "other.nc", "not of odekit")
    with netCDF4.Dataset(tmp_path / "three.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.title = "of someone else"
    refused(tmp_path / "three.nc", "not a netCDF-4 file")


def edit(path, change):
    with netCDF4.Dataset(path, "a") as file:
        change(file)
    return path


def test_newer_edited_and_grouped_files(tmp_path):
    def fresh(name):
        return save(example(), tmp_path / name)

    newer = edit(fresh("newer.nc"), lambda f: f.setncattr("odekit_schema_version", 99))
    refused(newer, r"layout 99.*pip install --upgrade")
    other = edit(fresh("other.nc"), lambda f: f.setncattr("odekit_problem", "{}"))
    refused(other, "match its checksum")
    grouped = edit(fresh("grouped.nc"), lambda f: f.createGroup("g"))
    refused(grouped, r"holds a part of unknown kind \(\d+\) in `g`")

    def set_q(file):
        file["Q"][0, 0, 0] = 7.0

    edited = edit(fresh("edited.nc"), set_q)
    refused(edited, "`Q` is not what was saved.*verify=False")
    assert open_store(edited, verify=False).Q[0, 0, 0] == 7.0


def test_added_and_dropped_variables_are_no_damage(tmp_path):
    def change(file):
        file.createVariable("mine", "f8", ("time",))[:] = 1.0
        file.setncattr("history", "edited by another tool")

    path = edit(save(example(), tmp_path / "a.nc"), change)
    assert open_store(path).mine.values.tolist() == [1.0] * 5


def test_absurd_sizes(tmp_path):
    path = save(example(), tmp_path / "a.nc")
    refused(path, r"declares \d+ bytes.*raise `max_bytes`", max_bytes=100)

    def bomb(file):
        file.createDimension("huge", 10**12)
        file.createVariable("bomb", "f8", ("huge",), compression="zlib", chunksizes=(2**20,))

    refused(edit(path, bomb), "declares 80000")


def test_a_chunk_larger_than_its_variable(tmp_path):
    def bomb(file):
        file.createDimension("rows", None)
        file.createVariable("bomb", "i1", ("rows",), compression="zlib", chunksizes=(2**31 - 1,))

    refused(edit(save(example(), tmp_path / "a.nc"), bomb), "declares", max_bytes=2**30)


def test_types_beyond_numbers_and_text(tmp_path):
    def texts(file):
        file.createVariable("note", str, ("task",))[:] = np.array(["a", "bc"], object)

    def pairs(file):
        kind = file.createCompoundType(np.dtype([("a", "f8"), ("b", "i4")]), "pair")
        file.createVariable("pairs", kind, ("task",))

    refused(edit(save(example(), tmp_path / "a.nc"), texts), "the variable `note` of a type")
    refused(edit(save(example(), tmp_path / "b.nc"), pairs), "`pairs` of a type")


def test_many_variables_and_attributes_are_walked_through(tmp_path):
    """Indices of more than one level, and attributes too long for a block of their heap."""
    ds = example().assign({f"v{i}": ("time", np.zeros(5)) for i in range(200)})
    ds = ds.assign_attrs({f"a{i}": "x" * (i * 37) for i in range(200)}, long="y" * 60_000)
    path = save(ds, tmp_path / "a.nc")
    data = path.read_bytes()
    assert all(data.count(block) > 1 for block in (b"BTIN", b"FHIB", b"BTHD"))
    assert strangeness(path) == ""
    assert_same(open_store(path), ds)


@pytest.mark.parametrize("part", [0.0001, 0.02, 0.5, 0.9, 0.9999])
def test_truncated_files(tmp_path, part):
    path = save(example(rows=20_000), tmp_path / "a.nc")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, "holds|not a netCDF-4 file")


FLIPS = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import numpy as np
from test_store import assert_same, example
from odekit.base.errors import StoreError
from odekit.store.netcdf import open as open_store
path, count = Path(sys.argv[1]), int(sys.argv[2])
data, good = path.read_bytes(), open_store(path)
rng = np.random.default_rng(0)
refused = 0
for position in rng.integers(0, 8 * len(data), count):
    broken = bytearray(data)
    broken[position // 8] ^= 1 << (position % 8)
    path.unlink()  # HDF5 may keep a file that it could not read, and answer from its memory
    path.write_bytes(broken)
    try:
        got = open_store(path)
    except StoreError:
        refused += 1
    else:
        assert_same(got, good)
print(refused)
"""


@pytest.mark.parametrize(("rows", "least"), [(5, 0.2), (3000, 0.9)])
def test_flipped_bits_never_give_wrong_numbers(tmp_path, rows, least):
    # A flipped bit in a gap of the file is harmless, and the rest is refused: nothing in between.
    # `least`: a share of the file that is in use for sure (a small file is gaps for the most part).
    path = save(example(rows=rows), tmp_path / "a.nc")
    script, count = FLIPS.format(tests=str(Path(__file__).parent)), 150
    # In a process of its own, which shows that the HDF5 library does not crash either.
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least * count


@pytest.mark.parametrize("name", ["time", "Q", "T", "readout", "n_rhs", "method"])
def test_a_flipped_bit_in_a_small_variable(tmp_path, name):
    ds = example()
    path = save(ds, tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    content = b"DOP853 -> Radau" if name == "method" else ds[name].values.tobytes()
    assert data.count(content) == 1
    data[data.index(content)] ^= 1
    path.write_bytes(data)
    refused(path, f"`{name}` is not what was saved")


# ---------------------------------------------------------------------- files that reach for files


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py (the test extra) makes the hostile files")


@pytest.fixture
def victim(tmp_path, h5py):
    """A file whose content must not get into a dataset."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["q"] = np.arange(3.0)
    np.arange(3.0).tofile(tmp_path / "secret.bin")
    return path


def hostile(tmp_path, h5py, change, **options):
    path = save(example(), tmp_path / "a.nc")
    with h5py.File(path, "a", **options) as file:
        change(file)
    return path


LIBRARIES = pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])


@LIBRARIES
@pytest.mark.parametrize("crowd", [0, 20])
@pytest.mark.parametrize("name", [b"q", b"ev\x01il", b"a\nb", b"a\tb", b"\x7f", b"\xff\xfe"])
def test_external_link(tmp_path, h5py, victim, libver, crowd, name):
    def change(file):
        def link(called):
            file.id.links.create_external(called, str(victim).encode(), b"/q")

        link(name)
        for i in range(crowd):  # many links move into a fractal heap
            link(f"q{i}".encode())

    refused(hostile(tmp_path, h5py, change, libver=libver), "an external link")


def test_external_link_with_a_long_name(tmp_path, h5py, victim):
    def change(file):  # a "huge object" of the heap
        file["n" * 6000] = h5py.ExternalLink(str(victim), "/q")

    refused(hostile(tmp_path, h5py, change), "an external link")


@pytest.mark.parametrize("target", ["/T", "/", "."])
def test_soft_links(tmp_path, h5py, target):
    def change(file):
        file["alias"] = h5py.SoftLink(target)

    refused(hostile(tmp_path, h5py, change), "a soft link")


def test_links_in_a_compressed_heap(tmp_path):
    path = save(example(), tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    # No tool here makes a group with filters: the length of their description is set by hand.
    data[data.index(b"FRHP\0") + 7] = 20
    path.write_bytes(data)
    refused(path, "a filtered fractal heap")


@LIBRARIES
@pytest.mark.parametrize("kind", ["f2", ">f2", "g", "c16", ">f8", ">i4", "?", "S3", "V5", "O"])
def test_types_that_netcdf_does_not_know(tmp_path, h5py, libver, kind):
    """A half, and a long double, made the netCDF library write where it must not."""

    def change(file):
        dtype = h5py.string_dtype() if kind == "O" else np.dtype(kind)
        file.create_dataset("odd", (3,), dtype)

    refused(hostile(tmp_path, h5py, change, libver=libver), "holds")


@LIBRARIES
def test_groups_and_second_links(tmp_path, h5py, libver):
    """Groups that contain themselves hung the library, trees of links filled the memory."""

    def itself(file):
        group = file.create_group("g")
        group["g"] = group

    def root(file):
        file["root"] = file["/"]

    def tree(file):
        inner = file.create_group("g0")
        for i in range(1, 30):
            outer = file.create_group(f"g{i}")
            outer["a"] = outer["b"] = inner
            inner = outer

    def twice(file):
        file["again"] = file["Q"]

    for change in (itself, root, tree, twice):
        refused(hostile(tmp_path, h5py, change, libver=libver), "holds")
        (tmp_path / "a.nc").unlink()


def test_committed_types_and_compact_layouts(tmp_path, h5py):
    def committed(file):
        file["type"] = np.dtype("f8")

    def compact(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"c", h5py.h5t.IEEE_F64LE, space, dcpl=plist)

    def filtered(file):
        file.create_dataset("z", (100,), "f8", chunks=(10,), compression="lzf")

    for change, words in ((committed, "holds"), (compact, "layout"), (filtered, "filter")):
        refused(hostile(tmp_path, h5py, change, libver=("v108", "v108")), words)
        (tmp_path / "a.nc").unlink()


def test_references_to_what_is_no_variable(tmp_path):
    """netCDF opens what the list of a variable's dimensions refers to, wherever it is."""
    path = save(example(), tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL\1")
    for i in range(10):  # objects of 8 bytes, each after a head of 16
        data[heap + 32 + 24 * i] ^= 8
    path.write_bytes(data)
    refused(path, "a reference to what is no variable")


@pytest.mark.parametrize(("position", "value"), [(8, 9), (9, 4), (12, 1)])
def test_superblock_beyond_the_search(tmp_path, position, value):
    path = save(example(), tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    data[position] = value
    path.write_bytes(data)
    refused(path, "an unusual HDF5 superblock")


def test_names_of_files_as_text_are_harmless(tmp_path):
    text = "HEAP FRHP GCOL OHDR \x01\x08\x40 ../secret.nc"
    ds = example().assign_attrs(note=text)
    assert open_store(save(ds, tmp_path / "a.nc")).attrs["note"] == text


def test_random_data_are_not_refused(tmp_path):
    rng = np.random.default_rng(0)
    ds = example().assign(noise=("x", rng.integers(0, 2**63, 500_000)))
    assert strangeness(save(ds, tmp_path / "a.nc")) == ""


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_external_storage(tmp_path, h5py, victim, libver):
    def change(file):
        secret = str(victim.with_suffix(".bin"))
        file.create_dataset("q", (3,), "f8", external=[(secret, 0, 24)])

    words = "external storage" if libver != "earliest" else "holds"
    refused(hostile(tmp_path, h5py, change, libver=libver), words)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_virtual_dataset(tmp_path, h5py, victim, libver):
    def change(file):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(victim), "q", shape=(3,))
        file.create_virtual_dataset("q", layout)

    words = "a virtual dataset" if libver == "latest" else "holds"
    refused(hostile(tmp_path, h5py, change, libver=libver), words)


def test_user_block(tmp_path, h5py):
    with h5py.File(tmp_path / "a.nc", "w", userblock_size=512) as file:
        file["q"] = 1.0
    refused(tmp_path / "a.nc", "unusual|not a netCDF-4 file")
