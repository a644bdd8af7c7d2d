"""Which packing a problem has: the committee's own, or that of structured problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from odekit.systems.committee.structure import is_general

if TYPE_CHECKING:
    from odekit.problem.axes import Axis
    from odekit.systems.committee.problem import Problem


def points_of(
    problem: Problem, found: Mapping[str, Axis], *, derivatives: bool = True, general: bool = False
) -> Any:
    """The packing of all points of a sweep, `CommitteePoints` or `GeneralPoints`.

    `derivatives` says whether they will be asked for, and not the errors alone; `general` asks for
    `GeneralPoints` where the problem does not need them.
    """
    if general or is_general(problem):
        from odekit.systems.committee.general import GeneralPoints

        return GeneralPoints(problem, found)
    from odekit.systems.committee.points import CommitteePoints

    return CommitteePoints(problem, found, derivatives=derivatives)
