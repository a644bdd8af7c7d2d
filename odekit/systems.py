"""The systems of equations there are: which layout packs a problem, by its kind.

A new system is a kernel file, a kind of problem, a layout, and a line in `_layouts`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from odekit import linearlayout, provenance
from odekit.batch import BatchLayout
from odekit.layout import CommitteeLayout, quadrature_of
from odekit.linearbatch import LinearBatch
from odekit.linearlayout import LinearLayout
from odekit.problem import Problem

if TYPE_CHECKING:
    from odekit.base import AnyProblem
    from odekit.integrate import System
    from odekit.stepper import Floats
    from odekit.sweep import Axis


MOST = 64
"""Most weights of a network in lanes, whose implicit steps invert n x n matrices in each; larger
ones go one by one, through BLAS."""


class Layout(Protocol):
    """Packing of one run; a frame is what is constant in a phase but may change at a switch."""

    tasks: list[str]

    def start(self) -> tuple[Any, Floats]:
        """Frame and state at time 0."""

    def visible(self, y: Floats) -> Floats:
        """The part of a state that a row shows."""

    def enter(self, index: int, frame: Any, y: Floats) -> tuple[Any, Floats]:
        """Frame and state as a phase begins."""

    def system(self, index: int, frame: Any, begin: float) -> System:
        """The equations of a phase."""

    def errors(self, y: Floats) -> Floats:
        """Errors of all tasks, (rows, tasks), of visible states."""

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables of the dataset by name, from visible states."""


def _layouts() -> dict[str, tuple[Any, str]]:
    return {
        "committee": (CommitteeLayout, provenance.REFERENCES),
        "linear": (LinearLayout, linearlayout.REFERENCES),
    }


def layout_of(problem: AnyProblem) -> Layout:
    """The layout of one run."""
    layout: Layout = _layouts()[problem.kind][0](problem)
    return layout


def points_of(problem: AnyProblem, found: dict[str, Axis]) -> Any:
    """The layout of all points of a sweep, for the compiled engine."""
    return {"committee": BatchLayout, "linear": LinearBatch}[problem.kind](problem, found)


def in_lanes(problem: AnyProblem) -> bool:
    """Whether the compiled engine has the equations."""
    if isinstance(problem, Problem):
        return quadrature_of(problem) is None
    network = getattr(problem, "network", None)
    return network is not None and sum(map(math.prod, map(network.shape, network.edges))) <= MOST


def constants(problem: AnyProblem) -> dict[str, Any]:
    """Variables of the dataset that no run changes, with the sweep dims that they have."""
    found: dict[str, Any] = _layouts()[problem.kind][0].constants(problem)
    return found


def absent(problem: AnyProblem) -> set[str]:
    """Variables of the dataset that no run of a problem has."""
    found: set[str] = _layouts()[problem.kind][0].absent(problem)
    return found


def numbers(problem: AnyProblem) -> int:
    """Numbers that one trajectory starts from."""
    return int(_layouts()[problem.kind][0].numbers(problem))


def sizes(problem: AnyProblem) -> dict[str, int]:
    """Length of every core dim of the dataset but ``time``."""
    own: dict[str, int] = _layouts()[problem.kind][0].sizes(problem)
    return {**own, "phase_index": len(problem.phases)}


def labels(problem: AnyProblem) -> dict[str, list[str]]:
    """Coordinates of the dataset that are names."""
    found: dict[str, list[str]] = _layouts()[problem.kind][0].labels(problem)
    return found


def references(problem: AnyProblem) -> str:
    """The papers whose equations these are."""
    return _layouts()[problem.kind][1]
