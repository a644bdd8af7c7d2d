"""What the kernels of SGD need of a phase: its tasks, what each sees, its rates and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.normalization import RMSNorm
from odekit.systems.committee.problem import WHITE
from odekit.systems.committee.seen import noise_in, of_group, sees_all
from odekit_kernels.committee.sgd.memory import Memory, Rule, padded

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.inputs import Samples
    from odekit.systems.committee.problem import Problem, Task


class Lesson(NamedTuple):
    """What the kernels need of a phase."""

    rule: Rule
    memory: Memory


class Pull(NamedTuple):
    """The penalties of the consolidations in force, as in `Rule`."""

    F: Floats
    Fa: Floats
    F_v: Floats
    Fv: Floats


def structured(problem: Problem) -> bool:
    """Whether the problem says how inputs are drawn, or seen: given ones are then refused."""
    tasks = problem.tasks.values()
    apart = any(not sees_all(task) or task.input_mean is not None for task in tasks)
    apart = apart or any(phase.input_variance for phase in problem.phases)
    return problem.groups is not None or problem.teacher_activation is not None or apart


def rule_of(
    problem: Problem,
    phase: Phase,
    B: Floats,
    group: Any,
    pull: Pull,
    samples: Samples | None,
) -> Rule:
    """The kernels' view of a phase.

    Parameters
    ----------
    problem : Problem
        With plain numbers.
    phase : Phase
    B : ndarray, shape (P, L)
        Fixed vectors, padded.
    group : ndarray of int, shape (N,)
        Which group each input is of.
    pull : Pull
    samples : Samples or None
        Given inputs.
    """
    names, heads, O = list(phase.mixture), list(problem.heads), problem.outputs or 1
    tasks = [problem.tasks[name] for name in names]
    u = readouts(tasks)
    sigma = _each_output([noise_in(problem, phase, name) for name in names], O)
    read = (u != 0).any(axis=0) & (samples is None or not samples.labels.size)
    p = np.array([phase.mixture[name] for name in names], dtype=float)
    frozen = np.zeros(problem.state.student) if phase.frozen is None else np.array(phase.frozen)
    shift = problem.teacher_biases
    return Rule(
        N=len(group),
        B=np.ascontiguousarray(B[read]),
        u=np.ascontiguousarray(u[:, read]),
        sigma=sigma,
        # Given to nine digits they sum to one only roughly.
        p=p / p.sum(),
        head=np.array([heads.index(problem.head_of(name)) for name in names], dtype=np.int64),
        move=1.0 - frozen,
        kappa_w=float(phase.weight_decay),
        kappa_v=float(phase.readout_weight_decay),
        **pull._asdict(),
        **_samples_of(samples, [list(problem.tasks).index(name) for name in names], O, B),
        **_views_of(problem, phase, B, group),
        pace=_pace(phase, problem, group),
        outputs=O,
        constant=_unless(_each_output([t.label for t in tasks], O), 0.0),
        shift=np.zeros(0) if shift is None else np.ascontiguousarray(np.asarray(shift)[read]),
        sign=problem.teacher_activation == "sign",
        eta_b=float(phase.bias_learning_rate),
        keep=_unless(np.broadcast_to(phase.keep_probability, len(frozen)).astype(float), 1.0),
        friction=float(phase.momentum_decay or 0.0),
        **_normalization(phase),
    )


def readouts(tasks: Sequence[Task]) -> Floats:
    """Teachers' readouts, a row for each output of each task."""
    return np.concatenate([np.atleast_2d(np.asarray(task.readout)) for task in tasks])


def spread(values: Any, group: Any) -> Floats:
    """Numbers of the groups, (..., G), at each input, padded with zeros."""
    return padded(np.atleast_2d(np.asarray(values, dtype=float))[:, group])


def _each_output(values: Sequence[Any], O: int) -> Floats:
    return np.concatenate([np.broadcast_to(np.asarray(v, dtype=float), O) for v in values])


def _unless(values: Floats, usual: float) -> Floats:
    """Numbers, or none where all are the usual one."""
    return values[:0] if (values == usual).all() else np.ascontiguousarray(values)


def _views_of(problem: Problem, phase: Phase, B: Floats, group: Any) -> dict[str, Any]:
    """What teacher and student see in each task of a phase, at each input."""
    none, changed = np.zeros((0, B.shape[1])), phase.input_variance or {}
    tasks = [
        replace(problem.tasks[n], input_variance=changed.get(n, problem.tasks[n].input_variance))
        for n in phase.mixture
    ]
    still = all(task.input_mean is None for task in tasks)
    if still and problem.groups is None and all(sees_all(task) for task in tasks):
        return dict.fromkeys(("drawn", "gain", "noise", "centre", "seen"), none)
    groups: list[str | None] = list(problem.groups or [None])
    m, a, s = (
        np.array([[of_group(getattr(t, kind), g) for g in groups] for t in tasks]) for kind in WHITE
    )
    found = {"drawn": spread(np.sqrt(m), group), "gain": spread(a * np.sqrt(m), group)}
    found["noise"] = spread(s, group) if np.any(s != 0.0) else none
    if still:
        return {**found, "centre": none, "seen": none}
    zero = np.zeros(len(B))
    means = [zero if t.input_mean is None else np.asarray(t.input_mean) for t in tasks]
    centre = np.array(means) @ B / np.sqrt(len(group))
    return {**found, "centre": centre, "seen": spread(a, group) * centre}


def _pace(phase: Phase, problem: Problem, group: Any) -> Floats:
    """Learning rate at each input over the largest, or none where all have one."""
    if not isinstance(phase.learning_rate, Mapping):
        return np.zeros((0, 0))
    rates = np.array([float(phase.learning_rate[g]) for g in problem.groups or ()])
    most = rates.max()
    return spread(rates / most if most > 0 else np.ones_like(rates), group)


def _normalization(phase: Phase) -> dict[str, Any]:
    """How B changes in a step."""
    rule = phase.normalization
    if not isinstance(rule, RMSNorm):
        return {"gather": 1.0}
    decay = float(rule.decay)
    return {"gather": decay, "forget": decay, "floor": float(rule.epsilon)}


def _samples_of(
    samples: Samples | None, places: Sequence[int], O: int, B: Floats
) -> dict[str, Any]:
    """The kernels' view of given inputs of some tasks, or of none."""
    S = len(places)
    if samples is None:
        none, zero = np.zeros((0, B.shape[1])), np.zeros(S, dtype=np.int64)
        return {"inputs": none, "labels": np.zeros((S * O, 0)), "first": zero, "size": zero}
    return {
        "inputs": samples.rows,
        "labels": np.concatenate([samples.labels[i * O : (i + 1) * O] for i in places]),
        "first": samples.first[places],
        "size": samples.count[places],
    }
