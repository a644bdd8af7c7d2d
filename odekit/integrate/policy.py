"""Which integrator suits the case: the choice behind ``method=None``.

An explicit method is the best there is until the solution stands still; then its step is held
down by stability (to t = 10⁶ it takes 10⁵ steps where an implicit one takes hundreds). But an
L-stable method with long steps *damps* unstable modes and would sit on a plateau forever. So the
spectrum of the Jacobian decides: implicit only where explicit steps are at their stability limit,
and never with steps that are long for the fastest growing mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odekit.base.arrays import Floats

EXPLICIT_KIND = "DOP853"
IMPLICIT_KIND = "Radau"
AT_LIMIT = 2.0
"""h·|λ| above which an explicit step counts as limited by stability (DOP853's limit is about 6)."""
FIRST_WAIT = 50
LAST_WAIT = 1600
WORTH_STEPS = 400
"""Explicit steps left that a change of method must save: it costs some ten of them."""
WORTH_ROW = 10
"""Explicit steps to the row that make it worth landing there with an implicit one."""
GROWTH_PER_STEP = 0.05
"""Largest λ₊·h of an implicit step: then 27 e-foldings out of rounding are followed to 1e-9."""
LARGEST = 500
"""Sizes up to which Jacobian and spectrum can be had: a second at most."""
SMALL = 64
"""Sizes up to which a spectrum (100 µs) is cheap beside an implicit step (1 ms)."""


def spectrum(J: Floats) -> tuple[float, float]:
    """Largest modulus of the eigenvalues, and largest real part where positive."""
    if not np.isfinite(J).all():
        return np.inf, np.inf
    eigenvalues = np.linalg.eigvals(J)
    return float(np.abs(eigenvalues).max()), float(max(eigenvalues.real.max(), 0.0))


@dataclass
class Policy:
    """Watches accepted steps and says when to change the method.

    Attributes
    ----------
    kind : str
        The method in use.
    since, wait : int
        Steps since the last look at the spectrum, and until the next.
    longest : float
        Longest step an implicit method may take.
    """

    kind: str = EXPLICIT_KIND
    since: int = 0
    wait: int = FIRST_WAIT
    longest: float = np.inf

    def due(self, n: int) -> bool:
        """Count an accepted step; whether to look at the spectrum now."""
        if n > LARGEST:
            return False
        self.since += 1
        wait = self.wait if self.kind == EXPLICIT_KIND else (1 if n <= SMALL else 8)
        if self.since < wait:
            return False
        self.since = 0
        return True

    @property
    def ahead(self) -> int:
        """Explicit steps up to the one after which the spectrum is looked at."""
        return max(self.wait - self.since, 1)

    def worth_a_look(self, h: float, left: float) -> bool:
        """Whether so many explicit steps are left that a change could pay."""
        return self.kind != EXPLICIT_KIND or left > WORTH_STEPS * h

    def judge(
        self, h: float, left: float, rows: int, J: Floats, *, limit: float = AT_LIMIT
    ) -> None:
        """Choose `kind` and `longest` from the spectrum, with so much time and rows to come.

        Explicit steps are held down by stability where h·|λ| > `limit`.
        """
        radius, growth = spectrum(J)
        self.longest = GROWTH_PER_STEP / growth if growth > 0 else np.inf
        if self.kind == EXPLICIT_KIND:
            gain = min(self.longest, left) / h
            sparse = left > WORTH_ROW * rows * h
            if h * radius > limit and gain > WORTH_STEPS and sparse:
                self.kind = IMPLICIT_KIND
            else:
                self.wait = min(2 * self.wait, LAST_WAIT)
        elif min(h, self.longest) * radius < AT_LIMIT:
            self.kind, self.wait = EXPLICIT_KIND, 4 * FIRST_WAIT
