"""The disk cache of compiled kernels: never old code, never damaged code, never anyone else's."""

import gc
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numba.core import event
from numba.core.errors import TypingError

import odekit_kernels
from odekit_kernels._jit import NO_JIT, OBJECTS, kernel

HELPER = """
from odekit_kernels._jit import inner, kernel

@{decorator}
def helper(x):
    return {expression}
"""
CALLER = """
from typing import NamedTuple
import numpy as np
from odekit_kernels._jit import kernel
from odekit_kernels.moments.helper import helper

class System(NamedTuple):
    scale: float
    values: np.ndarray

@kernel
def total(system):
    s = 0.0
    for x in system.values:
        s += helper(x)
    return system.scale * s
"""
RUN = """
import json, warnings
warnings.simplefilter("error")
import numpy as np
from numba.core import event
from odekit_kernels import _jit
from odekit_kernels.caller import System, total
with event.install_recorder("numba:compile") as recorder:
    value = total(System(2.0, np.arange(3.0)))
stats = getattr(total, "stats", None)
print(json.dumps({
    "value": value,
    "compiled": sum(1 for _, e in recorder.buffer if e.is_start),
    "hits": sum(stats.cache_hits.values()) if stats else None,
    "directory": None if _jit.cache_directory() is None else str(_jit.cache_directory()),
}))
"""


