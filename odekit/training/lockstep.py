"""Networks that take their steps together, where what they are about to do is alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from odekit.base.arrays import Floats
from odekit.base.interrupts import Stop
from odekit.training.course import Request, Requests, Trajectory

__all__ = ["lockstep"]


@dataclass
class _Walker:
    """A network, what it asks for, and how much of that is done."""

    asking: Requests
    request: Request | None = None
    done: int = 0
    phases: int = 0
    lesson: Any = field(default=None, repr=False)

    def ask(self) -> None:
        """Go on to the next request; None at the end."""
        self.request, self.done = next(self.asking, None), 0
        if self.request is not None and self.request.lesson is not self.lesson:
            self.lesson = self.request.lesson
            self.phases += 1

    def part(self, steps: int) -> tuple[Floats, Floats]:
        """Learning rates of the next steps."""
        assert self.request is not None
        cut = slice(self.done, self.done + steps)
        eta_w, eta_v = (r if len(r) == 1 else r[cut] for r in self.request.rates)
        return eta_w, eta_v


def lockstep(
    networks: Sequence[Trajectory],
    stop: Stop,
    alike: Callable[[Any], Hashable],
    launch: Callable[[int, Sequence[Any], Sequence[tuple[Floats, Floats]]], None],
) -> list[Any]:
    """Train networks together, and return the arrays of each.

    Those that are behind go first, so that networks which end a phase at times of their own meet
    again in the next.

    Parameters
    ----------
    networks : sequence of Trajectory
    stop : Stop
    alike : callable
        What must be equal of the lessons of networks that share a launch.
    launch : callable
        Takes steps: their number, the lessons, and the learning rates of each.
    """
    walkers = [_Walker(network.requests(stop)) for network in networks]
    for walker in walkers:
        walker.ask()
    while going := [w for w in walkers if w.request is not None]:
        behind = min(going, key=lambda w: w.phases)
        assert behind.request is not None
        kind = alike(behind.request.lesson)
        group = [
            (w, w.request)
            for w in going
            if w.request is not None
            and w.phases == behind.phases
            and alike(w.request.lesson) == kind
        ]
        steps = min(request.steps - w.done for w, request in group)
        lessons = [request.lesson for _, request in group]
        launch(steps, lessons, [w.part(steps) for w, _ in group])
        for walker, request in group:
            walker.done += steps
            if walker.done == request.steps:
                walker.ask()
    return [network.arrays() for network in networks]
