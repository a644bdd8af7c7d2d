"""Zarr folders as damage and edits leave them: refused, or the very numbers; commands take them."""

import contextlib
import json
import shutil

import numpy as np
import pytest

import odekit as ok
from odekit import cli
from odekit.store.zarrcheck import check_tree, counts_of
from odekit.store.zarrmanifest import MANIFEST, write
from sweeps import assert_same, labelled, sweep
from test_zarr import interrupted_grid


def single():
    return sweep().replace(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        phases=[ok.Phase("main", 1.0, 0.5)],
    )


def one_dim(runs=5):
    rates = labelled("eta", np.linspace(0.1, 1.3, runs))
    return single().replace(phases=[ok.Phase("main", 1.0, rates), ok.Phase("main", 1.0, 0.1)])


def three_dims():
    noise = labelled("sigma", [0.0, 0.1])
    task = ok.Task(readout=[1.0], noise_std=noise)
    return sweep(etas=3, draws=2).replace(tasks={"main": task})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "grid.zarr"
    ok.solve(sweep(), store=path, chunk_size=5)
    return path


@pytest.fixture
def stored(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "grid.zarr")


PROBLEMS = {
    "single": single,
    "one dim": one_dim,
    "one long dim": lambda: one_dim(30),
    "two dims": lambda: sweep(etas=12, draws=3),
    "three dims": three_dims,
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_command_takes_a_store(name, tmp_path, capsys):
    problem = PROBLEMS[name]()
    path, file = tmp_path / "a.zarr", tmp_path / "a.nc"
    ok.save(ok.solve(problem), file)
    if name == "single":
        ok.save(ok.solve(problem), path)
    else:
        ok.solve(problem, store=path, chunk_size=4)
    said = {}
    for source in (path, file):
        picture = tmp_path / f"{source.name}.png"
        assert cli.main(["plot", str(source), "-o", str(picture)]) == 0
        capsys.readouterr()
        for command in ("show", "validate"):
            assert cli.main([command, str(source)]) == 0
            said[command, source.name] = capsys.readouterr().out
        assert cli.main(["run", str(source), "-o", str(tmp_path / f"{source.name}.zarr")]) == 0
        assert_same(ok.open(tmp_path / f"{source.name}.zarr"), ok.open(file))
    for command in ("show", "validate"):
        assert said[command, "a.zarr"] == said[command, "a.nc"]
    assert (tmp_path / "a.zarr.png").read_bytes() == (tmp_path / "a.nc.png").read_bytes()


def test_what_is_not_finished_says_so(tmp_path, capsys):
    path = tmp_path / "grid.zarr"
    interrupted_grid(path)
    for name in (path, tmp_path / "grid.zarr.part"):
        assert cli.main(["show", str(name)]) == 0
        assert "Unfinished" in capsys.readouterr().out
        for command in (["validate"], ["plot", "-o", str(tmp_path / "p.png")]):
            assert cli.main([command[0], str(name), *command[1:]]) == 3
            assert "is not finished" in capsys.readouterr().err


def test_a_run_killed_while_it_wrote_the_manifest_goes_on(tmp_path):
    path, times = tmp_path / "grid.zarr", np.linspace(0.0, 2.0, 5)
    interrupted_grid(path)
    data = tmp_path / "grid.zarr.part" / "data"
    write(data, counts_of(check_tree(data, 2**62, complete=False)))
    assert_same(ok.solve(sweep(), t_eval=times, store=path), ok.solve(sweep(), t_eval=times))
    assert ok.open(path).status.values.tolist() == [[0] * 6] * 4


# --------------------------------------------------------------------------------------- manifest


def refuse(path, match):
    with pytest.raises(ok.StoreError, match=match) as info:
        ok.open(path)
    assert info.value.remedy


def exchange(a, b):
    data = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(data)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("status/c/0/0", "status/c/1/0"),
        ("Q/c/0/0/0/0/0", "Q/c/1/1/0/0/0"),
        ("n_steps/c/0/0", "n_rhs/c/0/0"),
        ("method/c/0/0/0", "method/c/2/0/0"),
        ("eta/c/0", "time/c/0"),
    ],
)
def test_exchanged_chunks_are_refused(stored, a, b):
    # Statuses and methods are all alike: make them differ, as the writer would have.
    same = (stored / a).read_bytes() == (stored / b).read_bytes()
    if (stored / a).stat().st_size != (stored / b).stat().st_size:
        exchange(stored / a, stored / b)
        refuse(stored, "has not the size")
        return
    exchange(stored / a, stored / b)
    if same:
        assert ok.open(stored).status.values.tolist() == [[0] * 6] * 4
    else:
        refuse(stored, r"is not what was written: \d of \d+ chunks of `\w+` are others")


