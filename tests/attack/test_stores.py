"""Damaged Zarr folders: flipped bits, files cut off, exchanged, removed, added."""

import itertools
import shutil

import numpy as np
import pytest

import odekit as ok
from counts import judged
from isolated import outcomes
from sweeps import sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.zarr"
    ok.solve(sweep(), store=path, chunk_size=5, t_eval=np.linspace(0.0, 2.0, 5))
    return path


@pytest.fixture
def broken(good, tmp_path):
    return shutil.copytree(good, tmp_path / "broken.zarr")


def files(folder, name="*"):
    return sorted(p for p in folder.rglob(name) if p.is_file())


def damaged(broken, damages):
    """The folder after each damage in turn, which is undone before the next."""
    for file, damage in damages:
        data = file.read_bytes()
        file.write_bytes(damage(bytearray(data)))
        yield broken
        file.write_bytes(data)


def flip(bit):
    def damage(data):
        place = int(bit) % (8 * len(data))
        data[place // 8] ^= 1 << (place % 8)
        return data

    return damage


def test_flipped_bits(good, broken):
    rng, there = np.random.default_rng(1), files(broken)
    damages = [(there[rng.integers(len(there))], flip(rng.integers(2**40))) for _ in range(80)]
    judged("flipped bits of a store", outcomes(good, damaged(broken, damages)), 0.9)


def test_flipped_bits_of_documents(good, broken):
    rng, there = np.random.default_rng(2), files(broken, "zarr.json")
    there = [f for f in there if f.parent.name != "odekit_manifest"]
    damages = [(f, flip(rng.integers(2**40))) for f in there for _ in range(3)]
    judged("flipped bits of documents", outcomes(good, damaged(broken, damages)), 1.0)


def test_exchanged_chunks(good, broken):
    there = [f for f in files(broken) if f.name != "zarr.json"]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(there, 2)
        if a.stat().st_size == b.stat().st_size and a.read_bytes() != b.read_bytes()
    ]
    chosen = np.random.default_rng(3).permutation(len(pairs))[:50]

    def exchanged():
        for a, b in (pairs[i] for i in chosen):
            first, second = a.read_bytes(), b.read_bytes()
            a.write_bytes(second)
            b.write_bytes(first)
            yield broken
            a.write_bytes(first)
            b.write_bytes(second)

    judged("exchanged chunks", outcomes(good, exchanged()), 1.0)


def test_files_cut_off_emptied_or_gone(good, broken):
    rng, there = np.random.default_rng(4), files(broken)
    chosen = [there[i] for i in rng.permutation(len(there))[:30]]
    half = [(f, lambda data: data[: len(data) // 2]) for f in chosen]
    empty = [(f, lambda data: b"") for f in chosen[:10]]
    judged("files cut off", outcomes(good, damaged(broken, half + empty)), 0.95)

    def gone():
        for file in chosen[:20]:
            data = file.read_bytes()
            file.unlink()
            yield broken
            file.write_bytes(data)

    judged("files gone", outcomes(good, gone()), 1.0)
