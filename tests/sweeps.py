"""Small sweeps, and writers that fail, for the tests of chunks, stores and executors."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import odekit as ok
from odekit.store.zarrstore import RegionWriter


def labelled(dim, values):
    return xr.DataArray(values, dims=dim, coords={dim: values})


def sweep(etas=6, draws=4, duration=2.0):
    """Dims (draw, eta), each trajectory some milliseconds."""
    start = ok.OrderParameters.draw(
        student=2, teacher=1, weight_std=0.5, input_dim=100, seed=3, draws=draws
    )
    rates = labelled("eta", np.linspace(0.1, 1.3, etas))
    return ok.Problem(
        state=start,
        heads={"main": [1.0, 0.5]},
        tasks={"main": ok.Task(readout=[1.0], noise_std=0.1)},
        phases=[ok.Phase("main", duration=duration, learning_rate=rates)],
    )


def assert_same(a, b):
    """Bitwise, in every variable of either."""
    assert set(a.variables) == set(b.variables)
    assert dict(a.sizes) == dict(b.sizes)
    for name in a.variables:
        assert a[name].dims == b[name].dims
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


@dataclass(frozen=True)
class Poisoned(RegionWriter):
    """Fails at the chunk that holds the first trajectory; elsewhere it writes."""

    how: str = "raise"

    def __call__(self, region, arrays):
        if all(s.start == 0 for s in region.values()):
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("the first chunk is poisoned")
        super().__call__(region, arrays)


@dataclass(frozen=True)
class DiesOnce(RegionWriter):
    """Kills the process the first time that any chunk is to be written."""

    def __call__(self, region, arrays):
        mark = Path(self.path).parent / ".died"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(region, arrays)


@dataclass
class StopWhen:
    """What `Interrupts` is to a run, asked to stop once some chunks are finished."""

    folder: Path
    chunks: int

    @property
    def asked(self):
        return len(list(self.folder.glob("chunk-*.json"))) >= self.chunks


@dataclass
class StopAfter:
    """What `Interrupts` is to a run, asked to stop after some looks."""

    looks: int

    @property
    def asked(self):
        self.looks -= 1
        return self.looks < 0
