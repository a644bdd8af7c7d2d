"""Which constants of a committee's phase follow schedules, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from odekit.integrate.packing import Drive, drives_of
from odekit.problem.schedule import Schedule
from odekit.systems.committee.seen import of_group
from odekit_kernels.lanes.memory import firsts

if TYPE_CHECKING:
    from odekit.base.arrays import Indices
    from odekit.problem.phase import Phase
    from odekit.systems.committee.general import GeneralPoints
    from odekit.systems.committee.points import CommitteePoints

    AnyPoints: TypeAlias = CommitteePoints | GeneralPoints


def drives(
    points: AnyPoints, phase: Phase, frame: Any, places: Mapping[str, Indices]
) -> list[Drive]:
    """Every constant of a phase that changes within it, by its place in a row.

    `places` are the kernels' constants; those of either packing have the same names.
    """
    if not phase.schedules:
        return []
    eta_w, eta_v = phase.common_rates
    noise = [points.noise_std(phase, name) for name in phase.mixture]
    given = {
        "eta_w": [eta_w],
        "eta_v": [eta_v],
        "kappa_w": [phase.weight_decay],
        "kappa_v": [phase.readout_weight_decay],
        "p": list(phase.mixture.values()),
        "sigma": [sigma for sigma in noise for _ in range(points.O)],
    }
    if "keep" in places:
        given["keep"] = [phase.keep_probability] * points.K
    first = firsts(places)
    return [
        *drives_of(places, given),
        *_pulls(frame, first),
        *_paces(points, phase, first),
        *_variances(points, phase, first),
    ]


def besides_rates(drives: Sequence[Drive], places: Mapping[str, Indices]) -> list[Drive]:
    """Those that are no learning rates of a whole layer."""
    first = firsts(places)
    return [drive for drive in drives if drive.entry not in (first["eta_w"], first["eta_v"])]


def _pulls(frame: Any, first: Mapping[str, int]) -> Iterator[Drive]:
    """Penalties of the consolidation that the phase began with, the last."""
    if frame.held is None or not isinstance(frame.held[0], Schedule):
        return
    strength, F, F_v = frame.held
    for name, unit in (("F", F), ("F_v", F_v)):
        flat = unit.reshape(len(unit), -1)
        start = first[name] + (len(frame.anchor) - 1) * flat.shape[1]
        for j in range(flat.shape[1]):
            yield Drive(start + j, strength, np.ascontiguousarray(flat[:, j]))


def _paces(points: AnyPoints, phase: Phase, first: Mapping[str, int]) -> Iterator[Drive]:
    """Learning rates of groups over the largest of all, at any time."""
    if not isinstance(phase.learning_rate, Mapping):
        return
    most = points.values(phase.common_rates[0])
    share = np.divide(1.0, most, out=np.ones_like(most), where=most > 0)
    for g, name in enumerate(points.problem.groups or ()):
        rate = phase.learning_rate[name]
        if isinstance(rate, Schedule):
            yield Drive(first["pace"] + g, rate, share)


def _variances(points: AnyPoints, phase: Phase, first: Mapping[str, int]) -> Iterator[Drive]:
    """What student and teacher see of inputs whose variance changes: linear in it."""
    names: list[Any] = list(points.problem.groups or [None])
    for law, task in enumerate(phase.input_variance or (), start=points.laws):
        for g, group in enumerate(names):
            m = of_group((phase.input_variance or {})[task], group)
            if not isinstance(m, Schedule):
                continue
            entry = law * len(names) + g
            for name, (scale, base) in points.views(task, group).items():
                yield Drive(first[name] + entry, m, scale, base)
