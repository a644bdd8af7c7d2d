"""The command line: run, simulate, fixed-point, continue, show, plot and validate.

Nothing heavy is imported before a command needs it: ``odekit --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
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
METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA", "Rodas5P")
DEVICES = ("cpu", "cuda", "auto")

OUT = click.Path(dir_okay=False, path_type=Path)
# A Zarr store is a folder.
STORED = click.Path(path_type=Path)
RESULT = click.argument("file", metavar="FILE.nc", type=STORED)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


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
    try:
        return int(cli.main(arguments, prog_name="odekit", standalone_mode=False) or DONE)
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", FAILED)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OdekitError as error:
        return _complain(str(error), IO_ERROR if isinstance(error, OSError) else BAD_INPUT)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _complain(named, IO_ERROR)
    except MemoryError as error:
        return _complain(f"out of memory: {error}", FAILED)


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


def _complain(message: str, code: int) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    """A line on stderr, if anybody reads it."""
    with contextlib.suppress(OSError):
        click.echo(printable(f"odekit: {message}"), err=True)


@contextlib.contextmanager
def _own_words() -> Iterator[None]:
    """Warnings as lines of the command; how runs ended is said with the result."""
    from odekit.base.errors import CheckpointWarning, NotCompletedWarning
    from odekit.integrate.compiling import announced

    def show(message: Warning | str, *_where: Any, **_more: Any) -> None:
        _say(str(message))

    with warnings.catch_warnings(), announced():
        warnings.simplefilter("always", CheckpointWarning)
        warnings.simplefilter("ignore", NotCompletedWarning)
        warnings.showwarning = show
        yield


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Order-parameter equations of online learning: solve, look at and check runs.

    Exit codes: 0 done, 1 numerical failure or interruption (what was computed is kept), 2 bad
    arguments or scenario, 3 a file cannot be read or written.
    """


@cli.command()
@click.argument("scenario", metavar="SCENARIO.toml|FILE.nc", type=STORED)
@click.option(
    "-o",
    "--output",
    metavar="OUT.nc|OUT.zarr",
    type=STORED,
    required=True,
    help="Result to write; a Zarr folder is filled as the runs of a sweep end.",
)
@OVERWRITE
@click.option("--plot", "picture", metavar="FIG.png", type=OUT, help="Draw a picture as well.")
@click.option("--progress/--no-progress", default=None, help="Progress bar on stderr.")
@click.option(
    "--checkpoint",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder from which a killed run resumes.",
)
@click.option(
    "--checkpoint-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Time between two states kept there (30).",
)
@click.option("--method", type=click.Choice(METHODS), help="Integrator; by default by the case.")
@click.option("--rtol", type=float, help="Relative tolerance (1e-8).")
@click.option("--atol", type=float, help="Absolute tolerance (1e-11).")
@click.option("--device", type=click.Choice(DEVICES), help="Where a sweep is computed (cpu).")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a sweep (all cores).")
def run(
    scenario: Path,
    output: Path,
    overwrite: bool,
    picture: Path | None,
    progress: bool | None,
    checkpoint: Path | None,
    checkpoint_every: float | None,
    **options: Any,
) -> int:
    """Solve a scenario, or the problem of a result file once more."""
    if checkpoint_every is not None and checkpoint is None:
        raise click.UsageError("--checkpoint-every needs --checkpoint")
    if output.suffix not in (".nc", ".zarr"):
        raise click.UsageError(
            f"the result is a netCDF file or a Zarr folder: name it .nc or .zarr, not {output.name}"
        )
    if checkpoint is not None and output.suffix == ".zarr":
        raise click.UsageError("a Zarr folder is its own checkpoint: leave out --checkpoint")
    _check_targets(output, picture, overwrite)
    todo = _load(scenario)
    keywords = {**todo.solver, **{k: v for k, v in options.items() if v is not None}}
    if checkpoint is not None:
        from odekit.store.checkpoint import Checkpoint

        every = {} if checkpoint_every is None else {"seconds": checkpoint_every}
        keywords["checkpoint"] = Checkpoint(checkpoint, **every)
    return _solve(todo, keywords, output, overwrite, picture, progress)


