"""Which constants of a committee's phase follow schedules, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.integrate.packing import Drive, drives_of
from odekit.problem.schedule import Schedule
from odekit.systems.committee.seen import of_group, views_of
from odekit_kernels.committee.memory import CommitteePlan, constants
from odekit_kernels.lanes.memory import firsts

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.points import CommitteePoints, Frame


def drives(points: CommitteePoints, phase: Phase, frame: Frame, plan: CommitteePlan) -> list[Drive]:
    """Every constant of a phase that changes within it, by its place in a row."""
    if not phase.schedules:
        return []
    places, (eta_w, eta_v) = constants(plan), phase.common_rates
    given = {
        "eta_w": [eta_w],
        "eta_v": [eta_v],
        "kappa_w": [phase.weight_decay],
        "kappa_v": [phase.readout_weight_decay],
        "p": list(phase.mixture.values()),
        "sigma": [points.noise_std(phase, name) for name in phase.mixture],
    }
    first = firsts(places)
    return [
        *drives_of(places, given),
        *_pulls(frame, plan, first),
        *_paces(points, phase, first),
        *_variances(points, phase, plan, first),
    ]


def besides_rates(drives: Sequence[Drive], plan: CommitteePlan) -> list[Drive]:
    """Those that are no learning rates of a whole layer."""
    first = firsts(constants(plan))
    return [drive for drive in drives if drive.entry not in (first["eta_w"], first["eta_v"])]


def _pulls(frame: Frame, plan: CommitteePlan, first: Mapping[str, int]) -> Iterator[Drive]:
    """Penalties of the consolidation that the phase began with, the last."""
    if frame.held is None or not isinstance(frame.held[0], Schedule):
        return
    strength, F, F_v = frame.held
    for name, unit in (("F", F), ("F_v", F_v)):
        flat = unit.reshape(len(unit), -1)
        start = first[name] + (plan.c - 1) * flat.shape[1]
        for j in range(flat.shape[1]):
            yield Drive(start + j, strength, np.ascontiguousarray(flat[:, j]))


def _paces(points: CommitteePoints, phase: Phase, first: Mapping[str, int]) -> Iterator[Drive]:
    """Learning rates of groups over the largest of all, at any time."""
    if not isinstance(phase.learning_rate, Mapping):
        return
    most = points.values(phase.common_rates[0])
    share = np.divide(1.0, most, out=np.ones_like(most), where=most > 0)
    for g, name in enumerate(points.problem.groups or ()):
        rate = phase.learning_rate[name]
        if isinstance(rate, Schedule):
            yield Drive(first["pace"] + g, rate, share)


def _variances(
    points: CommitteePoints, phase: Phase, plan: CommitteePlan, first: Mapping[str, int]
) -> Iterator[Drive]:
    """What student and teacher see of inputs whose variance changes: linear in it."""
    names: list[Any] = list(points.problem.groups or [None])
    for law, task in enumerate(phase.input_variance or (), start=points.seen.size[1]):
        for g, group in enumerate(names):
            m = of_group((phase.input_variance or {})[task], group)
            if not isinstance(m, Schedule):
                continue
            entry = law * plan.G + g
            for name, (scale, base) in views_of(points.problem, points, task, group).items():
                yield Drive(first[name] + entry, m, scale, base)
