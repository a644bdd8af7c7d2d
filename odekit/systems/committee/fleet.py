"""Many networks in lockstep on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from odekit.base.checks import choice
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Stop
from odekit.systems.committee.activations import COMPILED
from odekit.training.course import Request, Trajectory

if TYPE_CHECKING:
    from odekit.systems.committee.network import Experiment

MOST_NUMBERS = 2**29
"""Weights and what goes with them on the GPU at a time: 4 GiB."""
MOST_NETWORKS = 4096


def check_gpu(device: str, activation: Any) -> None:
    """Refuse what cannot run there before anything is computed."""
    choice("device", device, ("cpu", "cuda"))
    if device == "cpu":
        return
    if not (isinstance(activation, str) and activation in COMPILED):
        rule = f"must be 'cpu' for activations other than {', '.join(COMPILED)}"
        raise ProblemError("device", rule, f"{device!r} with {activation}", "")
    from odekit_kernels.committee.sgd import cuda as sgd_cuda

    if not sgd_cuda.available():
        remedy = "Use device='cpu', or install the GPU's driver and odekit[cuda]."
        raise ProblemError("device", "must be 'cpu' where numba finds no GPU", repr(device), remedy)


def train_fleet(networks: Sequence[Trajectory], stop: Stop) -> list[Any]:
    """Train networks on a GPU, as many at a time as fit, and return the arrays of each.

    Those that ask for the same steps of the same phase take them together.
    """
    results: list[Any] = []
    for fleet in _fleets(networks):
        if results and stop.asked:
            results += [None] * len(fleet)
            continue
        asking = [network.requests(stop) for network in fleet]
        requests = [next(a, None) for a in asking]
        while any(r is not None for r in requests):
            groups: dict[Any, list[int]] = {}
            for i, request in enumerate(requests):
                if request is not None:
                    groups.setdefault(_alike(request), []).append(i)
            for members in groups.values():
                _launch(fleet[members[0]], [requests[i] for i in members])
            requests = [
                None if r is None else next(a, None) for a, r in zip(asking, requests, strict=True)
            ]
        results += [network.arrays() for network in fleet]
    return results


def _fleets(networks: Sequence[Trajectory]) -> Iterator[Sequence[Trajectory]]:
    """Networks in the order given, in groups that fit into memory."""
    n = networks[0]
    vectors = 5 * n.points.K + n.points.P + max(p.batch_size for p in n.problem.phases)
    size = int(max(1, min(MOST_NETWORKS, MOST_NUMBERS // (vectors * n.N))))
    for first in range(0, len(networks), size):
        yield networks[first : first + size]


def _alike(request: Request) -> Any:
    """What must be equal for networks to share a launch."""
    rule, memory = request.lesson
    seen = (rule.drawn, rule.gain, rule.noise, rule.pace)
    more = (rule.constant, rule.shift, rule.keep)
    arrays = (*request.rates, rule.p, rule.sigma, rule.u, rule.head, rule.move, *seen, *more)
    shapes = (rule.F.shape, rule.centre.shape, memory.a.shape, memory.velocity.shape)
    numbers = tuple(x for x in rule if isinstance(x, float))
    return request.steps, shapes, numbers, *(a.tobytes() for a in arrays)


def _launch(network: Trajectory, requests: Sequence[Request | None]) -> None:
    from odekit_kernels.committee.sgd.cuda import train_many

    asked = [r for r in requests if r is not None]
    first, experiment = asked[0], cast("Experiment", network.experiment)
    rules, memories = [r.lesson.rule for r in asked], [r.lesson.memory for r in asked]
    train_many(first.steps, first.rates, experiment.trainer.g, rules, memories)