@cli.command()
@click.argument("scenario", metavar="SCENARIO.toml|FILE.nc", type=OUT)
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, required=True, help="Result to write.")
@OVERWRITE
@click.option("--input-dim", metavar="N", type=click.IntRange(min=1), required=True, help="N.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--replicas", type=click.IntRange(min=1), help="Networks to train.")
@click.option("--fisher-samples", type=click.IntRange(min=1), help="Sample the Fisher information.")
@click.option("--max-seconds", type=float, help="Most seconds; what was trained is kept.")
@click.option("--threads", type=click.IntRange(min=1), help="Networks trained at a time.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--method",
    type=click.Choice(["overlaps", "weights"]),
    help="What is kept of a network; by default its overlaps, where they are enough.",
)
@click.option("--plot", "picture", metavar="FIG.png", type=OUT, help="Draw a picture as well.")
@click.option("--progress/--no-progress", default=None, help="Progress bar on stderr.")
def simulate(
    scenario: Path,
    output: Path,
    overwrite: bool,
    picture: Path | None,
    progress: bool | None,
    **options: Any,
) -> int:
    """Train finite networks on a scenario, or on the problem of a result file."""
    from odekit import simulate as train

    if output.suffix != ".nc":
        raise click.UsageError(f"the result is a netCDF file: name it .nc, not {output.name}")
    _check_targets(output, picture, overwrite)
    todo = _load(scenario)
    times = {k: v for k, v in todo.solver.items() if k == "t_eval"}
    problem: Any = todo.problem  # of another kind it is refused there
    with _own_words():
        ds = train(problem, progress=_shown(progress), **times, **options)
    return _finish(ds.assign_attrs(_words(todo)), output, overwrite, picture)


@cli.command()
@RESULT
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, required=True, help="Result to write.")
@click.option("--input-dim", metavar="N", type=click.IntRange(min=1), required=True, help="N.")
@click.option("--covariance", is_flag=True, help="The whole covariance as well.")
@OVERWRITE
def fluctuations(file: Path, output: Path, overwrite: bool, **options: Any) -> int:
    """Predict how networks of N inputs scatter about a run, for odekit plot to shade."""
    from odekit import fluctuations as predict
    from odekit.store.netcdf import open as open_result
    from odekit.store.netcdf import save

    if output.suffix != ".nc":
        raise click.UsageError(f"the result is a netCDF file: name it .nc, not {output.name}")
    _check_targets(output, None, overwrite)
    with _own_words():
        ds = predict(open_result(file), **options)
    click.echo(save(ds, output, overwrite))
    return DONE


@cli.command("fixed-point")
@click.argument("source", metavar="SCENARIO.toml|FILE.nc", type=STORED)
@click.option("--time", type=click.FloatRange(min=0), help="Begin at the row nearest to it.")
@click.option("--phase", type=click.IntRange(min=0), help="Whose equations: that of the row.")
@click.option("--plateaus", is_flag=True, help="Those that the run passes, with their escapes.")
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, help="Result to write.")
@OVERWRITE
def fixed_point(
    source: Path,
    time: float | None,
    phase: int | None,
    plateaus: bool,
    output: Path | None,
    overwrite: bool,
) -> int:
    """Find the fixed point near a row of a run, or near the state of a scenario.

    A result's own rows are taken, the last one without --time; a scenario is solved up to --time,
    and without it the search begins at the scenario's state.
    """
    if plateaus and time is not None:
        raise click.UsageError("--plateaus looks at the whole run: leave out --time")
    if output is not None and output.suffix != ".nc":
        raise click.UsageError(f"the result is a netCDF file: name it .nc, not {output.name}")
    _check_targets(output, None, overwrite)
    given = {k: v for k, v in (("time", time), ("phase", phase)) if v is not None}
    with _own_words():
        ds = _plateaus(source, given) if plateaus else _fixed_point(source, given)
    return _report_points(ds, output, overwrite)


