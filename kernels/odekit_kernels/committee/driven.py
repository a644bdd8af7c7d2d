"""Constants of one trajectory that follow schedules, in rows of constants."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.integrators.tables import table_at

__all__ = ["drive_row", "drive_shifted"]


@kernel(_nrt=False)
def drive_row(t: float, driven: Any, row: Any) -> None:
    """Put them where they are at a time since the phase began, those of the first point."""
    value = 0.0
    for j in range(driven.entry.shape[0]):
        if j == 0 or driven.table[j] != driven.table[j - 1]:
            value = table_at(driven, driven.table[j], t)
        row[driven.entry[j]] = driven.base[0, j] + driven.scale[0, j] * value


@inner
def drive_shifted(driven: Any, row: Any, offset: Any, shifted: Any) -> None:
    """Put shifted rows where the row is, each as far off as it was, (rows, driven)."""
    for j in range(driven.entry.shape[0]):
        entry = driven.entry[j]
        for r in range(shifted.shape[0]):
            shifted[r, entry] = row[entry] + offset[r, j]
