"""The phases of a problem: where each stands, and what a system refuses in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from odekit.base.errors import ProblemError
from odekit.problem.phase import BY_EDGE, Phase, is_usual


def placed(
    phases: Sequence[Any], edges: Collection[str] = (), groups: Collection[str] = ()
) -> Iterator[tuple[str, Phase]]:
    """Every phase of a problem with its place in words; refuses what is none, or of other edges.

    Learning rates by group of inputs are let pass where there are groups.
    """
    if not phases:
        raise ProblemError("phases", "must hold at least one Phase", "none", "")
    for i, phase in enumerate(phases):
        if not isinstance(phase, Phase):
            raise ProblemError(f"phases[{i}]", "must be a Phase", repr(phase)[:80], "")
        for name in [n for n in BY_EDGE if not (groups and n == "learning_rate")]:
            _check_edges(f"phases[{i}].{name}", getattr(phase, name), edges)
        yield f"phases[{i}]", phase


def _check_edges(where: str, value: Any, edges: Collection[str]) -> None:
    if not isinstance(value, Mapping):
        return
    if not edges:
        rule, remedy = "must be one for all weights", "Only linear networks have edges."
        raise ProblemError(where, rule, f"a mapping from {', '.join(map(repr, value))}", remedy)
    for name in value:
        if name not in edges:
            known = ", ".join(map(repr, edges))
            rule = f"must name edges of the network ({known})"
            raise ProblemError(where, rule, repr(name), "Write one number for all of them.")


def check_phases(
    phases: Sequence[Any],
    tasks: Mapping[str, Any],
    refused: Mapping[str, Any],
    why: str,
    edges: Collection[str] = (),
) -> None:
    """Refuse phases with terms that a system lacks, given by default value, or unknown names."""
    for where, phase in placed(phases, edges):
        for name in phase.moving:
            rule = "must be a number: such systems have schedules of learning rates alone"
            raise ProblemError(f"{where}.{name}", rule, "a schedule", "Use several phases.")
        for name, default in refused.items():
            if not is_usual(getattr(phase, name), default):
                rule, value = f"must be left out: {why}", repr(getattr(phase, name))[:80]
                raise ProblemError(f"{where}.{name}", rule, value, "")
        for name in (*phase.mixture, *phase.thresholds):
            if name not in tasks:
                known = ", ".join(map(repr, tasks))
                rule = f"must name a task of the problem ({known})"
                raise ProblemError(f"{where}.tasks", rule, repr(name))
