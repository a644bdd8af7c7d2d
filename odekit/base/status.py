"""How a trajectory ended, and how each of its phases did: values with a meaning and a remedy."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

__all__ = ["Convergence", "Outcome", "Status"]


class Flag(IntEnum):
    """An integer code with words for people: what it means and what to do about it."""

    meaning: str
    remedy: str

    def __new__(cls, value: int, meaning: str = "", remedy: str = "") -> Self:
        """Make a member that is an int and carries its words."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.remedy = remedy
        return member

    @property
    def word(self) -> str:
        """The name as CF's ``flag_meanings`` spells it.

        Examples
        --------
        >>> Status.BLOW_UP.word
        'blow_up'
        """
        return self.name.lower()

    @classmethod
    def flag_meanings(cls) -> str:
        """All words, separated by blanks, in the order of the values.

        Examples
        --------
        >>> Outcome.flag_meanings()
        'not_started duration threshold threshold_missed steady failed'
        """
        return " ".join(member.word for member in cls)


class Status(Flag):
    """How a trajectory as a whole ended.

    Examples
    --------
    >>> Status(4), Status.STALLED.meaning
    (<Status.STALLED: 4>, 'the steps became too small to reach the end')
    """

    COMPLETED = 0, "every phase ran to its end"
    INTERRUPTED = (
        1,
        "stopped by Ctrl-C or SIGTERM; the rows up to then are kept",
        "Run it again, with `checkpoint` if it is long: a resumed run goes on where it stopped.",
    )
    NONFINITE = (
        2,
        "the derivative became NaN or infinite",
        "Look at the last rows: often a learning rate is too large, or Q became singular.",
    )
    BLOW_UP = (
        3,
        "the state grew beyond all bounds",
        "Learning diverges at these learning rates: lower them, or add weight decay.",
    )
    STALLED = (
        4,
        "the steps became too small to reach the end",
        "Loosen `rtol` and `atol`, or choose an implicit `method` such as 'Radau' or 'LSODA'.",
    )
    STEP_BUDGET = (
        5,
        "the number of steps allowed was used up",
        "Raise `max_steps`, or choose an implicit `method` if the problem is stiff.",
    )
    TIME_BUDGET = (
        6,
        "the time allowed was used up",
        "Raise `max_seconds`, loosen `rtol`, or shorten the phases.",
    )
    SOLVER_FAILED = (
        7,
        "the integrator gave up",
        "Try another `method`; the dataset holds the rows up to there.",
    )
    LOST = (
        8,
        "the chunk of the sweep that it belongs to failed on every worker that tried",
        "The attribute `odekit_lost` has the reason: remove it, and run these points again.",
    )
    INACCURATE = (
        9,
        "the activation's moments could not be had to its accuracy any more",
        "Its fields have grown too large for the quadrature: loosen its `accuracy`, raise its "
        "`nodes`, lower the learning rates or shorten the phases. The last row, at `t_last`, is "
        "less accurate than those before.",
    )


class Outcome(Flag):
    """How one phase of a trajectory ended.

    Examples
    --------
    >>> Outcome.THRESHOLD.meaning
    'the threshold of `until` was reached'
    """

    NOT_STARTED = (
        0,
        "the trajectory ended before this phase",
        "See the trajectory's `status`.",
    )
    DURATION = 1, "the phase lasted its whole duration"
    THRESHOLD = 2, "the threshold of `until` was reached"
    THRESHOLD_MISSED = (
        3,
        "the duration ended before the threshold of `until` was reached",
        "Lengthen the phase's `duration`, or set a threshold above the noise floor.",
    )
    STEADY = 4, "the solution stood still, and its last value holds to the end of the phase"
    FAILED = (
        5,
        "the trajectory ended within this phase",
        "See the trajectory's `status`.",
    )


class Convergence(Flag):
    """How the search for a fixed point ended.

    Examples
    --------
    >>> Convergence.CONVERGED.word
    'converged'
    """

    CONVERGED = 0, "the equations vanish there, to rounding"
    SPENT = (
        1,
        "the number of steps allowed was used up",
        "Start from a slower row or a closer guess, or raise `max_steps`.",
    )
    STALLED = (
        2,
        "no step lowers |f| any more, which is not zero there",
        "There may be no fixed point near: start from a slower row or another guess.",
    )
    DIVERGED = (
        3,
        "the states ran away, as where a fixed point lies at infinity or nowhere",
        "Learning may diverge at these learning rates: lower them, or start elsewhere.",
    )
    NONFINITE = (
        4,
        "the equations are not finite where the search begins",
        "Give a state that is the overlaps of real vectors.",
    )
    NO_START = (
        5,
        "the run did not reach that time",
        "See the `status` of the run, and choose an earlier `time`.",
    )


def ended(met: bool, watched: bool, failed: bool = False) -> Outcome:
    """How a phase ended that had thresholds to watch, or none, and met them, or not."""
    if failed:
        return Outcome.FAILED
    if met:
        return Outcome.THRESHOLD
    return Outcome.THRESHOLD_MISSED if watched else Outcome.DURATION
