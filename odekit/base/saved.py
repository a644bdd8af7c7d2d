"""What a run leaves behind to be resumed: handed from the integrators to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from odekit.base.arrays import Floats


@dataclass
class Saved:
    """All that a run has to remember: rows of one phase after the other, and where it stands.

    `arrays` hold the state to full precision, `words` what is not an array.
    """

    arrays: dict[str, Floats] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)
