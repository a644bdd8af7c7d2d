"""Finite networks of a committee: what is common to them, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import choice, count
from odekit.base.errors import ProblemError
from odekit.problem.axes import at, axes, points
from odekit.systems.committee.chain import ChainNetwork, Curriculum, train_chains
from odekit.systems.committee.fleet import check_gpu, train_fleet
from odekit.systems.committee.inputs import Samples, samples_of
from odekit.systems.committee.lesson import structured
from odekit.systems.committee.network import CommitteeNetwork, Experiment
from odekit.systems.committee.packing import points_of
from odekit.systems.committee.problem import Problem
from odekit.systems.committee.structure import is_general, words_of
from odekit.systems.committee.trainer import trainer
from odekit.systems.committee.weights import realise
from odekit.training.course import Trajectory
from odekit_kernels.simd import WIDTH

__all__ = ["courses", "experiment", "together"]

METHODS = ("overlaps", "weights")
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
    method: str | None,
) -> Experiment:
    """What all networks have in common, checked."""
    if method is not None:
        choice("method", method, METHODS)
    check_gpu(device, problem.activation)
    if inputs is None and (labels is not None or preprocess != "none"):
        raise ProblemError("inputs", "must be given with `labels` and `preprocess`", "None", "")
    if inputs is not None and structured(problem):
        rule = "must be left out where the problem says how inputs are drawn"
        remedy = "Leave out its groups, and what its tasks say of the inputs."
        raise ProblemError("inputs", rule, "samples", remedy)
    samples = None if inputs is None else samples_of(problem, inputs, labels, preprocess)
    if fisher_samples is not None:
        fisher_samples = count("fisher_samples", fisher_samples, most=2**53)
    N = _dimension(input_dim, samples)
    against = _against_overlaps(problem, N, inputs, fisher_samples, device)
    if method == "overlaps" and against is not None:
        raise ProblemError(*against)
    method = method or ("overlaps" if against is None else "weights")
    _check_size(problem, N, method)
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
        method=method,
        device=device,
    )


def courses(
    problem: Problem, experiment: Experiment, seeds: Sequence[np.random.SeedSequence]
) -> list[Trajectory]:
    """Networks to be trained through all phases, one for each seed."""
    packing = points_of(problem, {}, derivatives=False)
    build: Callable[[np.random.SeedSequence], Any]
    if experiment.method == "overlaps":
        build = partial(ChainNetwork, Curriculum(packing, experiment))
    else:
        build = partial(CommitteeNetwork, packing, experiment)
    return [Trajectory(problem, experiment, packing, partial(build, seed)) for seed in seeds]


def together(experiment: Experiment) -> tuple[int | None, Any]:
    """How many networks are trained together, None for all, and what trains them."""
    if experiment.device == "cuda":
        return None, train_fleet
    if experiment.method == "overlaps":
        return WIDTH, train_chains
    return 1, lambda networks, stop: [network.run(stop) for network in networks]


def _dimension(input_dim: int | None, samples: Samples | None) -> int:
    """N, checked against given inputs."""
    given = None if samples is None else samples.N
    if input_dim is None and given is None:
        raise ProblemError("input_dim", "must be given", "None", "It is N; 1000 is a good start.")
    N = count("input_dim", given if input_dim is None else input_dim, most=MOST_STEPS)
    if given is not None and given != N:
        remedy = "Leave `input_dim` out; constant features do not count."
        raise ProblemError("input_dim", f"must be that of the inputs, {given}", str(N), remedy)
    return N


def _against_overlaps(
    problem: Problem, N: int, inputs: Any, fisher_samples: int | None, device: str
) -> tuple[str, str, str, str] | None:
    """What keeps a simulation from being one of overlaps, as a refusal; None for nothing."""
    rule = "must be 'weights' "
    if is_general(problem):
        return "method", f"{rule}with {words_of(problem)}", "'overlaps'", "Leave it out."
    if structured(problem):
        remedy = "The chain is of white inputs."
        return "method", f"{rule}with groups or views of inputs", "'overlaps'", remedy
    if inputs is not None:
        return "method", f"{rule}with `inputs`", "'overlaps'", "Only Gaussian inputs have a chain."
    if fisher_samples is not None:
        remedy = "Overlaps take its closed form."
        return "method", f"{rule}with `fisher_samples`", "'overlaps'", remedy
    if device != "cpu":
        return "method", f"{rule}with device={device!r}", "'overlaps'", "On the CPU it is fast."
    state = problem.state
    copies = sum(phase.consolidation is not None for phase in problem.phases)
    D = state.student * (1 + copies) + state.teacher
    if N < D:
        remedy = "Fewer dimensions take method='weights'."
        rule = f"must be at least the number of vectors for method='overlaps', {D}"
        return "input_dim", rule, str(N), remedy
    return None


def _check_size(problem: Problem, N: int, method: str) -> None:
    """What a step takes, checked against memory; with weights also that there are such."""
    state = problem.state
    width = N
    if method == "weights":
        count("input_dim", N, most=MOST_INPUTS)
        shares = [float(np.min(np.asarray(f))) for f in (problem.groups or {"": 1.0}).values()]
        least = int(min(shares) * N - 1.0) if problem.groups else N
        if state.student + state.teacher > least:
            for _, index in points(axes(problem)):
                one = at(problem, index)
                realise(one.state, N, 0, one.groups)
    else:
        width = WIDTH * (state.student + state.teacher)
    largest = max(phase.batch_size for phase in problem.phases)
    if largest * width > MOST_INPUTS:
        raise ProblemError(
            "batch_size",
            f"must make at most {MOST_INPUTS} numbers in the inputs of a step",
            f"{largest} samples of {width}",
            "Use a smaller batch or input_dim.",
        )
