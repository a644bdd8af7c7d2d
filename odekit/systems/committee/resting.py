"""What only committees know of their fixed points: names, zero modes, and whether vectors exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.problem.points import one_of
from odekit.problem.schedule import Schedule
from odekit.problem.system import Block, Judgement, Resting

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.committeestate import Frame
    from odekit.systems.committee.points import CommitteePoints

REDUNDANT, NEUTRAL = "redundant units", "second-order neutral"
ZERO_KINDS = {
    REDUNDANT: "readouts of equal units, of which the output has only the sum",
    NEUTRAL: "equal units moving apart, which changes the flow to second order alone",
}
EQUAL = 1e-6
"""Squared distance of equal units over their squared norms."""
ALIKE = 1e-6
"""Relative difference of what a symmetric state has equal."""
SOLVED = 1e-12
"""Error of perfect learning over that of a student that says nothing."""
OWN = 0.5
"""Cosine of a unit with its own teacher unit, at least; no other one may have it."""
OUTSIDE = 1e-3
"""Part of a direction that is no rounding."""


def parts(heads: list[str], layout: Mapping[str, Block]) -> dict[str, Indices]:
    """Q, R, and every head by itself."""
    found = {name: np.unique(b.places) for name, b in layout.items() if name != "readout"}
    for head, places in zip(heads, layout["readout"].places, strict=True):
        found[f"readout[{head}]"] = places
    return found


def judged(points: CommitteePoints, index: int, frame: Frame, resting: Resting) -> Judgement:
    """Names, the lowest eigenvalue of the joint covariance, and zero modes by kind."""
    Q, R, v = points.unpack(resting.y)
    T = np.broadcast_to(frame.T, (points.size, *frame.T.shape[1:]))[resting.which]
    C = np.block([[Q, R], [R.swapaxes(1, 2), T]])
    eigenvalues = np.linalg.eigvalsh(C)
    lowest = eigenvalues[:, 0] / eigenvalues[:, -1]
    phase = points.problem.phases[index]
    namer = _Namer(points, phase)
    names, zeros = [], np.zeros((2, len(Q)), dtype=np.int64)
    for i, point in enumerate(resting.which):
        groups = equal_units(Q[i])
        names.append(namer.name(int(point), Q[i], R[i], T[i], resting.errors[i], groups))
        if resting.free[i] and any(len(group) > 1 for group in groups):
            zeros[:, i] = _zeros(points.K, v[i], groups, resting, i)
    return Judgement(names, lowest, dict(zip((REDUNDANT, NEUTRAL), zeros, strict=True)))


def equal_units(Q: Floats) -> list[list[int]]:
    """Units in groups of the same weights."""
    norms = np.diagonal(Q)
    apart = norms[:, np.newaxis] + norms - 2.0 * Q
    groups: list[list[int]] = []
    for k in range(len(Q)):
        for group in groups:
            j = group[0]
            if apart[j, k] <= EQUAL * (norms[j] + norms[k]):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def _zeros(K: int, v: Floats, groups: list[list[int]], resting: Resting, i: int) -> tuple[int, int]:
    """Zero modes of readouts of equal units, and of these units moving apart."""
    still = resting.still[i][-v.size :].reshape(v.shape)
    redundant = sum(
        max(int((~still[h, group]).sum()) - 1, 0) for h in range(len(v)) for group in groups
    )
    seen = _differences(K, resting.y.shape[1], v.size, groups) @ resting.space(i)
    apart = int((np.linalg.svd(seen, compute_uv=False) > OUTSIDE).sum())
    return min(redundant, int(resting.free[i]) - apart), apart


def _differences(K: int, n: int, readouts: int, groups: list[list[int]]) -> Floats:
    """What equal units differ by in their overlaps, as unit covectors (rows, n)."""
    place = np.zeros((K, K), dtype=np.int64)
    upper = np.triu_indices(K)
    place[upper] = place.T[upper] = np.arange(len(upper[0]))
    triangle = len(upper[0])
    P = (n - triangle - readouts) // K
    rows = []
    for first, *others in groups:
        for k in others:
            pairs = [(place[k, l], place[first, l]) for l in range(K)]
            pairs += [(triangle + k * P + p, triangle + first * P + p) for p in range(P)]
            pairs.append((place[k, k], place[k, first]))
            for a, b in pairs:
                if a != b:
                    rows.append(_unit(n, a) - _unit(n, b))
    return np.asarray(np.array(rows) / np.sqrt(2.0))


def _unit(n: int, i: int) -> Floats:
    row = np.zeros(n)
    row[i] = 1.0
    return row


class _Namer:
    """The names of fixed points of a phase."""

    def __init__(self, points: CommitteePoints, phase: Phase) -> None:
        self.tasks = [points.tasks.index(name) for name in phase.mixture]
        self.u = points.u[:, self.tasks]
        noise = [points.noise_std(phase, name) for name in phase.mixture]
        named = [n.largest if isinstance(n, Schedule) else n for n in noise]
        self.noise = points.stack(named, 0).max(axis=1)
        if phase.gradient_flow:
            self.noise = np.zeros(1)
        zero = np.zeros((points.size, points.start()[1].shape[1]))
        self.nothing = points.errors(zero[:, np.newaxis])[:, 0][:, self.tasks].max(axis=1)

    def name(
        self, point: int, Q: Floats, R: Floats, T: Floats, errors: Floats, groups: list[list[int]]
    ) -> str:
        """What the field calls a fixed point; empty where it has no name for it."""
        scale = float(one_of(self.nothing, point))
        if np.abs(errors[self.tasks]).max() <= SOLVED * scale:
            return "perfect learning"
        if not np.any(np.abs(Q) > EQUAL * np.abs(T).max(initial=0.0)):
            return "silent student"
        needed = np.flatnonzero(np.any(one_of(self.u, point) != 0.0, axis=0))
        if _specialised(Q, R, T, needed):
            return "noise floor" if one_of(self.noise, point) > 0.0 else "specialised"
        if len(Q) > 1 and _symmetric(Q, R):
            return "symmetric plateau" + (", equal units" if len(groups) == 1 else "")
        return ""


def _specialised(Q: Floats, R: Floats, T: Floats, needed: Indices) -> bool:
    """Whether every teacher unit that a task needs has student units that are its own alone."""
    norms = np.sqrt(np.maximum(np.outer(np.diagonal(Q), np.diagonal(T)), 1e-300))
    near = np.abs(R / norms)[:, needed]
    if not needed.size or not near.size:
        return False
    best = near.argmax(axis=1)
    own = near.max(axis=1) > OWN
    others = np.sort(near, axis=1)[:, -2] if near.shape[1] > 1 else np.zeros(len(near))
    apart = own & (others < OWN * near.max(axis=1))
    return set(best[apart].tolist()) == set(range(needed.size))


def _symmetric(Q: Floats, R: Floats) -> bool:
    """Whether all units are alike."""
    K = len(Q)
    off = Q[~np.eye(K, dtype=bool)]
    scale = ALIKE * np.abs(Q).max()
    alike = np.ptp(np.diagonal(Q)) <= scale and np.ptp(off) <= scale
    spread = np.ptp(R, axis=0).max(initial=0.0)
    return bool(alike and spread <= ALIKE * np.abs(R).max(initial=0.0))
