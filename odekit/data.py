"""Networks on given data, at the front door: see `odekit.systems.data`."""

from odekit.systems.data import *  # noqa: F403 - every public name there, and no other
from odekit.systems.data import __all__ as __all__
