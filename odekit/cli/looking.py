"""Commands on results: show, plot, validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from odekit.base.errors import printable
from odekit.cli.group import (
    DONE,
    FAILED,
    OUT,
    OVERWRITE,
    RESULT,
    STORED,
    check_targets,
    cli,
)

if TYPE_CHECKING:
    pass


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
    check_targets(None, output, overwrite)
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
