"""Checks that need the whole problem: names that must exist, lengths that must agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from odekit.base.checks import MAX_UNITS
from odekit.base.errors import ProblemError
from odekit.problem.phase import Phase
from odekit.problem.phases import placed
from odekit.systems.committee.activations import node_counts, on_quadrature
from odekit.systems.committee.problem import WHITE, Task
from odekit.systems.committee.structure import check_structure

if TYPE_CHECKING:
    from odekit.systems.committee.problem import Problem


def check_problem(problem: Problem) -> None:
    """Raise on the first inconsistency between the parts of a problem."""
    _check_groups(problem)
    _check_tasks(problem)
    for i, (where, phase) in enumerate(placed(problem.phases, groups=problem.groups or ())):
        _check_phase(problem, i, where, phase)
    check_structure(problem)
    _check_size(problem)
    _check_accuracy(problem)


def protected_task(problem: Problem, index: int) -> str:
    """The task that the consolidation of a phase protects."""
    consolidation = problem.phases[index].consolidation
    assert consolidation is not None
    if consolidation.task is not None:
        return consolidation.task
    before = list(problem.phases[index - 1].mixture) if index else []
    if len(before) != 1:
        raise ProblemError(
            f"phases[{index}].consolidation.task",
            "must be named unless the phase before trained exactly one task",
            "None",
            f"Name one of {_list(problem.tasks)}.",
        )
    return before[0]


def _check_groups(problem: Problem) -> None:
    """The state has the groups that the problem names, in their order."""
    groups, found = problem.groups, problem.state.groups
    if groups is None and found is not None:
        remedy = 'Name them with their fractions: groups={"relevant": 0.5, ...}.'
        raise ProblemError("groups", f"must name the {found} groups of the state", "None", remedy)
    if groups is not None and found != len(groups):
        given = "a state without groups" if found is None else f"one of {found}"
        rule = f"must have an axis of the {len(groups)} groups ({_list(groups)})"
        raise ProblemError("state", rule, given, "OrderParameters.draw(..., groups=...) makes it.")
    names = getattr(problem.state, "_group_names", None)
    if groups is not None and names is not None and names != tuple(groups):
        rule = f"must have its groups in the order of the problem's ({_list(groups)})"
        raise ProblemError("state", rule, _list(names), "Select them in this order.")


def _check_views(problem: Problem, where: str, task: Task) -> None:
    """What a task says of groups it says of each of them."""
    for name in WHITE:
        _each_group(problem, f"{where}.{name}", getattr(task, name))


def _each_group(problem: Problem, argument: str, value: object) -> None:
    if not isinstance(value, Mapping):
        return
    if problem.groups is None:
        remedy = "Give the problem groups, or one number for all inputs."
        raise ProblemError(
            argument, "must be a number without groups", repr(dict(value))[:80], remedy
        )
    _known(argument, value, problem.groups, "group")
    left = [name for name in problem.groups if name not in value]
    if left:
        rule = f"must have a number for every group ({_list(problem.groups)})"
        raise ProblemError(argument, rule, f"none for {left[0]!r}", "Add it.")


def _check_tasks(problem: Problem) -> None:
    P = problem.state.teacher
    for name, task in problem.tasks.items():
        if not isinstance(task, Task):
            raise ProblemError(f"tasks[{name!r}]", "must be a Task", repr(task)[:80], "")
        if task.readout.shape[-1] != P:
            raise ProblemError(
                f"tasks[{name!r}].readout",
                f"must have shape (P,) = ({P},), one entry for each fixed vector",
                f"({task.readout.shape[-1]},)",
                "Write zeros for the fixed vectors outside the task.",
            )
        _check_views(problem, f"tasks[{name!r}]", task)
        _known(f"tasks[{name!r}].head", [problem.head_of(name)], problem.heads, "head")


def _check_phase(problem: Problem, i: int, where: str, phase: Phase) -> None:
    K = problem.state.student
    _known(f"{where}.tasks", phase.mixture, problem.tasks, "task")
    _each_group(problem, f"{where}.learning_rate", phase.learning_rate)
    for task, variance in (phase.input_variance or {}).items():
        _each_group(problem, f"{where}.input_variance[{task!r}]", variance)
    _known(f"{where}.until", phase.thresholds, problem.tasks, "task")
    for target, source in (phase.copy_heads or {}).items():
        _known(f"{where}.copy_heads", [target, source], problem.heads, "head")
    if phase.frozen is not None and len(phase.frozen) != K:
        raise ProblemError(
            f"{where}.frozen",
            f"must have shape (K,) = ({K},), one entry for each student unit",
            f"({len(phase.frozen)},)",
            "",
        )
    if phase.consolidation is not None:
        _known(f"{where}.consolidation.task", [protected_task(problem, i)], problem.tasks, "task")


def _check_size(problem: Problem) -> None:
    """Copies made by consolidation count as fixed vectors too."""
    copies = sum(phase.consolidation is not None for phase in problem.phases)
    fixed = problem.state.teacher + copies * problem.state.student
    if fixed > MAX_UNITS:
        raise ProblemError(
            "phases",
            f"must make at most {MAX_UNITS} fixed vectors with the copies of their consolidations",
            str(fixed),
            "Consolidate at fewer switches.",
        )


def _check_accuracy(problem: Problem) -> None:
    """Refuse an activation whose moments cannot be had to its accuracy where the run begins."""
    flow = all(phase.gradient_flow for phase in problem.phases)
    own = on_quadrature(problem.activation, flow)
    if own is None or not own.is_here:
        return
    norms = [
        np.diagonal(np.asarray(x), axis1=-2, axis2=-1) for x in (problem.state.Q, problem.state.T)
    ]
    node_counts(own, float(np.sqrt(max(float(x.max()) for x in norms))), not flow)


def _known(argument: str, names: Iterable[str], known: Iterable[str], kind: str) -> None:
    for name in names:
        if name not in known:
            raise ProblemError(
                argument,
                f"must name a {kind} of the problem ({_list(known)})",
                repr(name),
                f"Add it to `{kind}s` or correct the name.",
            )


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(n) for n in names)