class Package:
    """A copy of the decorator with two kernels, one calling the other from another file."""

    def __init__(self, folder):
        self.root = folder / "odekit_kernels"
        self.cache = folder / "cache"
        (self.root / "moments").mkdir(parents=True)
        (self.root / "__init__.py").touch()
        (self.root / "moments" / "__init__.py").touch()
        for name in ("_jit.py", "_linked.py"):
            shutil.copy(Path(odekit_kernels.__file__).parent / name, self.root)
        (self.root / "caller.py").write_text(CALLER)
        self.write_helper("x + 1.0")

    def write_helper(self, expression, decorator="kernel"):
        text = HELPER.format(expression=expression, decorator=decorator)
        (self.root / "moments" / "helper.py").write_text(text)

    def run(self, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG"))}
        env |= {"PYTHONPATH": str(self.root.parent), "NUMBA_CACHE_DIR": str(self.cache)}
        env |= environment
        done = subprocess.run(
            [sys.executable, "-B", "-c", RUN], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def files(self):
        return sorted(self.cache.rglob("*.kernel"))


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


def test_warm_start_compiles_nothing(package):
    cold = package.run()
    assert cold["value"] == 2.0 * (1 + 2 + 3)
    assert (cold["hits"], cold["compiled"] > 0) == (0, True)
    warm = package.run()
    assert warm["value"] == cold["value"]
    assert (warm["hits"], warm["compiled"]) == (1, 0)


def test_what_a_named_tuple_of_others_stands_for_is_not_cached(package):
    """Equations are chosen by a plan's type, and lie where that does: not in the hashed sources."""
    before = (package.root / "caller.py").read_text()
    (package.root / "caller.py").write_text(before + 'System.__module__ = "elsewhere"\n')
    for _ in range(2):
        found = package.run()
        assert found["compiled"] > 0
        assert found["hits"] == 0
    assert not list(Path(found["directory"]).glob("total-*"))


@pytest.mark.parametrize("decorator", ["kernel", 'kernel(inline="always")', "inner"])
def test_an_edited_helper_is_compiled_anew(package, decorator):
    package.write_helper("x + 1.0", decorator)
    assert package.run()["value"] == 12.0
    package.write_helper("x + 10.", decorator)  # same length: the size alone shows nothing
    edited = package.run()
    assert edited["value"] == 2.0 * (10 + 11 + 12)
    assert edited["hits"] == 0


def test_what_is_only_linked_has_no_machine_code_and_is_read_for_other_callers(package):
    """A file of bitcode: an edited caller is compiled anew, its unchanged helper is not."""
    package.write_helper("x + 1.0", "inner")
    assert package.run()["value"] == 12.0
    helper, total = (next(package.cache.rglob(f"{n}-*.kernel")) for n in ("helper", "total"))
    assert b"linked" in helper.read_bytes()
    assert b"\x7fELF" not in helper.read_bytes()
    assert sys.platform != "linux" or b"\x7fELF" in total.read_bytes()
    total.unlink()
    again = package.run()
    assert (again["value"], again["hits"]) == (12.0, 0)
    assert again["compiled"] == package.run(NUMBA_CACHE_DIR=str(package.cache))["compiled"] + 1


def test_what_is_only_linked_refuses_to_be_called_from_python():
    """There is nothing to call: with an address of 0 in its place the process died."""
    code = "from odekit_kernels import arcsine; print(arcsine.asin_within_half(0.25))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 1
    assert "TypeError: bad argument" in run.stderr


def test_another_source_file_or_setting_is_another_directory(package):
    first = package.run()["directory"]
    assert package.run(NUMBA_OPT="1")["directory"] != first
    (package.root / "new.py").write_text("a = 1\n")
    assert package.run()["directory"] != first


def test_everything_is_private(package):
    directory = Path(package.run()["directory"])
    assert directory.parent.parent == package.cache
    for folder in (directory, directory.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert package.files()
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in package.files())


def truncate(data):
    return data[: len(data) // 2]


def flip(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def flip_checksum(data):
    return data[:20] + bytes([data[20] ^ 1]) + data[21:]


@pytest.mark.parametrize(
    "damage", [truncate, flip, flip_checksum, lambda data: b"", lambda data: b"garbage" * 99]
)
def test_damaged_files_are_compiled_anew_and_mended(package, damage):
    package.run()
    sound = package.files()
    for path in sound:
        path.write_bytes(damage(path.read_bytes()))
    mended = package.run()
    assert mended["value"] == 12.0
    assert mended["hits"] == 0
    assert package.files() == sound
    assert package.run()["hits"] == 1


def test_without_a_directory_to_write(package, tmp_path):
    (tmp_path / "file").touch()
    got = package.run(NUMBA_CACHE_DIR=str(tmp_path / "file" / "below"))
    assert (got["value"], got["directory"]) == (12.0, None)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
@pytest.mark.parametrize("level", ["odekit", "hash", "file"])
def test_what_others_can_write_is_not_used(package, level):
    directory = Path(package.run()["directory"])
    assert package.run()["hits"] == 1
    shared = {"odekit": [directory.parent], "hash": [directory], "file": package.files()}[level]
    for path in shared:
        path.chmod(path.stat().st_mode | 0o022)
    got = package.run()
    assert (got["value"], got["hits"]) == (12.0, 0)
    assert (got["directory"] is None) == (level != "file")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_in_place_of_the_directory_is_not_followed(package, tmp_path):
    package.cache.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (package.cache / "odekit").symlink_to(tmp_path / "elsewhere")
    assert package.run()["directory"] is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's convention")
def test_place_of_the_cache(package, tmp_path):
    home, xdg = str(tmp_path / "home"), str(tmp_path / "xdg")
    got = package.run(NUMBA_CACHE_DIR="", XDG_CACHE_HOME=xdg, HOME=home)
    assert got["directory"].startswith(xdg + "/odekit/")
    for invalid in ("", "relative"):
        got = package.run(NUMBA_CACHE_DIR="", XDG_CACHE_HOME=invalid, HOME=home)
        assert got["directory"].startswith(home + "/.cache/odekit/")


def test_unused_directories_go_after_a_month(package):
    directory = Path(package.run()["directory"])
    unused, used, foreign = (directory.parent / (c * 32) for c in "abc")
    for folder in (unused, used, foreign):
        folder.mkdir(mode=0o700)
        (folder / "f-0.kernel").touch()
    (foreign / "thesis.tex").touch()
    (directory.parent / "notes").mkdir()
    month_ago = time.time() - 31 * 86_400
    for path in (unused, foreign, directory.parent / "notes", directory / "last_used"):
        os.utime(path, (month_ago, month_ago))
    package.run()
    left = {p.name for p in directory.parent.iterdir()}
    assert left == {directory.name, used.name, foreign.name, "notes"}
    assert (foreign / "thesis.tex").exists()
    assert package.run()["hits"] == 1


def test_without_jit_a_kernel_is_a_function(package):
    got = package.run(NUMBA_DISABLE_JIT="1")
    assert (got["value"], got["hits"], got["compiled"]) == (12.0, None, 0)
    assert package.files() == []


def test_kernels_of_others_are_compiled_and_not_cached(tmp_path, monkeypatch):
    @kernel
    def square(x):
        return x * x

    assert square(3.0) == 9.0
    assert square.stats.cache_path is None
    assert square.targetoptions["error_model"] == "numpy"


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
def test_compiling_leaves_the_collector_as_it_was():
    """Whether it succeeds or not."""
    before, seen = gc.get_threshold(), []

    class Seen(event.Listener):
        def on_start(self, _event):
            seen.append(gc.get_threshold()[0])

        def on_end(self, _event):
            pass

    with event.install_listener("numba:compile", Seen()):
        assert kernel(lambda x: x + 1)(1) == 2
        with pytest.raises(TypingError):
            kernel(lambda x: x + "a")(1)
    assert min(seen) >= OBJECTS
    assert gc.get_threshold() == before
