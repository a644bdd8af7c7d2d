"""Runs of every kind that leaves something on the disk, to be killed and resumed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import odekit as ok
from sweeps import sweep
from test_checkpoint import slow_problem

STEPS = {"max_step": 0.02, "method": "DOP853"}
TIMES = np.linspace(0.0, 5.0, 21)
SWEEP = {"t_eval": TIMES, "chunk_size": 20, "threads": 1}
WORK = ("n_rhs", "n_jac")
"""Of a resumed single run these are larger."""


def single(folder: Path | None, seconds: float = 0.05):
    """A single run with a checkpoint, or without."""
    saved = None if folder is None else ok.Checkpoint(folder / "state", seconds)
    return ok.solve(slow_problem(), checkpoint=saved, **STEPS)


def swept(folder: Path | None, seconds: float = 0.0):
    """A sweep with a checkpoint, or without."""
    saved = None if folder is None else ok.Checkpoint(folder / "state", seconds)
    return ok.solve(sweep(20, 10, 5.0), checkpoint=saved, **SWEEP)


def stored(folder: Path | None, seconds: float = 0.0):
    """A sweep to a store, or in memory."""
    del seconds
    path = None if folder is None else folder / "grid.zarr"
    return ok.solve(sweep(20, 10, 5.0), store=path, overwrite=True, **SWEEP)


KINDS = {"single": single, "swept": swept, "stored": stored}


def serve() -> None:
    """Take lines ``kind folder checkpoint-seconds after-seconds signal``: run it, and kill it."""
    ok.solve(slow_problem(), max_step=0.1)
    ok.solve(sweep(2, 2, 0.1), threads=1)
    print("ready", flush=True)
    for line in sys.stdin:
        kind, folder, seconds, after, number = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                KINDS[kind](Path(folder), float(seconds))
                os._exit(0)
            except KeyboardInterrupt:
                # Before or after the run itself looks at signals: ended as Python ends then.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(9)
        time.sleep(float(after))
        os.kill(pid, int(number))
        status = os.waitpid(pid, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
