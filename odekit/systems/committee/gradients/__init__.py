"""Derivatives through runs of a committee."""

from odekit.systems.committee.gradients.steps import Accuracy
from odekit.systems.committee.gradients.run import check, differentiate

__all__ = ["Accuracy", "check", "differentiate"]
