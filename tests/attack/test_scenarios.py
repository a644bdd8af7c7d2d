"""Mutated scenarios are refused in words or solved: no traceback, no hang, no flood of memory."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
from numba.core import event

import odekit as ok
from counts import Counts
from mutated import DATA, base, mutate, toml
from odekit.dataset.assemble import check
from odekit.verbs.scenario import load_scenario, parse_scenario
from odekit.verbs.show import summary

TRIES = 400
LIMIT = 20
MEMORY = 3 * 2**30
"""Address space beyond what the process has: a refusal takes next to none."""


class Hung(BaseException):
    """A scenario took too long."""


class Compiling(event.Listener):
    """Counts compilations: up to minutes each, which a scenario does not answer for."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def on_start(self, _event):
        self.begun += 1

    def on_end(self, _event):
        self.ended += 1


@contextmanager
def limits():
    """Seconds without a compilation, and memory, that one scenario may take."""
    compiling, seen = Compiling(), 0

    def late(*_signal):
        nonlocal seen
        if compiling.begun == compiling.ended == seen:
            raise Hung
        seen = compiling.ended
        signal.alarm(LIMIT)

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        with event.install_listener("numba:compile", compiling):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(text: str) -> str:
    """What becomes of a scenario: one of the counts."""
    try:
        with limits():
            scenario = parse_scenario(text)
            options = {**scenario.solver, "max_seconds": 1.0}
            ds = ok.solve(scenario.problem, **options)
            summary(ds)
            found = check(ds)
    except (ok.ScenarioError, ok.ProblemError):
        return "refused"
    except Hung:
        return "hung"
    except Exception:
        return traceback.format_exc()
    return "; ".join(found) or "harmless"


def warm() -> None:
    """Compile what most scenarios need, which has no time to within their limits."""
    for name in ("plateau", "forgetting_similarity", "linear_specialisation", "multimodal"):
        problem = load_scenario(DATA / f"{name}.toml").problem
        for i in range(len(problem.phases)):
            problem = problem.replace_phase(i, duration=0.1)
        ok.solve(problem, t_eval=[0.1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_mutated_scenarios():
    warm()
    counts, notes = Counts("mutated scenarios"), []
    for seed in range(TRIES):
        rng = random.Random(seed)
        raw = base(rng)
        mutate(raw, rng)
        text = toml(raw)
        begin = time.monotonic()
        found = outcome(text)
        seconds = time.monotonic() - begin
        counts.tried += 1
        kind = found if found in ("refused", "harmless", "hung") else "wrong"
        setattr(counts, kind, getattr(counts, kind) + 1)
        if kind in ("wrong", "hung"):
            notes.append(f"seed {seed} ({seconds:.1f} s): {found}\n{text}")
    said = counts.report() + "\n".join(["", *notes])
    assert (counts.wrong, counts.hung) == (0, 0), said
    assert counts.refused > TRIES / 2
    assert counts.harmless > TRIES / 10
