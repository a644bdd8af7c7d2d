"""Derivatives through runs of a committee."""

from odekit.systems.committee.gradients.lanes import differentiate_in_lanes, suits
from odekit.systems.committee.gradients.run import Asked, check, differentiate
from odekit.systems.committee.gradients.steps import Accuracy

__all__ = ["Accuracy", "Asked", "check", "differentiate", "differentiate_in_lanes", "suits"]
