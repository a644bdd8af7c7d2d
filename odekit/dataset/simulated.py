"""What a simulated dataset says of its simulation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr

SIMULATION = "odekit_simulation"
"""Attribute of a dataset that says how it was simulated, as JSON."""
ALIGNED = "odekit_aligned"
"""Attribute that counts networks whose units were put in another order, for a picture."""


def simulation_of(ds: xr.Dataset) -> dict[str, Any]:
    """How a dataset was simulated: input_dim, seed, replicas and whatever differs from defaults."""
    try:
        words = json.loads(ds.attrs[SIMULATION])
        int(words["input_dim"])
    except (KeyError, TypeError, ValueError):
        title = str(ds.attrs.get("source", "a dataset without a source"))
        raise ProblemError("sim", "must be a result of odekit.simulate", title) from None
    return dict(words)
