"""Progress on stderr, which never ends the work that it shows."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def is_terminal() -> bool:
    """Whether somebody sees stderr."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (OSError, ValueError):  # closed
        return False


def _bar(options: dict[str, Any]) -> Any:
    """A bar of tqdm: in a notebook one of widgets, where there are any."""
    if "IPython" not in sys.modules:
        import tqdm

        return tqdm.tqdm(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says that there are none
        from tqdm.auto import tqdm as bar

        return bar(**options)


class Bar:
    """A bar of tqdm that disappears where stderr does: no run is lost for its progress.

    Parameters
    ----------
    wanted : bool
    options
        As of `tqdm.tqdm`.
    """

    def __init__(self, wanted: bool, **options: Any) -> None:
        self._bar: Any = None
        if wanted and sys.stderr is not None:
            self._try(lambda: setattr(self, "_bar", _bar(options)))

    @property
    def n(self) -> float:
        """How far it is."""
        return 0.0 if self._bar is None else float(self._bar.n)

    def update(self, more: float) -> None:
        """Move on."""
        if self._bar is not None:
            self._try(lambda: self._bar.update(more))

    def close(self) -> None:
        """End it."""
        if self._bar is not None:
            self._try(lambda: self._bar.close())

    def _try(self, show: Any) -> None:
        try:
            show()
        except (OSError, ValueError):  # the reader has gone, or stderr was closed
            if self._bar is not None:
                self._bar.disable = True
            self._bar = None


PERCENT: dict[str, Any] = {
    "total": 100.0,
    "unit": "%",
    "bar_format": "{l_bar}{bar}| [{elapsed}<{remaining}]",
}
"""Options of a bar that shows a share."""
