"""Damaged netCDF files, and HDF5 files that were made to do harm."""

import numpy as np
import pytest

import odekit as ok
from counts import judged
from isolated import outcomes
from test_store import example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[5, 3000], ids=["small", "large"])
def good(request, tmp_path_factory):
    return ok.save(example(rows=request.param), tmp_path_factory.mktemp("good") / "good.nc")


def copies(good, tmp_path, damages):
    """Damaged copies, each in the place of the one before but under a name of its own."""
    data = good.read_bytes()
    for i, damage in enumerate(damages):
        path = tmp_path / f"{i}.nc"
        path.write_bytes(damage(bytearray(data)))
        yield path
        path.unlink()


def flip(bits):
    def damage(data):
        for bit in bits:
            place = int(bit) % (8 * len(data))
            data[place // 8] ^= 1 << (place % 8)
        return data

    return damage


def test_flipped_bits(good, tmp_path):
    rng = np.random.default_rng(1)
    damages = [flip(rng.integers(0, 2**40, 1)) for _ in range(400)]
    judged("flipped bits", outcomes(good, copies(good, tmp_path, damages)), 0.15)


def test_bursts_of_bits(good, tmp_path):
    rng = np.random.default_rng(2)
    damages = [flip(rng.integers(0, 2**40, 50)) for _ in range(100)]
    judged("bursts of 50 bits", outcomes(good, copies(good, tmp_path, damages)), 0.9)


def test_bits_of_the_structure(good, tmp_path):
    """Near the signatures of what the library walks through."""
    data, rng = good.read_bytes(), np.random.default_rng(3)
    marks = [b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"TREE", b"GCOL"]
    places = [i for m in marks for i in range(len(data)) if data.startswith(m, i)]
    near = [8 * (int(rng.choice(places)) + int(rng.integers(0, 200))) for _ in range(400)]
    damages = [flip([bit + int(rng.integers(0, 8))]) for bit in near]
    judged("bits of the structure", outcomes(good, copies(good, tmp_path, damages)), 0.3)


def test_truncation_and_zeros(good, tmp_path):
    rng, damages = np.random.default_rng(4), []
    for part in rng.random(60):
        damages.append(lambda data, p=part: data[: int(p * len(data))])

    def zeros(start):
        def damage(data):
            at = int(start * len(data)) // 512 * 512
            data[at : at + 512] = bytes(len(data[at : at + 512]))
            return data

        return damage

    damages += [zeros(start) for start in rng.random(60)]
    judged("cut off, or a sector of zeros", outcomes(good, copies(good, tmp_path, damages)), 0.4)


# ---------------------------------------------------------------------------------------- crafted


def crafted(h5py, secret):
    """Changes of a file that odekit never makes: each must be refused."""
    f8 = np.dtype("f8")

    def link(name, path):
        return lambda f: f.id.links.create_external(name, str(secret).encode(), path)

    def loop(f):
        group = f.create_group("g")
        group["g"] = group

    def tree(f):
        inner = f.create_group("g0")
        for i in range(1, 30):
            outer = f.create_group(f"g{i}")
            outer["a"] = outer["b"] = inner
            inner = outer

    def virtual(f):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "q", shape=(3,))
        f.create_virtual_dataset("q", layout)

    def reference(f):
        f.create_dataset("r", (1,), h5py.ref_dtype)[0] = f["Q"].ref

    yield from (link(bytes([c]) + b"x", b"/q") for c in (*range(1, 32), 127, 128, 255))
    yield from (lambda f, c=c: f.__setitem__(f"s{c}", h5py.SoftLink(c)) for c in ("/Q", "/", "."))
    yield from (loop, tree, virtual, reference)
    kinds = ["f2", ">f2", "g", ">f4", ">i8", "c8", "c16", "S7", "V3", "?", [("a", f8), ("b", f8)]]
    yield from (lambda f, k=k: f.create_dataset("odd", (3,), np.dtype(k)) for k in kinds)
    odd = [h5py.string_dtype(), h5py.vlen_dtype(f8), h5py.enum_dtype({"a": 1})]
    yield from (lambda f, k=k: f.create_dataset("odd", (3,), k) for k in odd)
    yield from (
        lambda f, k=k: f["Q"].attrs.create("odd", [1], dtype=np.dtype(k)) for k in kinds[:3]
    )
    yield lambda f: f.create_dataset("q", (3,), "f8", external=[(str(secret), 0, 24)])
    yield lambda f: f.create_dataset("q", (9,), "f8", chunks=(3,), compression="lzf")
    yield lambda f: f.create_dataset("q", (9,), "f8", chunks=(3,), scaleoffset=2)
    yield lambda f: f.__setitem__("again", f["Q"])
    yield lambda f: f.__setitem__("root", f["/"])
    yield lambda f: f.__setitem__("type", f8)


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_crafted_files(tmp_path, libver):
    h5py = pytest.importorskip("h5py", reason="h5py (the test extra) makes the hostile files")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["q"] = np.arange(3.0)
    good = ok.save(example(), tmp_path / "good.nc")

    def made():
        for i, change in enumerate(crafted(h5py, secret)):
            path = tmp_path / f"{i}.nc"
            path.write_bytes(good.read_bytes())
            with h5py.File(path, "a", libver=libver) as file:
                change(file)
            yield path

    judged(f"crafted files ({libver})", outcomes(good, made()), 1.0)
