"""Commands that compute: run, simulate, fluctuations, descend; and what compiles for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odekit.cli.group import (
    DONE,
    FAILED,
    OUT,
    OVERWRITE,
    RESULT,
    STORED,
    check_netcdf,
    check_targets,
    cli,
    finish,
    load,
    own_words,
    prepared,
    wants_progress,
    words,
)

if TYPE_CHECKING:
    from odekit.verbs.scenario import Scenario

METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA", "Rodas5P")
DEVICES = ("cpu", "cuda", "auto")


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
    check_targets(output, picture, overwrite)
    if checkpoint is not None:
        from odekit.store.checkpoint import Checkpoint

        every = {} if checkpoint_every is None else {"seconds": checkpoint_every}
        options["checkpoint"] = Checkpoint(checkpoint, **every)
    with prepared():
        todo = load(scenario)
        keywords = {**todo.solver, **{k: v for k, v in options.items() if v is not None}}
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

    check_netcdf(output)
    check_targets(output, picture, overwrite)
    todo = load(scenario)
    times = {k: v for k, v in todo.solver.items() if k == "t_eval"}
    problem: Any = todo.problem  # of another kind it is refused there
    with own_words():
        ds = train(problem, progress=wants_progress(progress), **times, **options)
    return finish(ds.assign_attrs(words(todo)), output, overwrite, picture)


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

    check_netcdf(output)
    check_targets(output, None, overwrite)
    with own_words():
        ds = predict(open_result(file), **options)
    click.echo(save(ds, output, overwrite))
    return DONE


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

    check_netcdf(output)
    check_targets(output, picture, overwrite)
    todo = load(scenario)
    times = {k: v for k, v in todo.solver.items() if k == "t_eval"}
    with own_words():
        ds = train(todo.problem, steps_per_unit=steps_per_unit, **times)
    return finish(ds.assign_attrs(words(todo)), output, overwrite, picture)


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
    with own_words():
        shown = wants_progress(progress)
        ds = solve(todo.problem, progress=shown, attrs=words(todo), **keywords)
    return finish(ds, output, overwrite, picture)


@cli.command()
@click.argument("scenarios", metavar="[SCENARIO.toml]...", type=OUT, nargs=-1)
@click.option("--processes", type=click.IntRange(min=1), help="At a time (one for each core).")
def warm(scenarios: tuple[Path, ...], processes: int | None) -> int:
    """Compile kernels ahead of the first answer: the usual ones, or those of scenarios."""
    from odekit.base.errors import StoreError
    from odekit.integrate.compiling import kept
    from odekit.verbs.warm import runs_of, usual
    from odekit.verbs.warm import warm as do

    folder, before = kept()
    if folder is None:
        remedy = "Name a folder of yours in NUMBA_CACHE_DIR."
        raise StoreError("the cache of kernels", "cannot be kept private", remedy)
    jobs = [job for path in scenarios for job in runs_of(load(path).problem)]
    failed = False
    for done in do(jobs or usual(), processes):
        failed |= bool(done.complaint)
        click.echo(f"{done.words:<42}{done.seconds:6.1f} s  {done.complaint}".rstrip())
    click.echo(f"{kept()[1] - before} kernels compiled, {kept()[1]} in {folder}")
    return FAILED if failed else DONE