@cli.command()
@click.argument("scenario", metavar="SCENARIO.toml|FILE.nc", type=OUT)
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, required=True, help="Result to write.")
@OVERWRITE
@click.option("--steps-per-unit", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--plot", "picture", metavar="FIG.png", type=OUT, help="Draw a picture as well.")
def descend(
    scenario: Path, output: Path, overwrite: bool, picture: Path | None, steps_per_unit: int
) -> int:
    """Take the discrete steps of gradient descent whose flow `run` follows."""
    from odekit import descend as train

    if output.suffix != ".nc":
        raise click.UsageError(f"the result is a netCDF file: name it .nc, not {output.name}")
    _check_targets(output, picture, overwrite)
    todo = _load(scenario)
    times = {k: v for k, v in todo.solver.items() if k == "t_eval"}
    with _own_words():
        ds = train(todo.problem, steps_per_unit=steps_per_unit, **times)
    return _finish(ds.assign_attrs(_words(todo)), output, overwrite, picture)


@cli.command()
@RESULT
def show(file: Path) -> int:
    """Describe a result: problem, phases, last values, and how it ended.

    Of a sweep that is still being computed, or was cut short, FILE.zarr or FILE.zarr.part shows
    what there is.
    """
    from odekit.store.netcdf import open as open_result
    from odekit.verbs.partial import open_part, part_of
    from odekit.verbs.show import summary

    part = part_of(file)
    click.echo(summary(open_result(file) if part is None else open_part(part)))
    if part is not None:
        click.echo(f"{'Unfinished':<11}{part}: the command that began it goes on from there")
    return DONE


@cli.command()
@click.argument("files", metavar="FILE.nc...", type=STORED, nargs=-1, required=True)
@click.option("-o", "--output", metavar="FIG.png", type=OUT, required=True, help="Picture.")
@click.option(
    "--time",
    type=click.Choice(["auto", "log", "linear", "phases"]),
    default="auto",
    help="Time axis; phases: a logarithmic one for each.",
)
@click.option("--show", metavar="NAME", help="Of branches: what to draw, such as R[0, 1].")
@click.option(
    "--align/--no-align",
    default=True,
    help="Networks with their units in the order that fits the first result best (so by default).",
)
@OVERWRITE
def plot(
    files: tuple[Path, ...], output: Path, time: str, show: str | None, align: bool, overwrite: bool
) -> int:
    """Draw a result: .png, .pdf or .svg. Those after the first are markers over its lines.

    What odekit.fluctuations predicted is shaded about the lines.
    """
    _check_targets(None, output, overwrite)
    from odekit.store.netcdf import open as open_result
    from odekit.verbs.plot import check_result, plot_run

    first, *others = results = [open_result(file) for file in files]
    for ds in results:
        check_result(ds)
    plot_run(first, output, time=time, overwrite=overwrite, beside=others, align=align, show=show)
    click.echo(output)
    return DONE


@cli.command()
@RESULT
def validate(file: Path) -> int:
    """Check a result against its schema and the laws that it must obey."""
    from odekit.store.netcdf import open as open_result
    from odekit.verbs.validate import validate as check

    verdicts = check(open_result(file))
    width = max(len(v.law) for v in verdicts)
    for v in verdicts:
        said = f"{'ok  ' if v.holds else 'FAIL'}  {v.law:<{width}}  {v.found}"
        click.echo(printable(said))
    return DONE if all(v.holds for v in verdicts) else FAILED


@cli.command("continue")
@click.argument("scenario", metavar="SCENARIO.toml|FILE.nc", type=STORED)
@click.option("--along", metavar="NAME", help="Number: phases[0].learning_rate.")
@click.option("--between", metavar="LO HI", type=(float, float), help="Its range.")
@click.option("--at", type=float, help="Its value at the start: that of the problem.")
@click.option(
    "--start", metavar="FILE.nc", type=STORED, help="Begin at its fixed point or last row."
)
@click.option("--time", type=click.FloatRange(min=0), help="Begin at the row nearest to it.")
@click.option("--phase", type=click.IntRange(min=0), help="Whose equations (0).")
@click.option("--switch", is_flag=True, default=None, help="Follow other branches, too.")
@click.option("--max-points", type=click.IntRange(min=2), help="Most points of a branch (1000).")
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, help="Result to write.")
@OVERWRITE
@click.option("--plot", "picture", metavar="FIG.png", type=OUT, help="Draw a picture as well.")
def continue_(
    scenario: Path,
    start: Path | None,
    time: float | None,
    output: Path | None,
    overwrite: bool,
    picture: Path | None,
    **options: Any,
) -> int:
    """Follow a branch of fixed points in a number of the problem, round folds.

    It begins near the last row of a result, or the state of a scenario, which is solved up to
    --time. What is not said here is taken from the scenario's [continuation].
    """
    from odekit import continuation

    if output is not None and output.suffix != ".nc":
        raise click.UsageError(f"the result is a netCDF file: name it .nc, not {output.name}")
    _check_targets(output, picture, overwrite)
    todo = _load(scenario)
    given = {**todo.continuation, **{k: v for k, v in options.items() if v is not None}}
    for name in ("along", "between"):
        if name not in given:
            raise click.UsageError(f"--{name} is needed, or `{name}` in the scenario")
    with _own_words():
        begin = _row(scenario if start is None else start, time)
        ds = continuation(todo.problem, start=begin, **given)
    return _finish(ds.assign_attrs(_words(todo)), output, overwrite, picture)


def _row(source: Path, time: float | None) -> xr.Dataset | None:
    """A row of a result, by default the last, or a fixed point; None for a scenario's own state."""
    if not _is_stored(source):
        return None if time is None else _fixed_point(source, {"time": time})
    from odekit.store.netcdf import open as open_result

    ds = open_result(source).load()
    if "time" not in ds.dims:
        return ds
    return ds.isel(time=-1) if time is None else ds.sel(time=time, method="nearest")


