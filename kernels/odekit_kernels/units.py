"""Moments of single units: what a consolidation needs of the copies that it makes."""

from __future__ import annotations

from typing import Any

from . import moments
from ._jit import kernel
from .state import fill_averages, fill_pairs, prepare

__all__ = ["self_moments"]


@kernel(_nrt=False)
def self_moments(y: Any, system: Any, work: Any, I2: Any, J2: Any) -> None:
    """E[g(λ_k)²] and E[g'(λ_k)²] of every student unit.

    Parameters
    ----------
    y : ndarray, shape (n,)
        State.
    system : Committee
        Any phase of the problem.
    work : Work
        Scratch memory.
    I2, J2 : ndarray, shape (K,)
        Receive the moments.
    """
    K, P = system.move.shape[0], system.T.shape[0]
    D = K + P
    prepare(y, system, K, P, work)
    fill_averages(system.p, K, D, work)
    fill_pairs(system.p.shape[0], D, work)
    moments.second(system.activation, work, K, D)
    moments.drive(system.activation, work, K, D)
    moments.diffusion(system.activation, work, system.p, K, D)
    for k in range(K):
        I2[k] = work.I2[k, k]
        J2[k] = work.J2[k, k]
