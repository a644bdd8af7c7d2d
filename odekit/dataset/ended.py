"""How the trajectories of a result ended, said aloud unless all ran to their end."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from odekit.base.errors import NotCompletedWarning
from odekit.base.status import Status

if TYPE_CHECKING:
    import xarray as xr


def how_it_ended(ds: xr.Dataset) -> str:
    """What is to be known of trajectories that did not complete; empty where all did.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    str
        For a single run one line; else one for all and one for every status, with its remedy.
    """
    # Of a store: here, as a cluster that computed it may have no workers left.
    status = ds.variables["status"]
    lazy = {} if status.chunks is None else {"scheduler": "synchronous"}
    codes, counts = np.unique(status.compute(**lazy).values, return_counts=True)
    found = {Status(int(c)): int(n) for c, n in zip(codes, counts, strict=True)}
    total, good = sum(found.values()), found.pop(Status.COMPLETED, 0)
    if not found:
        return ""
    if status.ndim == 0:
        (how,) = found
        return f"the run ended at t = {float(ds.t_last):.6g}: {_words(how)}"
    lines = [f"{n} {_words(how)}" for how, n in found.items()]
    return "\n  ".join([f"{total - good} of {total} runs did not complete:", *lines])


def _words(status: Status) -> str:
    return f"{status.word}, {status.meaning}. {status.remedy}"


def warn_unless_completed(ds: xr.Dataset, stacklevel: int = 3) -> None:
    """Warn, once, of trajectories that did not complete."""
    text = how_it_ended(ds)
    if text:
        warnings.warn(text, NotCompletedWarning, stacklevel=stacklevel)
