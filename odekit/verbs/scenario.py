"""Read a scenario: a problem written down in TOML, key by key as in `odekit.Problem`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError, ScenarioError
from odekit.problem.system import FIRST, system_of
from odekit.store.files import as_path

if TYPE_CHECKING:
    from odekit.drawing.figure import FigureTable
    from odekit.problem.base import AnyProblem

MAX_BYTES = 16 * 2**20
"""Largest scenario file: far above any written by hand, far below what would fill the memory."""


@dataclass(frozen=True)
class Scenario:
    """A problem with the solver's options and the words that go with it.

    Parameters
    ----------
    problem : AnyProblem
    solver : dict
        Keyword arguments of `odekit.solve`.
    title, description : str
    references : tuple of str
        Where the problem comes from.
    source : str
        Text of the file.
    figure : FigureTable, optional
        What the picture of a sweep shows.
    fixed_point, continuation, optimise : dict
        Keyword arguments of `odekit.fixed_point`, `odekit.continuation` and `odekit.optimise`.
    """

    problem: AnyProblem
    solver: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    source: str = ""
    figure: FigureTable | None = None
    fixed_point: dict[str, Any] = field(default_factory=dict)
    continuation: dict[str, Any] = field(default_factory=dict)
    optimise: dict[str, Any] = field(default_factory=dict)


def load_scenario(path: str | PathLike[str]) -> Scenario:
    """Read a scenario file (TOML).

    Parameters
    ----------
    path : path-like
        A file that mirrors `odekit.Problem`: the tables ``state``, ``heads``, ``tasks``, ``phases``
        and, besides, ``title``, ``description``, ``references``, ``solver``, ``fixed_point``,
        ``continuation`` and ``optimise`` (see ``data/README.md`` of the project for every key).

    Returns
    -------
    Scenario

    Raises
    ------
    ScenarioError
        Listing every mistake with its key.
    OSError
        If the file cannot be read.
    """
    return parse_scenario(_read(path))


def parse_scenario(text: str) -> Scenario:
    """Read a scenario from its text.

    Examples
    --------
    >>> from odekit.verbs.scenario import parse_scenario
    >>> parse_scenario("title = 3")
    Traceback (most recent call last):
      ...
    odekit.base.errors.ScenarioError: 5 mistakes in the scenario:
      title: must be text in quotes, got 3
      state: is missing
      heads: is missing
      tasks: is missing
      phases: is missing
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([_syntax(error)]) from None
    except RecursionError:
        raise ScenarioError([("file", "is nested too deeply")]) from None
    table, builder, mistakes = _tables(raw)
    problem, solver = builder.problem(table), builder.solver(table)
    points = {
        "fixed_point": builder.fixed_point(table),
        "continuation": builder.continuation(table, problem),
        "optimise": builder.optimise(table, problem),
    }
    figure = builder.figure(table, problem, _check_figure)
    if mistakes or problem is None:
        raise ScenarioError(mistakes.in_order())
    words = {"title": table.title, "description": table.description.strip(), "source": text}
    references = tuple(table.references)
    return Scenario(problem, solver, **words, **points, references=references, figure=figure)


def _tables(raw: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The tables of a scenario, by its system, what builds its problem, and the mistakes so far."""
    kind = raw.get("system", FIRST)
    try:
        system = system_of(kind)
    except ProblemError as error:
        raise ScenarioError([("system", f"{error.rule}, got {error.given}")]) from None
    return system.scenario(raw)


def _check_figure(figure: FigureTable, problem: AnyProblem) -> None:
    """Refuse a figure that does not suit the sweep, or asks for what no result of it has."""
    from odekit.drawing.figure import check_figure
    from odekit.measures.named import check_names
    from odekit.problem.axes import axes

    check_figure(figure, axes(problem))
    check_names(figure.measures, problem)


def scenario_of(path: str | PathLike[str]) -> Scenario:
    """The problem of a result file, to be solved once more with the same options.

    Parameters
    ----------
    path : path-like
        A file that `odekit.save` wrote.

    Returns
    -------
    Scenario

    Raises
    ------
    StoreError, ProblemError
        If the file cannot be read, or holds no problem.
    """
    from odekit.dataset.provenance import problem_of
    from odekit.drawing.figure import figure_of
    from odekit.integrate.options import stored_options
    from odekit.problem.plain import problem_from_dict
    from odekit.store.netcdf import open as open_result

    ds = open_result(path)
    problem = problem_from_dict(problem_of(ds))
    words: dict[str, Any] = {
        n: str(ds.attrs.get(a, "")) for n, a in (("title", "title"), ("description", "comment"))
    }
    references = tuple(filter(None, str(ds.attrs.get("references", "")).split("; ")))
    options, figure = stored_options(ds.attrs), figure_of(ds)
    return Scenario(problem, options, **words, references=references, figure=figure)


def _read(path: str | PathLike[str]) -> str:
    """The text of a file of sensible size."""
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a scenario")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ScenarioError(
            [("file", f"must be at most {MAX_BYTES // 2**20} MiB; is this a scenario?")]
        )
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError([(f"line {line}", "must be UTF-8 text")]) from None


def _syntax(error: tomllib.TOMLDecodeError) -> tuple[str, str]:
    """Where and why a text is no TOML."""
    why, _, where = str(error).partition(" (at ")
    where = where.rstrip(")") or "file"
    return where, f"is not TOML: {why[:1].lower()}{why[1:]}"
