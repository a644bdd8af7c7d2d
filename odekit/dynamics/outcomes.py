"""How a branch of fixed points ends, and what special points it has: values with a meaning."""

from __future__ import annotations

from odekit.base.status import Flag


class BranchEnd(Flag):
    """How a branch ended in one direction.

    Examples
    --------
    >>> BranchEnd.CLOSED.meaning
    'the branch came back to where it began'
    """

    RANGE = 0, "the parameter reached the end of its range"
    CLOSED = 1, "the branch came back to where it began"
    DIVERGED = (
        2,
        "the state grew beyond all bounds",
        "The branch runs to infinity there; raise `bound` to follow it further.",
    )
    POINTS = 3, "the number of points allowed was used up", "Raise `max_points`."
    NO_STEP = (
        4,
        "no step, however short, led to another fixed point",
        "The equations are not smooth there, or the branch ends: look at its last points.",
    )
    NOT_FINITE = (
        5,
        "the equations have no value beyond",
        "`end_reason` has what they said; a smaller range may avoid it.",
    )
    BRANCH_POINT = 6, "the branch begins at a branch point of another"
    INTERRUPTED = 7, "stopped by Ctrl-C or SIGTERM; the points up to then are kept", "Run it again."


FINE = (BranchEnd.RANGE, BranchEnd.CLOSED, BranchEnd.DIVERGED, BranchEnd.BRANCH_POINT)
"""Ends that a branch has by itself."""


class SpecialPoint(Flag):
    """What happens at a special point of a branch.

    Examples
    --------
    >>> SpecialPoint.FOLD.meaning
    'the branch turns round in the parameter: two fixed points meet and vanish'
    """

    FOLD = 0, "the branch turns round in the parameter: two fixed points meet and vanish"
    PITCHFORK = 1, "a branch that turns round there crosses, as the fixed point loses a symmetry"
    TRANSCRITICAL = 2, "another branch crosses and exchanges its stability with this one"
    HOPF = 3, "a pair of complex eigenvalues crosses: oscillations begin"
    CROSSING = 4, "eigenvalues cross zero, and no second derivative tells which kind it is"
