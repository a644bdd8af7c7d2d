"""Systems of equations that a user declares in a file of their own: see `odekit.system`."""

from odekit.systems.outside.declaration import Declaration, system
from odekit.systems.outside.problem import DeclaredPhase, DeclaredProblem

__all__ = ["Declaration", "DeclaredPhase", "DeclaredProblem", "system"]
