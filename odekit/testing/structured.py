"""Hypothesis strategy of structured problems: outputs, labels, means, biases, dropout, momentum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from odekit.problem.normalization import AdaGradNorm, RMSNorm
from odekit.problem.phase import Phase
from odekit.systems.committee.problem import Problem, Task
from odekit.testing.strategies import problems

Draw = Callable[[st.SearchStrategy[Any]], Any]


def structured_problems(
    base: st.SearchStrategy[Problem] | None = None,
) -> st.SearchStrategy[Problem]:
    """Problems that need the drive in full, made from plain ones by adding to each part.

    Parameters
    ----------
    base : strategy of Problem, optional
        By default `odekit.testing.strategies.problems` of erf units with full rank.

    Returns
    -------
    strategy of Problem
        Numbers are multiples of 1/64; fewer outputs and no extras come first.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(structured_problems(), lambda p: p.biases is not None).outputs
    1
    """
    plain = problems(kinds=["full_rank"], duration=1.0) if base is None else base

    @st.composite
    def build(draw: Draw) -> Problem:
        given = draw(plain)
        K, P, O = given.state.student, given.state.teacher, draw(st.integers(1, 2))
        biased = draw(st.booleans())
        changed: Problem = given.replace(
            heads={name: draw(_numbers(O, K)) for name in given.heads},
            tasks={name: _task(draw, task, O, P) for name, task in given.tasks.items()},
            phases=[_phase(draw, phase, K, biased) for phase in given.phases],
            biases=draw(_numbers(K)) if biased else None,
            teacher_biases=draw(_numbers(P)) if biased else None,
        )
        return changed

    return build()


def _numbers(*shape: int) -> st.SearchStrategy[Any]:
    """Multiples of 1/64 between −1 and 1."""
    size = int(np.prod(shape))
    numbers = st.lists(st.integers(-64, 64), min_size=size, max_size=size)
    return numbers.map(lambda x: np.array(x, dtype=float).reshape(shape) / 64)


def _fraction(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda i: i / 64)


def _task(draw: Draw, task: Task, O: int, P: int) -> Task:
    said: dict[str, Any] = {"readout": draw(_numbers(O, P)), "label": draw(_numbers(O))}
    if draw(st.booleans()):
        said["input_mean"] = draw(_numbers(P))
    if draw(st.booleans()):
        said |= {"input_variance": draw(_fraction(16, 96)), "student_gain": draw(_fraction(16, 96))}
        said["student_noise_std"] = draw(_fraction(0, 32))
    return replace(task, **said)


def _phase(draw: Draw, phase: Phase, K: int, biased: bool) -> Phase:
    said: dict[str, Any] = {}
    if biased:
        said["bias_learning_rate"] = draw(_fraction(0, 31))
    if draw(st.booleans()):
        said["keep_probability"] = 0.5 * (1.0 + np.abs(draw(_numbers(K))))
    if draw(st.booleans()):
        said["momentum_decay"] = draw(_fraction(32, 256))
    if not phase.gradient_flow and draw(st.booleans()):
        rules = [AdaGradNorm(1.0), RMSNorm(2.0, 1.0, 0.25)]
        said["normalization"] = draw(st.sampled_from(rules))
    return replace(phase, **said)