def test_flipped_bits_in_documents_are_refused(stored):
    rng = np.random.default_rng(0)
    for file in sorted(stored.rglob("zarr.json")):
        good = file.read_bytes()
        for bit in rng.integers(0, 8 * len(good), 12):
            broken = bytearray(good)
            broken[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(broken)
            if file.parent.name == MANIFEST:  # says nothing of the data: refused, or opened right
                with contextlib.suppress(ok.StoreError):
                    ok.open(stored)
            else:
                refuse(stored, None)
        file.write_bytes(good)
    ok.open(stored)


def test_the_manifest_itself_may_not_be_lost(stored):
    chunk = stored / MANIFEST / "c" / "0"
    good = chunk.read_bytes()
    for position in np.linspace(0, len(good) - 5, 50).astype(int):
        broken = bytearray(good)
        broken[position] ^= 1
        chunk.write_bytes(broken)
        refuse(stored, "manifest|not what was written|stored as odekit does not")
    chunk.write_bytes(good)
    shutil.rmtree(stored / "R")
    refuse(stored, "`R` is missing")
    shutil.rmtree(stored / MANIFEST)
    refuse(stored, "lost its manifest")


@pytest.mark.parametrize("command", ["show", "validate", "plot", "run"])
@pytest.mark.parametrize("name", ["generalization_error", "status"])
def test_commands_say_which_chunk_is_damaged(stored, tmp_path, capsys, command, name):
    for chunk in (p for p in (stored / name / "c").rglob("*") if p.is_file()):
        data = bytearray(chunk.read_bytes())
        data[0] ^= 1
        chunk.write_bytes(data)
    more = ["-o", str(tmp_path / ("a.png" if command == "plot" else "a.nc"))]
    code = cli.main([command, str(stored), *(more if command in ("plot", "run") else [])])
    if command == "run":  # needs the problem alone
        assert code == 0
        return
    assert code == 3
    assert f"`{name}`[" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "[" * 100_000, "", "{"])
@pytest.mark.parametrize("name", ["", "Q"])
def test_documents_that_are_no_objects(stored, name, text):
    (stored / name / "zarr.json").write_text(text)
    refuse(stored, "could not be read|not Zarr of version 3")


@pytest.mark.parametrize(
    "key", ["codecs", "chunk_grid", "chunk_key_encoding", "data_type", "shape", "dimension_names"]
)
def test_parts_of_documents_of_another_type(stored, key):
    data = json.loads((stored / "Q" / "zarr.json").read_text())
    for value in (None, 3, "x", [], [3], {}, {"name": "regular"}, [[]]):
        (stored / "Q" / "zarr.json").write_text(json.dumps({**data, key: value}))
        refuse(stored, None)


def without_manifest(path):
    """As earlier versions wrote it."""
    shutil.rmtree(path / MANIFEST)
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"][MANIFEST]
    (path / "zarr.json").write_text(json.dumps(root))
    return path


def test_stores_of_earlier_versions_open_and_say_so(stored, whole):
    with pytest.warns(UserWarning, match="earlier odekit.*no manifest.*save it again"):
        old = ok.open(without_manifest(stored))
    assert_same(old, ok.open(whole))
    again = ok.save(old, stored.with_name("again.zarr"))
    assert_same(ok.open(again), ok.open(whole))


def test_edits_are_refused_unless_told(stored, whole):
    import zarr

    zarr.open_group(stored, mode="r+", use_consolidated=False).attrs["note"] = "mine"
    refuse(stored, "`zarr.json` has changed.*verify=False")
    edited = ok.open(stored, verify=False)
    assert edited.attrs["note"] == "mine"
    assert_same(ok.open(ok.save(edited, stored.with_name("b.zarr"))), ok.open(whole))
