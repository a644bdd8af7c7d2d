"""What all commands have in common: their group, their options, and how they end."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odekit.base.errors import OdekitError, printable
from odekit.base.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from odekit.verbs.scenario import Scenario

DONE, FAILED, BAD_INPUT, IO_ERROR = 0, 1, 2, 3
SIGNATURES = (b"CDF", b"\x89HDF")
"""First bytes of netCDF files."""

OUT = click.Path(dir_okay=False, path_type=Path)
# A Zarr store is a folder.
STORED = click.Path(path_type=Path)
RESULT = click.argument("file", metavar="FILE.nc", type=STORED)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Order-parameter equations of online learning: solve, look at and check runs.

    Exit codes: 0 done, 1 numerical failure or interruption (what was computed is kept), 2 bad
    arguments or scenario, 3 a file cannot be read or written.
    """


def complain(message: str, code: int) -> int:
    """A line on stderr, and the exit code that goes with it."""
    say(message)
    return code


def say(message: str) -> None:
    """A line on stderr, if anybody reads it."""
    with contextlib.suppress(OSError):
        click.echo(printable(f"odekit: {message}"), err=True)


@contextlib.contextmanager
def own_words() -> Iterator[None]:
    """Warnings as lines of the command; how runs ended is said with the result."""
    from odekit.base.errors import CheckpointWarning, NotCompletedWarning
    from odekit.integrate.compiling import announced

    def show(message: Warning | str, *_where: Any, **_more: Any) -> None:
        say(str(message))

    with warnings.catch_warnings(), announced():
        warnings.simplefilter("always", CheckpointWarning)
        warnings.simplefilter("ignore", NotCompletedWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Where nothing has been compiled yet, have the helper begin while all else is read."""
    from odekit.integrate.compiling import announced, begin, kept

    with announced():
        if not kept()[1]:
            begin()
        yield


def check_targets(output: Path | None, picture: Path | None, overwrite: bool) -> None:
    """Refuse before anything is computed what could not be written after."""
    from odekit.store.files import check_folder_target, check_target

    check = check_target if output is None or output.suffix == ".nc" else check_folder_target
    targets = [] if output is None else [check(output, overwrite)]
    if picture is not None:
        from odekit.verbs.plot import check_picture

        targets.append(check_picture(picture, overwrite))
    if len(set(targets)) < len(targets):
        raise click.UsageError("the result and its picture need different files")


def check_netcdf(*paths: Path | None) -> None:
    """Refuse names of results that are no netCDF files; None is let pass."""
    for path in paths:
        if path is not None and path.suffix != ".nc":
            raise click.UsageError(f"the result is a netCDF file: name it .nc, not {path.name}")


def is_stored(path: Path) -> bool:
    """Whether a path is a result, and not a scenario."""
    from odekit.store.files import as_path

    if as_path(path).is_dir():
        return True
    with path.open("rb") as file:
        return file.read(4).startswith(SIGNATURES)


def load(path: Path) -> Scenario:
    """Read a scenario, or the problem that a result file holds."""
    stored = is_stored(path)
    if path.suffix == ".nc" and not stored:
        from odekit.base.errors import StoreError

        raise StoreError(path, "is not a netCDF-4 file", "A scenario is named `.toml`.")
    if stored:
        from odekit.verbs.scenario import scenario_of

        return scenario_of(path)
    from odekit.verbs.scenario import load_scenario

    return load_scenario(path)


def wants_progress(progress: bool | None) -> bool:
    """Whether a bar is shown: by default where somebody sees it."""
    from odekit.base.progress import is_terminal

    return is_terminal() if progress is None else progress


def finish(ds: xr.Dataset, output: Path | None, overwrite: bool, picture: Path | None) -> int:
    """Save a result and draw it, then say what it is: a reader who leaves costs nothing."""
    from odekit.store.kept import save_or_keep
    from odekit.verbs.plot import plot_run

    complaint = ""
    try:
        if output is not None and output.suffix == ".nc":
            save_or_keep(ds, output, overwrite)
        if picture is not None:
            plot_run(ds, picture, overwrite=overwrite)
    except (OdekitError, OSError) as error:
        complaint = str(error)
    code = report(ds, None if complaint else output, picture)
    return complain(complaint, IO_ERROR) if complaint else code


def report(ds: xr.Dataset, output: Path | None, picture: Path | None) -> int:
    """Say what a result is, and on stderr what it is not."""
    from odekit.verbs.show import ended_early, summary

    ended = ended_early(ds)
    if ended:
        say(ended)
    click.echo(summary(ds))
    if output is not None and output.exists():
        click.echo(f"{'Result':<11}{output}")
    elif output is not None:
        click.echo(f"{'Unfinished':<11}{output}.part: the same command goes on from there")
    if picture is not None and picture.exists():
        click.echo(f"{'Picture':<11}{picture}")
    return FAILED if ended else DONE


def words(todo: Scenario) -> dict[str, str]:
    """The words and the figure of a scenario, as attributes of its result."""
    words = {"title": todo.title, "comment": todo.description}
    words["references"] = "; ".join(todo.references)
    named = {k: " ".join(v.split()) for k, v in words.items() if v.strip()}
    if todo.figure is None:
        return named
    from odekit.drawing.figure import ATTRIBUTE

    return {**named, ATTRIBUTE: todo.figure.model_dump_json(exclude_defaults=True)}
