"""The command that searches for schedules: optimise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from odekit.cli.group import (
    OUT,
    OVERWRITE,
    STORED,
    check_netcdf,
    check_targets,
    cli,
    finish,
    load,
    own_words,
    wants_progress,
    words,
)


@cli.command("optimise")
@click.argument("scenario", metavar="SCENARIO.toml", type=STORED)
@click.option("-o", "--output", metavar="OUT.nc", type=OUT, help="The search, to write.")
@click.option("--run", "course", metavar="RUN.nc", type=OUT, help="The run of the best schedule.")
@click.option("--plot", "picture", metavar="FIG.png", type=OUT, help="Draw the schedules as well.")
@click.option("--starts", type=click.IntRange(min=1), help="Searches from so many starts (1).")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Time allowed.")
@click.option("--progress/--no-progress", default=None, help="Count gradients on stderr.")
@OVERWRITE
def optimise(
    scenario: Path,
    output: Path | None,
    course: Path | None,
    picture: Path | None,
    progress: bool | None,
    overwrite: bool,
    **options: Any,
) -> int:
    """Search for the schedules that a scenario's [optimise] asks for.

    When the time allowed is over, or on Ctrl-C, the best so far is kept, and the exit code is 1.
    """
    from odekit import optimise as search
    from odekit.store.netcdf import save

    check_netcdf(output, course)
    check_targets(output, picture, overwrite)
    check_targets(course, None, overwrite)
    todo = load(scenario)
    given = {**todo.optimise, **{k: v for k, v in options.items() if v is not None}}
    for name in ("controls", "objective"):
        if name not in given:
            raise click.UsageError(f"the scenario must have `{name}` in its [optimise]")
    with own_words():
        found = search(todo.problem, progress=wants_progress(progress), **given)
    if course is not None:
        run = found.run.assign_attrs({k: v for k, v in words(todo).items() if k != "odekit_figure"})
        save(run, course, overwrite=overwrite)
    return finish(found.dataset.assign_attrs(words(todo)), output, overwrite, picture)
