"""Learning rates and decays of the edges in a phase: what all share, what each has of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.base.errors import ProblemError
from odekit.problem.phase import each
from odekit.problem.schedule import Schedule

ALIKE = 1e-12
"""Relative deviation below which schedules are the same up to a factor."""

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.linear.network import Network
    from odekit.systems.linear.problem import LinearProblem


class Rates:
    """dW_e/dt = η η_e (G_e − κ_e W_e): with one rate for all edges it is η, by edge they are η_e.

    Attributes
    ----------
    common : float, DataArray or Schedule
        η; 1 where edges have rates of their own.
    by_edge : bool
        Whether they have, or decay; if not, the rest is empty.
    of_edges, decays : list
        η_e and κ_e, in the order of the edges.
    """

    def __init__(self, problem: LinearProblem, phase: Phase) -> None:
        edges, rate = problem.network.edges, phase.learning_rate
        apart = not together(phase)
        self.by_edge = apart or any(map(np.any, each(phase.weight_decay)))
        self.common: Any = 1.0 if apart else rate
        used = edges if self.by_edge else ()
        self.of_edges = [rate[e] if apart else 1.0 for e in used]
        self.decays = [decay_of(phase, e) for e in used]

    @property
    def first(self) -> list[Any]:
        """Rates of the edges as the phase begins."""
        return [r(0.0) if isinstance(r, Schedule) else r for r in self.of_edges]

    @property
    def schedules(self) -> dict[int, Schedule]:
        """Rates that change within the phase, by the number of their edge."""
        return {e: r for e, r in enumerate(self.of_edges) if isinstance(r, Schedule)}


def together(phase: Phase) -> bool:
    """Whether all edges have one rate."""
    return not isinstance(phase.learning_rate, Mapping)


def rate_of(phase: Phase, edge: str) -> Any:
    """Learning rate of an edge."""
    rate = phase.learning_rate
    return rate[edge] if isinstance(rate, Mapping) else rate


def decay_of(phase: Phase, edge: str) -> Any:
    """Weight decay of an edge."""
    decay = phase.weight_decay
    return decay.get(edge, 0.0) if isinstance(decay, Mapping) else decay


def shares(phase: Phase, edges: Collection[str]) -> dict[str, Any] | None:
    """1/η_e of some edges, up to what all rates share; None where their ratios change in time.

    With one rate for all edges of the network they are 1, and NaN for an edge that stands still.
    """
    if not isinstance(phase.learning_rate, Mapping):
        return dict.fromkeys(edges, 1.0)
    rates = {e: _constant(phase.learning_rate[e]) for e in edges}
    tables = [r for r in rates.values() if isinstance(r, Schedule)]
    if tables and not (len(tables) == len(rates) and all(_alike(tables[0], s) for s in tables[1:])):
        return None
    sizes = {e: r.values.max() if isinstance(r, Schedule) else r for e, r in rates.items()}
    return {e: 1.0 / (x.where(x > 0) if is_labelled(x) else x or np.nan) for e, x in sizes.items()}


def _constant(rate: Any) -> Any:
    """The number that a table of one value is."""
    same = isinstance(rate, Schedule) and bool(np.all(rate.values == rate.values[0]))
    return float(rate.values[0]) if same else rate


def _alike(one: Schedule, two: Schedule) -> bool:
    """Whether two schedules differ by a factor."""
    names = ("times", "kinks")
    if one.interpolation != two.interpolation or not all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in names
    ):
        return False
    first, second = one.values * two.values.max(), two.values * one.values.max()
    return bool(np.abs(first - second).max() <= ALIKE * first.max())


def check_rates(phase: Phase, network: Network, where: str) -> None:
    """Refuse rates by edge that leave some out: whether these stand still must be said."""
    if isinstance(phase.learning_rate, Mapping):
        for edge in network.edges:
            if edge not in phase.learning_rate:
                rule = "must have a rate for every edge"
                remedy = f"Write {edge!r}: 0 for one that stands still."
                raise ProblemError(f"{where}.learning_rate", rule, f"none for {edge!r}", remedy)
