"""All branches of fixed points that are asked for, each followed both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from odekit.base.arrays import Floats
from odekit.dynamics.arclength import BOUND, Path, direction, never, trace
from odekit.dynamics.curve import Curve, Spot
from odekit.dynamics.outcomes import BranchEnd, SpecialPoint
from odekit.dynamics.special import Event, events, nearest
from odekit.dynamics.switching import others

SWITCHED = (SpecialPoint.PITCHFORK, SpecialPoint.TRANSCRITICAL)
"""SpecialPoint points through which other branches of fixed points pass."""


@dataclass
class Branch:
    """Neighbouring fixed points, in the order of the curve.

    Attributes
    ----------
    spots : list of Spot
    events : list of Event
    ends : tuple of BranchEnd
        How it ended at its first and its last point.
    reasons : tuple of str
        What the equations said there; mostly nothing.
    parent : tuple of int
        The branch, and the number of the special point on it, from which this one was reached; -1
        where it was not.
    """

    spots: list[Spot]
    events: list[Event]
    ends: tuple[BranchEnd, BranchEnd]
    reasons: tuple[str, str]
    parent: tuple[int, int] = (-1, -1)
    root: Event | None = None


def anything(spot: Spot) -> bool:
    """Whether a branch is one to follow."""
    del spot
    return True


@dataclass
class Explorer:
    """Follows branches on one curve.

    Parameters
    ----------
    curve : Curve
    most : int
        Most points of a branch in one direction.
    bound : float
        Size of the state that counts as infinity.
    asked : callable
        Whether to stop.
    allowed : callable
        Whether a branch that begins with such a point, at a branch point, is one to follow.
    """

    curve: Curve
    most: int = 1000
    bound: float = BOUND
    asked: Callable[[], bool] = never
    allowed: Callable[[Spot], bool] = anything
    branches: list[Branch] = field(default_factory=list)

    def both_ways(self, z: Floats) -> None:
        """The branch through a fixed point."""
        start = direction(self.curve, z)
        if start is None:
            self.branches.append(_nothing(self.curve))
            return
        ahead = self._traced(start)
        back = Path([start], ahead.end)
        if ahead.end is not BranchEnd.CLOSED:
            back = self._traced(_turned(start))
        spots = [_turned(spot) for spot in back.spots[:0:-1]] + ahead.spots
        ends = (back.end, ahead.end), (back.trouble, ahead.trouble)
        self._add(spots, *ends, (-1, -1), None)

    def from_branch_point(
        self, event: Event, parent: tuple[int, int] = (-1, -1), most: int = 100
    ) -> bool:
        """The other branches through a branch point; whether there was room for all of them."""
        known = [e for b in self.branches for e in (*b.events, b.root) if e is not None]
        for spot in others(self.curve, event, known):
            if not self.allowed(spot):
                continue
            if len(self.branches) >= most:
                return False
            away = (spot.z - event.z) / np.linalg.norm(spot.z - event.z)
            path = self._traced(spot)
            root = self.curve.look(event.z, away)
            spots = path.spots if root is None else [root, *path.spots]
            begins = BranchEnd.BRANCH_POINT
            here = replace(event, tangent=away)
            self._add(spots, (begins, path.end), ("", path.trouble), parent, here)
        return True

    def everywhere(self, most: int) -> bool:
        """Switch at every branch point of every branch; whether there was room for all."""
        number = 0
        while number < len(self.branches):
            for i, event in enumerate(self.branches[number].events):
                if self.asked():
                    return False
                if event.kind in SWITCHED and not self.from_branch_point(event, (number, i), most):
                    return False
            number += 1
        return True

    def _traced(self, start: Spot) -> Path:
        return trace(self.curve, start, self.most, bound=self.bound, asked=self.asked)

    def _add(
        self,
        spots: list[Spot],
        ends: tuple[BranchEnd, BranchEnd],
        reasons: tuple[str, str],
        parent: tuple[int, int],
        root: Event | None,
    ) -> None:
        found = events(self.curve, spots)
        if root is not None:
            found = [e for e in found if nearest([root], e.z) is None]
        self.branches.append(Branch(spots, found, ends, reasons, parent, root))


def _turned(spot: Spot) -> Spot:
    """The same point on the way back."""
    return replace(spot, tangent=-spot.tangent)


def _nothing(curve: Curve) -> Branch:
    ends = (BranchEnd.NOT_FINITE, BranchEnd.NOT_FINITE)
    return Branch([], [], ends, (curve.trouble, curve.trouble))
