"""What a right-hand side costs, from counts: never from a clock that a busy machine slows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from odekit.systems.committee.problem import Problem

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem

LANES, ALONE = 5e-9, 1.2e-8
"""Seconds for each moment I4 in the lanes of a sweep (2 to 3 ns measured, and what steps take
besides), and of a single run."""
LANES_CALL, ALONE_CALL = 2e-7, 3e-5
"""Seconds of a right-hand side besides its moments: in lanes, and through scipy."""
JACOBIAN = 10
"""Right-hand sides that a Jacobian and its inverse take about as long as."""


def moments(problem: AnyProblem) -> int:
    """Moments I4 that a right-hand side takes, or what takes as long."""
    if not isinstance(problem, Problem):
        network: Any = getattr(problem, "network", None)
        weights = int(sum(math.prod(network.shape(edge)) for edge in network.edges))
        return weights**2 // 8 + 1
    K = problem.state.student
    copies = sum(phase.consolidation is not None for phase in problem.phases)
    D = K + problem.state.teacher + copies * K
    if all(phase.gradient_flow for phase in problem.phases):
        return K * D * (D + 1) // 2
    return K * (K + 1) * D * (D + 1) // 4


def seconds_per_call(problem: AnyProblem, lanes: bool) -> float:
    """Seconds of one core that a right-hand side of one trajectory takes."""
    if lanes:
        return LANES * moments(problem) + LANES_CALL
    return ALONE * moments(problem) + ALONE_CALL
