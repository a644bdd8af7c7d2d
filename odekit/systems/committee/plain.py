"""Committees as plain data and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.base.errors import ProblemError
from odekit.problem.plain import Apart, fields_of, phase_from, phase_plain, plain, rich, rich_fields
from odekit.scenario.write import used
from odekit.systems.committee.activations import Activation
from odekit.systems.committee.problem import SELDOM, Problem, Task
from odekit.systems.committee.state import OrderParameters

OWN = {"biases": None, "teacher_biases": None, "test_scale": 1.0}
"""Numbers of a problem that few have, and what they are otherwise."""


def write(problem: Problem, apart: Apart | None) -> dict[str, Any]:
    """Plain data; large arrays may be kept apart."""
    state = problem.state
    groups = {n: plain(f, f"groups_{n}", apart) for n, f in (problem.groups or {}).items()}
    own = {n: plain(getattr(problem, n), n, apart) for n in OWN}
    return {
        **({"groups": groups} if groups else {}),
        **({"beyond": problem.beyond} if problem.beyond else {}),
        "activation": plain(problem.activation),
        **(
            {"teacher_activation": problem.teacher_activation} if problem.teacher_activation else {}
        ),
        **{n: given for n, given in own.items() if given != OWN[n]},
        "state": {n: plain(getattr(state, n), f"state_{n}", apart) for n in ("Q", "R", "T")},
        "heads": {n: plain(v, f"heads_{n}", apart) for n, v in problem.heads.items()},
        "tasks": {n: task_plain(task, f"tasks_{n}", apart) for n, task in problem.tasks.items()},
        "phases": [
            phase_plain(phase, f"phases_{i}", apart) for i, phase in enumerate(problem.phases)
        ],
    }


def written(problem: Problem) -> dict[str, Any]:
    """The sections of a scenario.

    Raises
    ------
    ProblemError
        If the activation is the user's own.
    """
    own = problem.activation
    if isinstance(own, Activation) and not own.is_shipped:
        rule = "must be one that scenarios name"
        raise ProblemError("activation", rule, repr(own.name), "Functions of one's own are code.")
    parts = {name: part for name, part in write(problem, None).items() if name != "beyond"}
    parts["phases"] = [used(phase) for phase in parts["phases"]]
    if problem.groups is not None:
        names = list(problem.groups)
        parts["state"] = {n: _by_group(n, x, names) for n, x in parts["state"].items()}
    return {"title": problem.title or None, **parts}


def _by_group(name: str, blocks: Any, groups: list[str]) -> dict[str, Any]:
    """Overlaps by the name of their group, as scenarios have them."""
    if isinstance(blocks, Mapping):
        remedy = "Write one point of the sweep."
        raise ProblemError(f"state.{name}", "must be plain numbers with groups", "a sweep", remedy)
    return dict(zip(groups, blocks, strict=True))


def read(data: Mapping[str, Any], own: Activation | None) -> Problem:
    """Rebuild, and check, a problem; `own` is the user's own activation."""
    activation = data.get("activation", "erf")
    if isinstance(activation, Mapping):
        activation = Activation.from_dict(activation, own)
    return Problem(
        state=OrderParameters(**{k: rich(v) for k, v in data["state"].items()}),
        heads={name: rich(v) for name, v in data["heads"].items()},
        tasks={name: Task(**rich_fields(task)) for name, task in data["tasks"].items()},
        phases=[phase_from(phase) for phase in data["phases"]],
        activation=activation,
        teacher_activation=data.get("teacher_activation"),
        **{n: rich(data[n]) for n in OWN if n in data},
        groups={n: rich(f) for n, f in data["groups"].items()} if "groups" in data else None,
    )


def task_plain(task: Task, where: str, apart: Apart | None) -> dict[str, Any]:
    """Fields in use of a task, as JSON data: what few tasks say only where they do."""
    data = fields_of(task, where, apart)
    return {k: v for k, v in data.items() if k not in SELDOM or v != SELDOM[k]}
