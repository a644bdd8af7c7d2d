"""Inputs of simulations, at the front door: see `odekit.systems.committee.inputs`."""

from odekit.systems.committee.inputs import (
    standardise,
    whiten,
)

__all__ = [
    "standardise",
    "whiten",
]
