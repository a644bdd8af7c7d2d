"""The command line: a file for what computes, fixed points, schedules, and looking at results.

Nothing heavy is imported before a command needs it: ``odekit --help`` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

import click

from odekit.base.errors import OdekitError
from odekit.cli import controlling, looking, resting, solving
from odekit.cli.group import BAD_INPUT, DONE, FAILED, IO_ERROR, cli, complain

OBJECTS = 50_000
"""New objects after which to look for garbage: nearly all are of modules, and stay. At Python's 700
a sixth of the time of a short run goes there."""

COMMANDS = (solving, resting, controlling, looking)
"""Each registers its own with the group."""

__all__ = ["BAD_INPUT", "COMMANDS", "DONE", "FAILED", "IO_ERROR", "cli", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0 done; 1 numerical failure or interruption, with the partial result kept; 2 bad arguments
        or scenario; 3 a file could not be read or written.
    """
    _open_streams()
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], OBJECTS) if before[0] else 0, *before[1:])
    try:
        return int(cli.main(arguments, prog_name="odekit", standalone_mode=False) or DONE)
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", FAILED)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OdekitError as error:
        return complain(str(error), IO_ERROR if isinstance(error, OSError) else BAD_INPUT)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return complain(named, IO_ERROR)
    except MemoryError as error:
        return complain(f"out of memory: {error}", FAILED)
    finally:
        gc.set_threshold(*before)


def _open_streams() -> None:
    """Where a standard stream is closed, the next file opened would be taken for it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115
