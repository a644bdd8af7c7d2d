"""Outputs, labels, means, biases, masks: whether a problem has them, and whether they agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import has_core
from odekit.base.errors import ProblemError
from odekit.problem.axes import numbers
from odekit.systems.committee.problem import SELDOM, outputs_of
from odekit.systems.committee.variables import BEYOND

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.problem import Problem, Task


def is_general(problem: Problem) -> bool:
    """Whether a problem needs the equations that know outputs, means, biases, masks and momentum.

    Without any of these the committee's own equations are quicker, and the same.
    """
    return any(True for _ in _said(problem))


def words_of(problem: Problem) -> str:
    """What a problem has of them, in words."""
    return ", ".join(dict.fromkeys(_said(problem)))


def refuse_general(problem: Problem, what: str) -> None:
    """Refuse what `is_general` tells where what is computed does not know it."""
    if is_general(problem):
        rule = f"must be without outputs, labels, means, biases, dropout and momentum, for {what}"
        raise ProblemError("problem", rule, words_of(problem), "Leave them out.")


def _said(problem: Problem) -> Iterator[str]:
    if problem.outputs is not None:
        yield "outputs"
    if problem.biases is not None or problem.teacher_biases is not None:
        yield "biases"
    if problem.teacher_activation is not None and problem.activation != "erf":
        yield "teachers of their own activation"
    if _is_other(problem.test_scale, 1.0):
        yield "test_scale"
    for task in problem.tasks.values():
        yield from (name for name in ("label", "input_mean") if _differs(task, name))
    for phase in problem.phases:
        if _is_other(phase.keep_probability, 1.0):
            yield "dropout"
        if phase.momentum_decay is not None:
            yield "momentum"
        if phase.normalization is not None:
            yield "normalization"


def _differs(task: Task, name: str) -> bool:
    value, usual = getattr(task, name), SELDOM[name]
    return value is not None and (usual is None or _is_other(value, usual))


def _is_other(value: Any, usual: Any) -> bool:
    """Whether some number is not the usual one; asked of plain numbers of many phases."""
    plain = type(value) is float
    return bool(value != usual) if plain else bool(np.any(np.asarray(value) != usual))


def check_structure(problem: Problem) -> None:
    """Raise on the first of them that does not fit the others."""
    outputs = problem.outputs
    for name, head in problem.heads.items():
        _check_outputs(f"heads[{name!r}]", outputs_of(head, unit=True), outputs)
    for name, task in problem.tasks.items():
        where = f"tasks[{name!r}]"
        _check_outputs(f"{where}.readout", outputs_of(task.readout, unit=True), outputs)
        for one in ("label", "noise_std"):
            _check_of_each(f"{where}.{one}", outputs_of(getattr(task, one), unit=False), outputs)
        _check_mean(f"{where}.input_mean", task.input_mean, problem.state.teacher)
    _check_axes(problem)
    _check_biases(problem)
    for i, phase in enumerate(problem.phases):
        _check_phase(problem, f"phases[{i}]", phase)


def _check_axes(problem: Problem) -> None:
    """Refuse sweep dims of names that the result of such a problem has."""
    taken = {v.name for name in problem.beyond for v in BEYOND.get(name, [])} | {"output"}
    for where, value in numbers(problem, ""):
        of_outputs = re.match(r"heads\[|tasks\[.*\.(readout|label|noise_std)$", where)
        for dim in taken.intersection(map(str, value.dims)) - ({"output"} if of_outputs else set()):
            rule = "must have sweep dims that nothing in the result has"
            raise ProblemError(where, rule, repr(dim), "Rename the dim.")


def _check_outputs(argument: str, found: int | None, outputs: int | None) -> None:
    if found == outputs:
        return
    wanted = "no axis of outputs" if outputs is None else f"an axis of {outputs} outputs"
    given = "none" if found is None else f"one of {found}"
    remedy = "Heads are (K,) and readouts (P,), or (O, K) and (O, P), all of them."
    raise ProblemError(argument, f"must have {wanted}, as the first head", given, remedy)


def _check_of_each(argument: str, found: int | None, outputs: int | None) -> None:
    if found is not None and found != outputs:
        rule = f"must be a number{'' if outputs is None else f' or have shape ({outputs},)'}"
        raise ProblemError(argument, rule, f"shape ({found},)", "One for each output.")


def _check_mean(argument: str, mean: Any, P: int) -> None:
    if mean is not None and mean.shape[-1] != P:
        rule = f"must have shape (P,) = ({P},), one coefficient for each fixed vector"
        remedy = "Means of inputs are combinations of the fixed vectors, Σ_n s_n B_n/√N."
        raise ProblemError(argument, rule, f"({mean.shape[-1]},)", remedy)


def _check_biases(problem: Problem) -> None:
    """Refuse biases that nothing could ever move from zero."""
    if problem.biases is None or problem.activation != "linear":
        return
    moved = problem.teacher_biases is not None or np.any(np.asarray(problem.biases))
    if not moved and not any(
        _differs(task, name) for task in problem.tasks.values() for name in ("label", "input_mean")
    ):
        rule = "must be left out where linear units can have no use for them"
        given = "biases of zero, and tasks without label or input_mean"
        raise ProblemError("biases", rule, given, "Targets of mean zero need no bias: leave it.")


def _check_phase(problem: Problem, where: str, phase: Phase) -> None:
    K = problem.state.student
    kept: Any = phase.keep_probability
    shape = np.shape(kept)[-1:]
    if not hasattr(kept, "dims") and np.ndim(kept) > 1:
        rule = "must be a number, or one for each student unit"
        raise ProblemError(f"{where}.keep_probability", rule, f"shape {np.shape(kept)}", "")
    if has_core(kept, "student", 1) and shape != (K,):
        rule = f"must be a number or have shape (K,) = ({K},), one for each student unit"
        raise ProblemError(f"{where}.keep_probability", rule, str(shape), "")
    if problem.biases is None and np.any(np.asarray(phase.bias_learning_rate)):
        remedy = "Say where they begin: Problem(biases=[0.0, ...])."
        given = str(np.max(np.asarray(phase.bias_learning_rate)))
        argument = f"{where}.bias_learning_rate"
        raise ProblemError(argument, "must be 0 without biases", given, remedy)
    if phase.normalization is not None and phase.gradient_flow:
        rule = "must be left out in gradient flow, where steps vanish and so do their squares"
        remedy = "Leave out gradient_flow, or the normalization."
        raise ProblemError(f"{where}.normalization", rule, repr(phase.normalization), remedy)