def _check_targets(output: Path | None, picture: Path | None, overwrite: bool) -> None:
    """Refuse before anything is computed what could not be written after."""
    from odekit.store.files import check_folder_target, check_target

    check = check_target if output is None or output.suffix == ".nc" else check_folder_target
    targets = [] if output is None else [check(output, overwrite)]
    if picture is not None:
        from odekit.verbs.plot import check_picture

        targets.append(check_picture(picture, overwrite))
    if len(set(targets)) < len(targets):
        raise click.UsageError("the result and its picture need different files")


def _is_stored(path: Path) -> bool:
    """Whether a path is a result, and not a scenario."""
    from odekit.store.files import as_path

    if as_path(path).is_dir():
        return True
    with path.open("rb") as file:
        return file.read(4).startswith(SIGNATURES)


def _load(path: Path) -> Scenario:
    """Read a scenario, or the problem that a result file holds."""
    stored = _is_stored(path)
    if path.suffix == ".nc" and not stored:
        from odekit.base.errors import StoreError

        raise StoreError(path, "is not a netCDF-4 file", "A scenario is named `.toml`.")
    if stored:
        from odekit.verbs.scenario import scenario_of

        return scenario_of(path)
    from odekit.verbs.scenario import load_scenario

    return load_scenario(path)


def _fixed_point(source: Path, given: dict[str, Any]) -> xr.Dataset:
    """From the rows of a result, or from a scenario with its own options."""
    from odekit import fixed_point as find

    if _is_stored(source):
        from odekit.store.netcdf import open as open_result

        return find(open_result(source).load(), **given)
    todo = _load(source)
    return find(todo.problem, **{**todo.fixed_point, **given}).assign_attrs(_words(todo))


def _plateaus(source: Path, given: dict[str, Any]) -> xr.Dataset:
    """Of a result, or of a scenario that is solved first."""
    from odekit import plateaus, solve

    if _is_stored(source):
        from odekit.store.netcdf import open as open_result

        return plateaus(open_result(source).load(), **given)
    todo = _load(source)
    return plateaus(solve(todo.problem, **todo.solver), **given).assign_attrs(_words(todo))


def _report_points(ds: xr.Dataset, output: Path | None, overwrite: bool) -> int:
    """Save fixed points, say what they are, and on stderr that some were not found."""
    from odekit.base.status import Convergence
    from odekit.store.kept import save_or_keep
    from odekit.verbs.show import summary

    if output is not None:
        save_or_keep(ds, output, overwrite)
    missing = int((ds.status != Convergence.CONVERGED).sum())
    if "plateau" in ds.dims:
        missing = int(((ds.status != Convergence.CONVERGED) & ds.start.notnull()).sum())
    if ds.sizes.get("plateau") == 0:
        _say("the run has no plateau")
    if missing:
        _say(f"{missing} of {ds.status.size} searches found no fixed point")
    click.echo(summary(ds))
    if output is not None:
        click.echo(f"{'Result':<11}{output}")
    return FAILED if missing else DONE


def _solve(
    todo: Scenario,
    keywords: dict[str, Any],
    output: Path,
    overwrite: bool,
    picture: Path | None,
    progress: bool | None,
) -> int:
    from odekit import solve

    if output.suffix == ".zarr":
        keywords = {**keywords, "store": output, "overwrite": overwrite}
    with _own_words():
        shown = _shown(progress)
        ds = solve(todo.problem, progress=shown, attrs=_words(todo), **keywords)
    return _finish(ds, output, overwrite, picture)


def _shown(progress: bool | None) -> bool:
    from odekit.base.progress import is_terminal

    return is_terminal() if progress is None else progress


def _finish(ds: xr.Dataset, output: Path | None, overwrite: bool, picture: Path | None) -> int:
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
    code = _report(ds, None if complaint else output, picture)
    return _complain(complaint, IO_ERROR) if complaint else code


def _report(ds: xr.Dataset, output: Path | None, picture: Path | None) -> int:
    """Say what a result is, and on stderr what it is not."""
    from odekit.verbs.show import ended_early, summary

    ended = ended_early(ds)
    if ended:
        _say(ended)
    click.echo(summary(ds))
    if output is not None and output.exists():
        click.echo(f"{'Result':<11}{output}")
    elif output is not None:
        click.echo(f"{'Unfinished':<11}{output}.part: the same command goes on from there")
    if picture is not None and picture.exists():
        click.echo(f"{'Picture':<11}{picture}")
    return FAILED if ended else DONE


def _words(todo: Scenario) -> dict[str, str]:
    """The words and the figure of a scenario, as attributes of its result."""
    words = {"title": todo.title, "comment": todo.description}
    words["references"] = "; ".join(todo.references)
    named = {k: " ".join(v.split()) for k, v in words.items() if v.strip()}
    if todo.figure is None:
        return named
    from odekit.drawing.figure import ATTRIBUTE

    return {**named, ATTRIBUTE: todo.figure.model_dump_json(exclude_defaults=True)}
