"""Linear networks, at the front door: see `odekit.systems.linear`."""

from odekit.systems.linear import *  # noqa: F403 - every public name there, and no other
from odekit.systems.linear import __all__ as __all__
