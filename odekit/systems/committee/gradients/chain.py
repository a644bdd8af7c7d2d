"""Sensitivities through a whole run, forward or backward along the same recorded steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.gradients.anchors import Map
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.places import of_frame
from odekit.systems.committee.gradients.readings import (
    SINCE_SWITCH,
    Reading,
    Site,
    closing,
    log10_of,
    site,
)
from odekit.systems.committee.gradients.switches import enter, leave, start

AT_ONCE = 32
"""Scalars that go back together."""
MOST_RATES = 2**27
"""Numbers (1 GiB) of derivatives of learning rates at stages that are held at once."""


@dataclass
class Found:
    """Values and derivatives.

    Attributes
    ----------
    values, slopes : ndarray, shapes (rows or 1, q) and (rows or 1, q, m)
        NaN at times that the run did not reach.
    ends, by_end : ndarray, shapes (phases,) and (phases, m)
        Of the times at which phases end; 0 backward where nobody asked.
    end_errors, by_end_error : ndarray, shapes (phases, W) and (phases, W, m)
        Of the errors of all tasks there; 0 where nobody asked.
    """

    values: Floats
    slopes: Floats
    ends: Floats
    by_end: Floats
    end_errors: Floats
    by_end_error: Floats

    def unknown(self) -> Found:
        """NaN of the same shapes."""
        return Found(*(np.full_like(getattr(self, part.name), np.nan) for part in fields(self)))


def with_ends(found: Found, readings: Sequence[Reading], times: Floats) -> Found:
    """Fill in what hangs on the errors at ends of phases."""
    first, values, slopes = 0, found.values, found.slopes
    by_end_error = found.by_end_error.reshape(-1, slopes.shape[-1])
    for reading in readings:
        own, at = slice(first, first + reading.picked.size), reading.picked
        first = own.stop
        if reading.base not in ("phase_end_error", *SINCE_SWITCH):
            continue
        # Of those since the switch which task, of the others which phase and task.
        known: Any = found.end_errors.ravel()[at], by_end_error[at]
        known = log10_of(*known) if reading.log else known
        if reading.base == "phase_end_error":
            values[:, own], slopes[:, own] = known
            continue
        sign = SINCE_SWITCH[reading.base]
        values[:, own] = sign * (values[:, own] - known[0])
        slopes[:, own] = sign * (slopes[:, own] - known[1])
        before = np.flatnonzero(times < found.ends[0] * (1.0 - 1e-13))
        values[before, own] = slopes[before, own] = np.nan
    return found


@dataclass
class Link:
    """A phase: how it begins and ends, and what is read in it, row by row."""

    leg: Leg
    enters: Map | None
    leaves: Map | None
    theta: Floats
    closes: Site | None
    """Errors at its end, if they are wanted."""
    sites: list[tuple[int, Site]]
    """Which row, and its readings; in the order of the rows of the phase."""


class Chain:
    """A recorded run with all linear maps of its derivatives.

    Parameters
    ----------
    taken : Taken
    columns : Columns
    readings : list of Reading
    """

    def __init__(self, taken: Taken, columns: Columns, readings: Sequence[Reading]) -> None:
        self.taken, self.columns, self.m = taken, columns, columns.m
        self.readings = [r for r in readings if r.base != "phase_end"]
        asked = [r.picked for r in readings if r.base == "phase_end"]
        self.ends = np.unique(np.concatenate(asked)).tolist() if asked else []
        integrated = any(r.base == "integrated_error" for r in self.readings)
        self.W = len(taken.points.tasks) if integrated else 0
        self.q = sum(r.picked.size for r in self.readings)
        self.tasks = len(taken.points.tasks)
        self.closed = self._closed()
        self.at_rows = taken.times.size > 0
        first, Z = taken.legs[0], np.zeros(self.W)
        self.first: Site | None = None
        if self.at_rows and taken.times[0] == 0.0:
            self.first = self._site(first, first.y_before, Z, 0.0, fixed=True, before=True)
        self.links: list[Link] = []
        for leg in taken.legs:
            self.links.append(self._link(leg, Z))
        self.last: Site | None = None
        if not self.at_rows:
            leg = taken.legs[-1]
            self.last = self._site(leg, leg.y_end, Z, leg.duration, fixed=False)

    def _closed(self) -> list[int]:
        """Phases at whose ends errors are wanted."""
        found = {0} if any(r.base in SINCE_SWITCH for r in self.readings) else set()
        for reading in self.readings:
            if reading.base == "phase_end_error":
                found |= {int(place) // self.tasks for place in reading.picked}
        return sorted(found)

    def _site(self, leg: Leg, y: Floats, Z: Floats, since: float, **how: bool) -> Site:
        state = (y, Z.copy())
        if not self.readings:
            size = of_frame(self.taken.points, leg.frame, self.W).size
            return Site(np.zeros(0), np.zeros((0, size)), np.zeros((0, self.m)))
        return site(self.taken, leg, self.columns, self.readings, state, since, **how)

    def _link(self, leg: Leg, Z: Floats) -> Link:
        taken, columns, kernels = self.taken, self.columns, self.taken.kernels(leg)
        out = np.zeros((leg.rows.size, Z.size))
        for stretch in leg.stretches:
            out += stretch.integrals(kernels, Z, leg.rows.size)
        (ends, rows), states = leg.ends, leg.states[1:]
        sites = []
        for place, row in enumerate(leg.rows):
            step = int(np.flatnonzero(rows == place)[0])
            found = self._site(leg, states[step], out[place], float(ends[step]), fixed=True)
            sites.append((int(row), found))
        maps = (enter(taken, leg, columns, self.W), leave(taken, leg, columns, self.W))
        wanted = leg.index in self.closed
        closes = closing(taken, leg, columns, self.W) if wanted else None
        return Link(leg, *maps, kernels.theta, closes, sites)

    def _empty(self) -> Found:
        rows, phases = max(self.taken.times.size, 1), len(self.links)
        found = Found(
            np.full((rows, self.q), np.nan),
            np.full((rows, self.q, self.m), np.nan),
            np.array([link.leg.begin + link.leg.duration for link in self.links]),
            np.zeros((phases, self.m)),
            np.zeros((phases, self.tasks)),
            np.zeros((phases, self.tasks, self.m)),
        )
        for i, link in enumerate(self.links):
            if link.closes is not None:
                found.end_errors[i] = link.closes.values
        if self.first is not None:
            found.values[0] = self.first.values
        for row, one in (pair for link in self.links for pair in link.sites):
            found.values[row] = one.values
        if self.last is not None:
            found.values[0] = self.last.values
        return found

    def _places(self, frame: Any) -> Any:
        return of_frame(self.taken.points, frame, self.W)

    # ------------------------------------------------------------------------------------- forward

    def forward(self) -> Found:
        """Derivatives of all readings by carrying those of the state."""
        found = self._empty()
        X = start(self.columns, self._places(self.taken.legs[0].before))
        if self.first is not None:
            found.slopes[0] = self.first.C @ X + self.first.D
        for i, link in enumerate(self.links):
            X = _carried(link.enters, X)
            rows, X = self._through(link, X)
            for (row, one), there in zip(link.sites, rows, strict=True):
                found.slopes[row] = one.C @ there + one.D
            X = _carried(link.leaves, X)
            found.by_end[i] = X[self._places(link.leg.frame).begin]
            if link.closes is not None:
                found.by_end_error[i] = link.closes.C @ X + link.closes.D
        if self.last is not None:
            found.slopes[0] = self.last.C @ X + self.last.D
        return with_ends(found, self.readings, self.taken.times)

    def _through(self, link: Link, X: Floats) -> tuple[list[Floats], Floats]:
        """What is carried at the rows of a phase, and at its end."""
        leg, kernels, places = link.leg, self.taken.kernels(link.leg), self._places(link.leg.frame)
        theta = np.ascontiguousarray(np.concatenate([X[places.framed], link.theta]))
        S, Z = np.ascontiguousarray(X[places.state]), np.ascontiguousarray(X[places.Z])
        out_S, out_Z = (np.zeros((leg.rows.size, *part.shape)) for part in (S, Z))
        rates = self.columns.phases[leg.index].rates
        for stretch in leg.stretches:
            more_S, more_Z = stretch.forward(kernels, S, Z, theta, rates, leg.rows.size)
            out_S += more_S
            out_Z += more_Z

        def whole(S: Floats, Z: Floats) -> Floats:
            moved = X.copy()
            moved[places.state], moved[places.Z] = S, Z
            return moved

        return [whole(*pair) for pair in zip(out_S, out_Z, strict=True)], whole(S, Z)

    # ------------------------------------------------------------------------------------ backward

    def backward(self) -> Found:
        """The same by going back from every reading: the discrete adjoint."""
        found = self._empty()
        seeds = [("end", i, 0) for i in self.ends]
        seeds += [("close", i, k) for i in self.closed for k in range(self.tasks)]
        rows = [(row, link) for link in self.links for row, _ in link.sites]
        seeds += [("row", row, k) for row, _ in rows for k in range(self.q)]
        if self.first is not None:
            seeds += [("row", 0, k) for k in range(self.q)]
        if self.last is not None:
            seeds += [("last", 0, k) for k in range(self.q)]
        for begin in range(0, len(seeds), AT_ONCE):
            some = seeds[begin : begin + AT_ONCE]
            for (kind, at, k), slope in zip(some, self._back(some), strict=True):
                if kind == "end":
                    found.by_end[at] = slope
                elif kind == "close":
                    found.by_end_error[at, k] = slope
                else:
                    found.slopes[at, k] = slope
        return with_ends(found, self.readings, self.taken.times)

    def _back(self, seeds: Sequence[tuple[str, int, int]]) -> Floats:
        """Derivatives (seeds, m) of these scalars by all parameters."""
        alpha = np.zeros((len(seeds), self.m))
        last = self._places(self.links[-1].leg.frame)
        L = np.zeros((len(seeds), last.size))
        for x, (kind, _, k) in enumerate(seeds):
            if kind == "last" and self.last is not None:
                L[x], alpha[x] = self.last.C[k], self.last.D[k]
        for i in range(len(self.links) - 1, -1, -1):
            link = self.links[i]
            places = self._places(link.leg.frame)
            for x, (kind, at, k) in enumerate(seeds):
                if kind == "end" and at == i:
                    L[x, places.begin] += 1.0
                elif kind == "close" and at == i and link.closes is not None:
                    L[x] += link.closes.C[k]
                    alpha[x] += link.closes.D[k]
            L = self._back_through(link, _pulled(link.leaves, L, alpha), alpha, seeds)
            L = _pulled(link.enters, L, alpha)
        if self.first is not None:
            for x, (kind, at, k) in enumerate(seeds):
                if kind == "row" and at == 0:
                    L[x] += self.first.C[k]
                    alpha[x] += self.first.D[k]
        places = self._places(self.taken.legs[0].before)
        alpha += L @ start(self.columns, places)
        return alpha

    def _back_through(self, link: Link, L: Floats, alpha: Floats, seeds: Any) -> Floats:
        leg, kernels, places = link.leg, self.taken.kernels(link.leg), self._places(link.leg.frame)
        bumps = np.zeros((leg.rows.size, len(seeds), places.size))
        for place, (row, one) in enumerate(link.sites):
            for x, (kind, at, k) in enumerate(seeds):
                if kind == "row" and at == row:
                    bumps[place, x] = one.C[k]
                    alpha[x] += one.D[k]
        lam, zeta = np.ascontiguousarray(L[:, places.state]), np.ascontiguousarray(L[:, places.Z])
        bump, bump_zeta = (
            np.ascontiguousarray(bumps[:, :, place]) for place in (places.state, places.Z)
        )
        rates = self.columns.phases[leg.index].rates
        slopes = np.zeros((len(seeds), places.frame + len(link.theta)))
        for stretch in reversed(leg.stretches):
            slopes += stretch.backward(kernels, lam, zeta, bump, bump_zeta, rates, alpha)
        moved: Floats = L + bumps.sum(axis=0)
        moved[:, places.state], moved[:, places.Z] = lam, zeta
        moved[:, places.framed] += slopes[:, : places.frame]
        alpha += slopes[:, places.frame :] @ link.theta
        return moved


def _carried(through: Map | None, X: Floats) -> Floats:
    return X if through is None else through[0] @ X + through[1]


def _pulled(through: Map | None, L: Floats, alpha: Floats) -> Floats:
    """Derivatives before it; those by parameters are added."""
    if through is None:
        return L
    alpha += L @ through[1]
    return L @ through[0]
