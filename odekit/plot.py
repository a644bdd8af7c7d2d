"""Pictures, at the front door: see `odekit.verbs.plot`."""

from odekit.verbs.plot import (
    plot_run,
)

__all__ = [
    "plot_run",
]
