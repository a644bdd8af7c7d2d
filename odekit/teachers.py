"""Builders of fixed vectors, at the front door: see `odekit.systems.committee.teachers`."""

from odekit.systems.committee.teachers import (
    embed,
    orthonormal,
    random,
    readouts,
    rotated,
    shared,
)

__all__ = [
    "embed",
    "orthonormal",
    "random",
    "readouts",
    "rotated",
    "shared",
]
