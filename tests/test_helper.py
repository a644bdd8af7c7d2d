"""A second process that compiles: the same bits, and gone when it is not wanted any more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from odekit.base import cores as counting
from odekit.integrate import compiling, helper
from odekit_kernels._jit import NO_JIT
from odekit_kernels._parts import claim

pytestmark = pytest.mark.skipif(
    NO_JIT or counting.cores() < 2, reason="nothing is compiled, or on one core"
)

BEGIN = """
    import hashlib, os, signal, sys, threading, time
    os.environ["NUMBA_CACHE_DIR"] = {cache!r}
    sys.path[:0] = {path!r}
    import odekit as ok, numpy as np
    from odekit.integrate import compiling, helper
    from sweeps import sweep
    from test_checkpoint import committee

    made = []

    class Noted(helper.Helper):
        def __init__(self):
            super().__init__()
            made.append(self)

    compiling.Helper = Noted

    def ends(ds):
        raw = b"".join(ds[n].values.tobytes() for n in ("time", "Q", "R", "generalization_error"))
        return hashlib.sha256(raw).hexdigest()
"""


def script(tmp_path, code, cache="cache", timeout=300):
    words = {"path": sys.path, "cache": str(tmp_path / cache)}
    whole = textwrap.dedent(BEGIN).format(**words) + textwrap.dedent(code)
    command = [sys.executable, "-W", "ignore", "-c", whole]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def wait_until_gone(pid):
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


BITS = """
    print(ends(ok.solve(committee())), ends(ok.solve(sweep())), len(made))
    assert all(one.process.returncode is not None for one in made)
"""
ALONE = "helper.possible = lambda: False\n"


@pytest.mark.slow
def test_bits_are_those_of_a_full_cache_and_of_one_process(tmp_path):
    *first, helpers = script(tmp_path, BITS)
    *again, none = script(tmp_path, BITS)
    *alone, no = script(tmp_path, ALONE + textwrap.dedent(BITS), cache="other")
    assert first == again == alone
    assert (helpers, none, no) == ("2", "0", "0")


PARTS = """
    import xarray as xr
    from odekit_kernels import _jit, _parts
    from test_groups import problem
    asked, told = set(), set()

    def note(function, types, file):
        asked.add(file)
        for part in _parts.parts_of(function, types):
            told.add(_parts.file_of(part))

    _jit.when_missing(note)
    rates = xr.DataArray([0.3, 0.5], dims="eta")
    grouped = problem(phases=[ok.Phase("a", 0.5, rates, gradient_flow=True)])
    {runs}
    print(len(told), len(told - asked))
"""
RUNS = {
    "single": ("ok.solve(committee())", 6),
    "swept": ("ok.solve(sweep())", 9),
    "grouped": ("ok.solve(grouped)", 9),
    "stiff": ("ok.solve(sweep(), method='Rodas5P')", 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_parts_are_what_the_kernels_then_ask_for(tmp_path, name):
    """By another type of an argument each would be compiled twice."""
    runs, count = RUNS[name]
    told, never_asked = script(tmp_path, PARTS.format(runs=runs))
    assert (int(told), int(never_asked)) == (count, 0)


# --------------------------------------------------------------------- helpers that are no help

DEAD = "raise SystemExit(1)"
DEAF = "import time; time.sleep(600)"
GREEDY = (
    "import pickle, sys, time; sys.path[:] = __import__('json').loads(sys.argv[1]); "
    "from odekit_kernels._parts import claim; order = pickle.load(sys.stdin.buffer); "
    "[claim(order.claims, job[0]) for job in order.jobs]; "
)
SOLVE = """
    helper.CODE = {code!r}
    begin = time.monotonic()
    ds = ok.solve(committee(), {options})
    assert made and all(one.process.returncode is not None for one in made)
    assert not any(os.path.exists(one.claims) for one in made)
    print(ok.Status(int(ds.status)).word, time.monotonic() - begin)
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [DEAD, DEAF, f"{GREEDY} raise SystemExit(1)"])
def test_a_helper_that_fails_costs_nothing_but_time(tmp_path, code):
    word, _ = script(tmp_path, SOLVE.format(code=code, options=""))
    assert word == "completed"


def test_the_time_allowed_ends_the_wait_for_a_helper(tmp_path):
    code = f"{GREEDY} time.sleep(600)"
    word, seconds = script(tmp_path, SOLVE.format(code=code, options="max_seconds=3.0"))
    assert word == "time_budget"
    assert float(seconds) < 30.0


def test_one_that_is_stuck_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(helper, "CODE", DEAF)
    monkeypatch.setattr(helper, "PATIENCE", 0.1)
    with contextlib.closing(helper.Helper()) as stuck:
        stuck.wait(tmp_path / "never", lambda: None)
        assert stuck.process.poll() is not None


INTERRUPTED = """
    def later():
        while not made:
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=later, daemon=True).start()
    ds = ok.solve(committee())
    print(ok.Status(int(ds.status)).word, made[0].process.pid, made[0].process.returncode)
"""


def test_an_interrupt_ends_the_helper_too(tmp_path):
    word, pid, code = script(tmp_path, INTERRUPTED)
    assert word == "interrupted"
    assert code != "None"
    wait_until_gone(int(pid))


def test_a_helper_goes_with_the_process_that_it_helps(tmp_path):
    code = f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from odekit.integrate.helper import Helper
        from odekit_kernels._parts import Part
        from odekit_kernels.committee.work import upper_index
        from numba import types
        one = Helper()
        one.share([Part(upper_index, (types.int64,) * 3)], [])
        print(one.process.pid, flush=True)
        time.sleep(600)
    """
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


# ---------------------------------------------------------------------------- where there is one


def test_there_is_none_on_one_core_without_a_cache_and_in_workers(monkeypatch):
    assert helper.possible()
    for name, value in (
        ("cores", lambda: 1),
        ("cache_directory", lambda: None),
        ("NO_JIT", True),
        ("parent_process", lambda: object()),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(helper, name, value)
            assert not helper.possible()
    monkeypatch.setattr(sys, "executable", "/opt/blender/blender")
    assert not helper.possible()


def test_what_cannot_be_started_is_not_missed(monkeypatch):
    def no(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(helper.subprocess, "Popen", no)
    monkeypatch.setattr(compiling, "_helper", None)
    assert not compiling.begin()


def test_a_part_is_begun_once(tmp_path):
    assert claim(str(tmp_path), 3)
    assert not claim(str(tmp_path), 3)
    assert claim(str(tmp_path), 4)
