"""What a figure of the gallery is: its settings, its run, its picture and its numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import odekit as ok

INDEPENDENT = "independent"
"""Where a reference comes from: code or a formula that shares nothing with odekit."""
REGRESSION = "regression"
"""From odekit itself: it shows that nothing has changed, not that it is right."""


@dataclass(frozen=True)
class Row:
    """One line of a table: a number, or some that belong together.

    Parameters
    ----------
    what : str
        Its name, unlike that of all other rows of the figure.
    odekit : array_like
        What was computed now.
    reference : str
        Numbers as they were written down, separated by blanks; they are taken as rounded to their
        last digit, and so is what odekit finds.
    within : float
        Largest deviation allowed beside that rounding.
    relative : bool
        Whether `within` is relative.
    source : str
        Of the reference.
    formula : array_like or str, optional
        What the paper or a closed form says, to be seen beside it.
    missed : bool
        Whether it is known not to agree: the page says why.
    """

    what: str
    odekit: Any
    reference: str
    within: float
    relative: bool = False
    source: str = INDEPENDENT
    formula: Any = ""
    missed: bool = False

    @property
    def found(self) -> np.ndarray:
        """What odekit says, one number for each of the reference."""
        values = np.ravel(np.asarray(self.odekit, dtype=float))
        assert values.size == self.known.size, (self.what, values.size, self.known.size)
        return values

    @property
    def known(self) -> np.ndarray:
        """The reference's numbers."""
        return np.array([float(text) for text in self.reference.split()])

    @property
    def decimals(self) -> list[int]:
        """Digits behind the point of each number of the reference."""
        return [_decimals(text) for text in self.reference.split()]

    @property
    def deviation(self) -> float:
        """Largest deviation, relative if so said."""
        return float(self._off.max())

    @property
    def as_said(self) -> bool:
        """Whether they agree, if they are to."""
        return self.holds or self.missed

    @property
    def holds(self) -> bool:
        """Whether all numbers agree, but for the rounding of the reference."""
        return bool(np.all(self._off <= self.within + self._rounding))

    @property
    def _rounding(self) -> np.ndarray:
        half = 0.50001 * 10.0 ** -np.array(self.decimals, dtype=float)
        return half / self._size if self.relative else half

    @property
    def _size(self) -> np.ndarray:
        return np.where((self.known != 0) & np.isfinite(self.known), np.abs(self.known), 1.0)

    @property
    def _off(self) -> np.ndarray:
        same = self.found == self.known  # infinities
        off = np.where(same, 0.0, np.abs(self.found - np.where(same, 0.0, self.known)))
        return off / self._size if self.relative else off

    def texts(self) -> list[str]:
        """The cells of its line."""
        formula = self.formula
        if not isinstance(formula, str):
            formula = written(np.ravel(formula), self.decimals)
        reference = [float(text) for text in self.reference.split()]
        if self.relative:
            allowed, off = f"{100 * self.within:.2g} %", f"{100 * self.deviation:.1g} %"
        else:
            allowed, off = f"{self.within:.2g}", f"{self.deviation:.1g}"
        if np.all(self._off <= self._rounding):
            off = "rounding"
        if self.missed:
            allowed += ", **missed**"
        own = written(self.found, self.decimals)
        known = f"{written(reference, self.decimals)}"
        return [self.what, formula, known, self.source, own, off, allowed]


def _decimals(text: str) -> int:
    mantissa, _, power = text.lower().partition("e")
    return len(mantissa.partition(".")[2]) - int(power or 0)


def written(values: Any, decimals: Sequence[int]) -> str:
    """Numbers with given digits behind the point."""
    return ", ".join(_written(float(x), n) for x, n in zip(values, decimals, strict=True))


def _written(x: float, digits: int) -> str:
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if 0 < abs(x) < 1e-3 and digits > 4:
        whole = max(digits + math.floor(math.log10(abs(x))), 0)
        return f"{x:.{whole}e}".replace("-", "−")
    return f"{x:.{max(digits, 0)}f}".replace("-", "−")


def read_back(text: str) -> list[tuple[float, float]]:
    """Numbers of a cell, each with the unit of its last digit."""
    plain = [word.replace("−", "-").replace("∞", "inf") for word in text.split(", ")]
    return [(float(word), 10.0 ** -_decimals(word)) for word in plain]


@dataclass(frozen=True)
class Figure:
    """A figure of a paper, as odekit shows it; its words are on the page.

    Parameters
    ----------
    run : callable
        Takes whether it is to be run in full; where False, what takes minutes is left out.
    draw : callable
        Takes an empty figure of matplotlib and what `run` returned.
    numbers : callable
        Rows of the table, from what `run` returned.
    size : tuple of float
        Inches.
    sampled : bool
        Whether its numbers are means over draws, of which there are fewer if not run in full.
    """

    run: Callable[[bool], Any]
    draw: Callable[[Any, Any], None]
    numbers: Callable[[Any], list[Row]]
    size: tuple[float, float] = (6.4, 2.6)
    sampled: bool = False


def axis(name: str, values: Any) -> xr.DataArray:
    """Values to sweep over."""
    return xr.DataArray(values, dims=name, coords={name: values})


def start(name: str, similarity: Any = None) -> ok.OrderParameters:
    """Overlaps written down in starts.json.

    They hold those with a teacher's units and with as many vectors perpendicular to them. Without a
    similarity V there is that teacher alone, else a second one that is turned from it.
    """
    overlaps = starts(name)["overlaps"]
    R = np.array(overlaps["R_with_B_and_C"])
    M = R.shape[1] // 2
    if similarity is None:
        return ok.OrderParameters(Q=overlaps["Q"], R=R[:, :M], T=np.eye(M))
    across = (1 - similarity**2) ** 0.5
    first, rest = (xr.DataArray(part, dims=("student", "unit")) for part in (R[:, :M], R[:, M:]))
    both = xr.concat([first + 0 * similarity, similarity * first + across * rest], dim="task")
    stacked = both.transpose(..., "student", "task", "unit")
    columns = stacked.values.reshape(*stacked.shape[:-2], 2 * M)
    swept = stacked.dims[:-3]
    coords = {d: stacked[d] for d in swept}
    labelled = xr.DataArray(columns, dims=(*swept, "student", "teacher"), coords=coords)
    T = ok.task_family(units=M, feature_similarity=similarity).T
    return ok.OrderParameters(Q=overlaps["Q"], R=labelled if swept else columns, T=T)


def starts(name: str) -> Any:
    """One entry of starts.json."""
    return json.loads((Path(__file__).parent / "starts.json").read_text())[name]
