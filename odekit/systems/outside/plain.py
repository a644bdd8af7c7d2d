"""Problems of declared systems as plain data and back; functions are in no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError
from odekit.problem.phase import Phase
from odekit.problem.plain import phase_from, phase_plain, plain, rich
from odekit.systems.outside import rules
from odekit.systems.outside.declaration import Declaration, declared
from odekit.systems.outside.probe import fingerprint, same
from odekit.systems.outside.problem import DeclaredPhase, DeclaredProblem

if TYPE_CHECKING:
    from odekit.problem.plain import Apart

WORDS = ("name", "title", "references", "time", "symbols", "long_names")


def declaration_plain(own: Declaration) -> dict[str, Any]:
    """All of a declaration but its functions."""
    words = {what: plain(getattr(own, what)) for what in WORDS if getattr(own, what)}
    dims = {
        what: {name: list(dims) for name, dims in getattr(own, what).items()}
        for what in ("state", "parameters")
    }
    return {**words, **dims, "laws": rules.written(own.laws)}


def declaration_from(data: Mapping[str, Any]) -> Declaration:
    """The declaration without its functions."""
    laws = rules.read(data.get("laws", {}))
    words = {what: data[what] for what in WORDS if what in data}
    return Declaration(state=data["state"], parameters=data["parameters"], laws=laws, **words)


def write(problem: DeclaredProblem, apart: Apart | None = None) -> dict[str, Any]:
    """Plain data; large arrays may be kept apart."""
    own = problem.declaration
    values = {
        what: {n: plain(v, f"{what}_{n}", apart) for n, v in getattr(problem, what).items()}
        for what in ("state", "parameters")
    }
    tasks = {
        task: {n: plain(v, f"tasks_{task}_{n}", apart) for n, v in given.items()}
        for task, given in problem.tasks.items()
    }
    phases = [_phase(phase, f"phases_{i}", apart) for i, phase in enumerate(problem.phases)]
    return {
        "declaration": declaration_plain(own),
        **values,
        "tasks": tasks,
        "phases": phases,
        "values": fingerprint(problem) if own.has_code else problem.record,
    }


def _phase(phase: Phase, where: str, apart: Apart | None) -> dict[str, Any]:
    data = phase_plain(phase, where, apart)
    if not data.get("parameters", True):
        del data["parameters"]
    return data


def _phase_from(data: Mapping[str, Any]) -> Phase:
    own = {n: rich(v) for n, v in data.get("parameters", {}).items()}
    phase = phase_from({k: v for k, v in data.items() if k != "parameters"})
    return DeclaredPhase(**vars(phase), parameters=own) if own else phase


def read(data: Mapping[str, Any], own: Any = None) -> DeclaredProblem:
    """Rebuild, and check, a problem, with the functions of its declaration if they are here.

    Parameters
    ----------
    data : mapping
    own : Declaration, optional
        Whose functions to take; by default that of the same name in this process, if it is the
        same.
    """
    written = declaration_from(data["declaration"])
    parts: dict[str, Any] = {
        "state": {n: rich(v) for n, v in data["state"].items()},
        "parameters": {n: rich(v) for n, v in data["parameters"].items()},
        "tasks": {t: {n: rich(v) for n, v in g.items()} for t, g in data["tasks"].items()},
        "phases": [_phase_from(phase) for phase in data["phases"]],
    }
    found = own if isinstance(own, Declaration) else declared(written.name)
    if found is not None:
        whole = _with(found, parts, data)
        if whole is not None:
            return whole
        if found is own:
            raise ProblemError(
                "system",
                f"must be the one that the result was made with, {written.name!r}",
                "another",
                "Names, dims, laws and values of its functions must be those written down there.",
            )
    return DeclaredProblem(written, **parts, record=data.get("values"))


def _with(found: Declaration, parts: Any, data: Mapping[str, Any]) -> DeclaredProblem | None:
    """The problem with the functions of a declaration, unless it is another."""
    if any(
        declaration_plain(found)[what] != data["declaration"].get(what)
        for what in ("name", "state", "parameters")
    ):
        return None
    try:
        problem = DeclaredProblem(found, **parts)
    except ProblemError:
        return None
    return problem if same(fingerprint(problem), data.get("values")) else None


def refuse_without_code(problem: DeclaredProblem) -> None:
    """Nothing can be computed without the functions."""
    if problem.declaration.has_code:
        return
    name = problem.declaration.name
    here = declared(name)
    given = "the name alone" if here is None else "a system of that name that is another one"
    raise ProblemError(
        "rhs",
        f"must be declared again for {name!r}: no file holds a user's functions",
        given,
        f"Import the module that calls odekit.system({name!r}, ...) before the file is read.",
    )
