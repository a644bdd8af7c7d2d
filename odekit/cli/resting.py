"""Commands on fixed points: fixed-point, continue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odekit.cli.group import (
    DONE,
    FAILED,
    OUT,
    OVERWRITE,
    STORED,
    check_netcdf,
    check_targets,
    cli,
    finish,
    is_stored,
    load,
    own_words,
    say,
    words,
)

if TYPE_CHECKING:
    import xarray as xr


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
    check_netcdf(output)
    check_targets(output, None, overwrite)
    given = {k: v for k, v in (("time", time), ("phase", phase)) if v is not None}
    with own_words():
        ds = _plateaus(source, given) if plateaus else _fixed_point(source, given)
    return _report_points(ds, output, overwrite)


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

    check_netcdf(output)
    check_targets(output, picture, overwrite)
    todo = load(scenario)
    given = {**todo.continuation, **{k: v for k, v in options.items() if v is not None}}
    for name in ("along", "between"):
        if name not in given:
            raise click.UsageError(f"--{name} is needed, or `{name}` in the scenario")
    with own_words():
        begin = _row(scenario if start is None else start, time)
        ds = continuation(todo.problem, start=begin, **given)
    return finish(ds.assign_attrs(words(todo)), output, overwrite, picture)


def _row(source: Path, time: float | None) -> xr.Dataset | None:
    """A row of a result, by default the last, or a fixed point; None for a scenario's own state."""
    if not is_stored(source):
        return None if time is None else _fixed_point(source, {"time": time})
    from odekit.store.netcdf import open as open_result

    ds = open_result(source).load()
    if "time" not in ds.dims:
        return ds
    return ds.isel(time=-1) if time is None else ds.sel(time=time, method="nearest")


def _fixed_point(source: Path, given: dict[str, Any]) -> xr.Dataset:
    """From the rows of a result, or from a scenario with its own options."""
    from odekit import fixed_point as find

    if is_stored(source):
        from odekit.store.netcdf import open as open_result

        return find(open_result(source).load(), **given)
    todo = load(source)
    return find(todo.problem, **{**todo.fixed_point, **given}).assign_attrs(words(todo))


def _plateaus(source: Path, given: dict[str, Any]) -> xr.Dataset:
    """Of a result, or of a scenario that is solved first."""
    from odekit import plateaus, solve

    if is_stored(source):
        from odekit.store.netcdf import open as open_result

        return plateaus(open_result(source).load(), **given)
    todo = load(source)
    return plateaus(solve(todo.problem, **todo.solver), **given).assign_attrs(words(todo))


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
        say("the run has no plateau")
    if missing:
        say(f"{missing} of {ds.status.size} searches found no fixed point")
    click.echo(summary(ds))
    if output is not None:
        click.echo(f"{'Result':<11}{output}")
    return FAILED if missing else DONE
