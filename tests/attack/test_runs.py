"""Runs that are killed, starved of room, or met by others go on to the bit, or say why not."""

from __future__ import annotations

import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from counts import Counts
from odekit.cli import IO_ERROR, main
from runs import KINDS, TIMES, WORK, single, stored, swept
from sweeps import sweep
from test_checkpoint import committee
from test_cli import SMALL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills its own forks"),
]
KILLS, MOST, LIMIT = 12, 60, 60.0


@pytest.fixture(scope="module")
def whole():
    return {kind: solve(None) for kind, solve in KINDS.items()}


@pytest.fixture
def server():
    """A process that runs, forks and kills on demand."""
    path = [str(p) for p in (Path(__file__).parent, Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *sys.path])}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("runs.py"))]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipe, text=True, env=environment) as child:
        assert answer(child, 300.0) == "ready"
        yield child
        child.kill()


def answer(child, seconds=LIMIT):
    """A line of the server, or "hung"."""
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    return child.stdout.readline().strip() if ready else "hung"


def same(a, b):
    """Bitwise, in every variable but the work done; what differs is printed."""
    drop = [name for name in WORK if a.status.ndim == 0]
    a, b = a.drop_vars(drop).load(), b.drop_vars(drop).load()
    differ = set(a.variables) ^ set(b.variables)
    for n in set(a.variables) & set(b.variables):
        if not np.array_equal(a[n].values, b[n].values, equal_nan=a[n].dtype.kind == "f"):
            differ.add(n)
            print(f"{n} differs: {a[n].values.ravel()[:4]} and {b[n].values.ravel()[:4]}")
            where = np.argwhere(a[n].values != b[n].values) if a[n].shape == b[n].shape else []
            print(f"shapes {a[n].shape} and {b[n].shape}, at {where[:3]} of {len(where)}")
    return not differ


def seconds_of(kind, folder):
    """Of a whole run, on this machine as busy as it is."""
    folder.mkdir()
    KINDS[kind](folder)
    begin = time.monotonic()
    shutil.rmtree(folder)
    folder.mkdir()
    KINDS[kind](folder)
    return time.monotonic() - begin


def judge(counts, good, note):
    """One more that was tried."""
    counts.tried += 1
    kind = "harmless" if good else "wrong"
    setattr(counts, kind, getattr(counts, kind) + 1)
    if not good:
        counts.notes.append(note)


def passed(counts):
    said = counts.report()
    assert (counts.wrong, counts.hung) == (0, 0), said
    assert counts.tried == counts.refused + counts.harmless


# ------------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize("kind", KINDS)
def test_kills(tmp_path, server, whole, kind):
    """After every kill a copy is taken to its end; the folder itself is killed again."""
    counts, chance = Counts(f"kills of a run, {kind}"), random.Random(kind)
    folder, killed = tmp_path / "run", 0
    longest = seconds_of(kind, tmp_path / "first")
    for i in range(MOST):
        if i >= KILLS and killed >= KILLS // 4:
            break  # else most runs were over before they were killed
        folder.mkdir(exist_ok=True)
        number = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[i % 4]
        seconds, after = (0.02, 0.05, 0.1)[i % 3], chance.uniform(0.0, longest)
        server.stdin.write(f"{kind} {folder} {seconds} {after} {int(number)}\n")
        server.stdin.flush()
        ended = answer(server)
        killed += ended == "killed"
        if ended == "hung":
            counts.tried, counts.hung = counts.tried + 1, counts.hung + 1
            break
        copy = tmp_path / f"copy{i}"
        shutil.copytree(folder, copy)
        good = ended in ("killed", "0", f"-{int(number)}") and same(KINDS[kind](copy), whole[kind])
        judge(counts, good, f"kill {i} with {number} after {after:.2f} s: {ended}")
        if ended == "0":
            shutil.rmtree(folder)
    passed(counts)
    assert killed >= KILLS // 4


# ---------------------------------------------------------------------------------- no more room


@contextmanager
def files_of_at_most(size):
    """As on a disk that is full: a write fails in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def disk(path, options):
    """A disk of one's own, for those who may mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def starved(counts, kind, folder, limit, whole):
    """A run without room gives its result, or an error in words, and resumes where there is."""
    note = f"{kind} in {folder}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ok.CheckpointWarning)
        try:
            with limit:
                ds = KINDS[kind](folder, 0.01)
                good = same(ds, whole[kind])
        except ok.OdekitError as error:
            counts.tried, counts.refused = counts.tried + 1, counts.refused + 1
            return str(error)
        except Exception as error:
            good, note = False, f"{note}: {type(error).__name__}: {error}"
    judge(counts, good, note)
    return ""


