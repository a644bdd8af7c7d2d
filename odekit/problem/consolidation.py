"""What may hold units in a phase near where it found them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odekit.base.checks import choice, is_labelled, label, nonnegative

CONSOLIDATIONS = ("fisher", "node", "quadratic")


@dataclass(frozen=True, eq=False)
class Consolidation:
    """A penalty that holds every student unit near the copy taken as a phase begins.

    The penalty (strength/2N) Σ_k F_k |w_k − a_k|² is part of the loss ½δ² + …, so that the learning
    rate multiplies it as it does the error: dR gains −η_w·strength·F_k (R_kn − T_(a_k)n). It stays
    in force until the last phase; consolidations of later phases add to it. A head that the
    consolidated task shares with later tasks is held by (strength/2) Σ_k I2(k,k) (v_k − v*_k)², for
    every kind, at the values of the copy.

    Other conventions: with a penalty λ' Σ_ki F_k (w_ki − a_ki)², without ½ and 1/N, as elastic
    weight consolidation and the quadratic penalty are in the simulator of Lee, Goldt & Saxe (2021),
    strength = 2Nλ'; with (λ'/2) Σ_ki v_k² (w_ki − a_ki)², as node consolidation is there,
    strength = Nλ'. Their Fisher information is that of the squared error at the labels seen, with a
    factor δ² that vanishes as the task is learnt; here it is that of the model, E[(∂f/∂w)²].

    Parameters
    ----------
    kind : {"fisher", "node", "quadratic"}
        F_k = v_k² E[g'(λ_k)²] (elastic weight consolidation), v_k², or 1; v is the head of `task`.
    strength : float, callable or Schedule
        λ >= 0, of the time since its phase began; in later phases the last value of the table.
    task : str, optional
        The task to protect; by default the only one trained in the phase before.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Consolidation("fisher", strength=10.0, task="first").kind
    'fisher'
    """

    kind: str
    strength: Any
    task: str | None = None

    def __post_init__(self) -> None:
        choice("kind", self.kind, CONSOLIDATIONS)
        # The phase knows for how long a function of time is to be tabulated.
        if is_labelled(self.strength) or not callable(self.strength):
            object.__setattr__(self, "strength", nonnegative("strength", self.strength))
        if self.task is not None:
            label("task", self.task)
