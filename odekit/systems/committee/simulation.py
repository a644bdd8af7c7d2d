"""Finite networks of a committee: what is common to them, and one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.problem.axes import at, axes, points
from odekit.systems.committee.fleet import check_gpu, train_fleet
from odekit.systems.committee.inputs import Samples, samples_of
from odekit.systems.committee.network import CommitteeNetwork, Experiment
from odekit.systems.committee.points import CommitteePoints
from odekit.systems.committee.problem import Problem
from odekit.systems.committee.trainer import trainer
from odekit.systems.committee.weights import realise
from odekit.training.course import Trajectory

__all__ = ["course", "experiment", "train_fleet"]

MOST_INPUTS = 2**27
"""Most numbers in the inputs of one step, 1 GiB."""
MOST_STEPS = 2**53
"""Three centuries at a microsecond each; beyond it the time of a step has no double of its own."""


def experiment(
    problem: Problem,
    *,
    input_dim: int | None,
    times: Floats | None,
    check_every: float,
    inputs: Any,
    labels: Any,
    preprocess: str,
    fisher_samples: int | None,
    device: str,
) -> Experiment:
    """What all networks have in common, checked."""
    check_gpu(device, problem.activation)
    if inputs is None and (labels is not None or preprocess != "none"):
        raise ProblemError("inputs", "must be given with `labels` and `preprocess`", "None", "")
    packing = CommitteePoints(problem, axes(problem), derivatives=False)
    if inputs is not None and packing.G:
        rule = "must be left out where the problem says how inputs are drawn"
        remedy = "Leave out its groups, and what its tasks say of the inputs."
        raise ProblemError("inputs", rule, "samples", remedy)
    samples = None if inputs is None else samples_of(problem, inputs, labels, preprocess)
    if fisher_samples is not None:
        fisher_samples = count("fisher_samples", fisher_samples, most=2**53)
    N = _dimension(problem, input_dim, samples)
    total = float(np.max(np.asarray(sum(phase.duration for phase in problem.phases))))
    if total * N > MOST_STEPS:
        raise ProblemError(
            "duration",
            f"must make at most 2^53 steps of SGD, {MOST_STEPS / N:.3g} with N = {N}",
            f"{total:g}, {total * N:.3g} steps",
            "Steps are duration · N, about a microsecond each: shorten the phases or lower N.",
        )
    return Experiment(
        input_dim=N,
        times=times,
        check_every=check_every,
        fisher_samples=fisher_samples,
        samples=samples,
        trainer=trainer(problem.activation),
    )


def course(problem: Problem, experiment: Experiment, seed: np.random.SeedSequence) -> Trajectory:
    """One network, to be trained through all phases."""
    packing = CommitteePoints(problem, {}, derivatives=False)
    return Trajectory(
        problem, experiment, packing, lambda: CommitteeNetwork(packing, experiment, seed)
    )


def _dimension(problem: Problem, input_dim: int | None, samples: Samples | None) -> int:
    """N, checked against the inputs, the overlaps and the memory that a step takes."""
    given = None if samples is None else samples.N
    if input_dim is None and given is None:
        raise ProblemError("input_dim", "must be given", "None", "It is N; 1000 is a good start.")
    N = count("input_dim", given if input_dim is None else input_dim, most=MOST_INPUTS)
    if given is not None and given != N:
        remedy = "Leave `input_dim` out; constant features do not count."
        raise ProblemError("input_dim", f"must be that of the inputs, {given}", str(N), remedy)
    shares = [float(np.min(np.asarray(f))) for f in (problem.groups or {"": 1.0}).values()]
    least = int(min(shares) * N - 1.0) if problem.groups else N
    if problem.state.student + problem.state.teacher > least:
        for _, index in points(axes(problem)):
            one = at(problem, index)
            realise(one.state, N, 0, one.groups)
    largest = max(phase.batch_size for phase in problem.phases)
    if largest * N > MOST_INPUTS:
        raise ProblemError(
            "batch_size",
            f"must make at most {MOST_INPUTS} numbers in the inputs of a step",
            f"{largest} samples of {N}",
            "Use a smaller batch or input_dim.",
        )
    return N
