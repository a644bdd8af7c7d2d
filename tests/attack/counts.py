"""What came of many attempts to break something: counted, printed, and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

TRIED = ("refused", "harmless", "wrong", "crashed", "hung")
"""Refused in odekit's words; harmless: the very result; the others must never be."""


def judged(title: str, outcomes: Iterable[str], least_refused: float = 0.0) -> Counter[str]:
    """Print how many attempts ended how, and fail if one ended as none may.

    Parameters
    ----------
    title : str
        What was tried.
    outcomes : iterable of str
        One of `TRIED` for each attempt; words after a colon say what happened.
    least_refused : float
        Share of the attempts that must be refused, so that a test that damages nothing is noticed.

    Examples
    --------
    >>> judged("an example", ["refused", "harmless"])
    an example: 2 tried, 1 refused, 1 harmless, 0 wrong, 0 crashed, 0 hung
    Counter({'refused': 1, 'harmless': 1})
    """
    found = list(outcomes)
    counts = Counter(outcome.partition(":")[0] for outcome in found)
    listed = ", ".join(f"{counts[kind]} {kind}" for kind in TRIED)
    print(f"{title}: {len(found)} tried, {listed}")
    bad = [o for o in found if o.partition(":")[0] not in ("refused", "harmless")]
    assert not bad, f"{title}: {bad[:5]}"
    assert found, f"{title}: nothing was tried"
    assert counts["refused"] >= least_refused * len(found), f"{title}: too few refused"
    return counts


@dataclass
class Counts:
    """Of attacks of one kind; every one tried ends as one of the others."""

    name: str = ""
    tried: int = 0
    refused: int = 0
    harmless: int = 0
    wrong: int = 0
    hung: int = 0
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Print, and return, one line of numbers and what is to be known of the bad ones."""
        line = (
            f"{self.name}: tried {self.tried}, refused {self.refused}, harmless {self.harmless}, "
            f"wrong {self.wrong}, hung {self.hung}"
        )
        text = "\n".join([line, *self.notes])
        print(text)
        return text