def test_files_that_cannot_grow(tmp_path, whole):
    counts = Counts("writes that fail in the middle of a file")
    for kind in KINDS:
        for size in (0, 100, 1000, 5000, 20_000):
            folder = tmp_path / f"{kind}{size}"
            folder.mkdir()
            starved(counts, kind, folder, files_of_at_most(size), whole)
            assert not (folder / "grid.zarr").exists() or kind == "stored"
            judge(counts, same(KINDS[kind](folder), whole[kind]), f"{kind} resumed after {size}")
    passed(counts)


def test_full_disks(tmp_path, whole):
    counts = Counts("full disks")
    for kind in KINDS:
        for size in ("8k", "40k", "120k", "400k"):
            place = tmp_path / f"{kind}{size}"
            with disk(place, f"size={size}"):
                starved(counts, kind, place, warnings.catch_warnings(), whole)
                subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
                judge(counts, same(KINDS[kind](place), whole[kind]), f"{kind} resumed at {size}")
    passed(counts)


def test_disks_that_may_only_be_read(tmp_path, whole):
    """From the beginning, or from the middle of a run that was interrupted."""
    counts = Counts("read-only disks")
    for kind in KINDS:
        place = tmp_path / kind
        with disk(place, "size=64m"):
            if kind == "single":
                ok.solve(committee(), checkpoint=place / "other", max_steps=20)
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            starved(counts, kind, place, warnings.catch_warnings(), whole)
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
            judge(counts, same(KINDS[kind](place), whole[kind]), f"{kind} after rw")
    passed(counts)


def test_the_command_keeps_its_result(tmp_path, monkeypatch, capsys):
    counts, scenario = Counts("results of the command without room"), tmp_path / "s.toml"
    scenario.write_text(SMALL)
    for size in ("4k", "12k", "40k"):
        place, free = tmp_path / f"full{size}", tmp_path / f"free{size}"
        free.mkdir()
        monkeypatch.chdir(free)
        with disk(place, f"size={size}"):
            code = main(["run", str(scenario), "-o", str(place / "out.nc")])
            said = capsys.readouterr().err
            kept = free / "out-kept.nc"
            good = code == IO_ERROR and str(kept) in said and ok.open(kept).status == 0
            judge(counts, good, f"{size}: {code} {said}")
            assert list(place.iterdir()) == []
    passed(counts)


# ----------------------------------------------------------------------------------- in company


def test_concurrent_callers(whole):
    """Threads that solve at once, each its own problem, get what each gets alone."""
    counts = Counts("concurrent callers")
    problems = [sweep(3, 2, d) for d in (1.0, 2.0, 3.0)] + [committee()] * 2
    alone = [ok.solve(p) for p in problems]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(4):
            for got, want in zip(pool.map(ok.solve, problems), alone, strict=True):
                judge(counts, same(got, want), "another result in company")
    passed(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_writers_of_one_folder(tmp_path, whole, kind):
    """Threads that write to one folder: one does, the others are refused, nothing is mixed."""
    counts = Counts(f"writers of one folder, {kind}")

    def write(i):
        try:
            return KINDS[kind](folder, 0.03 * i)
        except (ok.CheckpointError, ok.StoreError) as error:
            return error

    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        with ThreadPoolExecutor(3) as pool:
            for done in pool.map(write, range(3)):
                if isinstance(done, Exception):
                    counts.tried, counts.refused = counts.tried + 1, counts.refused + 1
                else:
                    judge(counts, same(done, whole[kind]), "mixed")
        judge(counts, same(KINDS[kind](folder), whole[kind]), "what is left")
    assert counts.refused >= 2
    passed(counts)


def test_processes_that_write_to_one_folder(tmp_path, server, whole):
    """One is started a little before the other and killed while that one waits or is refused."""
    counts = Counts("processes that write to one folder")
    for i, kind in enumerate(KINDS):
        folder = tmp_path / str(i)
        folder.mkdir()
        longest = seconds_of(kind, tmp_path / f"first{i}")
        server.stdin.write(f"{kind} {folder} 0.02 {longest / 2} {int(signal.SIGKILL)}\n")
        server.stdin.flush()
        begun = folder / ("grid.zarr.part" if kind == "stored" else "state") / "problem.json"
        deadline = time.monotonic() + LIMIT
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        try:
            judge(counts, same(KINDS[kind](folder, 0.05), whole[kind]), f"{kind}: mixed")
        except ok.CheckpointError as error:
            counts.tried += 1
            refused = "another run is writing" in str(error)
            counts.refused, counts.wrong = counts.refused + refused, counts.wrong + (not refused)
        if answer(server) == "hung":
            counts.hung += 1
        judge(counts, same(KINDS[kind](folder), whole[kind]), f"{kind}: what is left")
    passed(counts)


def test_what_the_tests_compare_differs():
    """The comparison can fail."""
    a = single(None)
    assert same(a, a)
    assert not same(a, a.assign(Q=a.Q + 1e-16 * (a.Q.max() == a.Q) + 1e-12))
    assert not same(swept(None), stored(None).isel(time=slice(1)).reindex(time=TIMES))
