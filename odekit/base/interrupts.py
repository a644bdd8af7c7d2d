"""Ctrl-C and SIGTERM end a run between two steps, so that nothing computed is lost."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Protocol, Self


class Asked(Protocol):
    """What a run looks at between two steps."""

    @property
    def asked(self) -> bool:
        """Whether to stop."""


class Interrupts:
    """While active, SIGINT and SIGTERM set `asked` instead of killing; a second one kills.

    Signals reach the main thread only; in any other thread nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            self._restore()
            signal.raise_signal(number)
        self.asked = True

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: one that C code had set, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()


class Stop:
    """Says when to stop: at a signal, or once so many seconds are over.

    Parameters
    ----------
    interrupts : Asked
    seconds : float or None
    """

    def __init__(self, interrupts: Asked, seconds: float | None) -> None:
        self.interrupts = interrupts
        self.deadline = float("inf") if seconds is None else time.monotonic() + seconds

    @property
    def late(self) -> bool:
        """Whether the time is over, and no signal has come."""
        return not self.interrupts.asked and time.monotonic() > self.deadline

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self.interrupts.asked or time.monotonic() > self.deadline
