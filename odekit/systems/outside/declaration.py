"""A system of equations in a user's own words: names, dims, functions, laws."""

from __future__ import annotations

import inspect
import keyword
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from odekit.base.checks import RESERVED, label
from odekit.base.errors import ProblemError
from odekit.systems.outside.rules import check_laws

if TYPE_CHECKING:
    from odekit.systems.outside.problem import DeclaredPhase, DeclaredProblem

Dims = Mapping[str, tuple[str, ...]]
DIMS = frozenset(["student", "student_other", "teacher", "teacher_other", "head"])
VARIABLES = frozenset(["Q", "R", "T", "readout"])
RATES = ("learning_rate", "readout_learning_rate")
TAKEN = frozenset([*RATES, "tasks", "phases", "duration", "until", "name"])
"""Arguments of `Declaration.problem` and `.phase`, and what every rhs is given."""
ARGUMENTS = {"rhs": "(y, p, d)", "error": "(y, p)", "jacobian": "(y, p, J)"}


@dataclass(frozen=True, eq=False)
class Declaration:
    """A system of equations; made by `odekit.system`.

    Attributes
    ----------
    name : str
    state, parameters : dict of str to tuple of str
        Dims by name; none for a number.
    rhs, error, jacobian : callable or None
        None in what is read from a file whose system is not declared in this process.
    laws, symbols, long_names : dict
    title, references, time : str
    """

    name: str
    state: Dims
    parameters: Dims
    rhs: Callable[..., Any] | None = field(default=None, repr=False)
    error: Callable[..., Any] | None = field(default=None, repr=False)
    jacobian: Callable[..., Any] | None = field(default=None, repr=False)
    laws: Mapping[str, Any] = field(default_factory=dict, repr=False)
    symbols: Mapping[str, str] = field(default_factory=dict, repr=False)
    long_names: Mapping[str, str] = field(default_factory=dict, repr=False)
    title: str = ""
    references: str = ""
    time: str = "steps / N"

    def __post_init__(self) -> None:
        label("name", self.name)
        for what in ("state", "parameters"):
            object.__setattr__(self, what, _checked(what, getattr(self, what)))
        if not self.state:
            raise ProblemError("state", "must hold at least one variable", "none", "")
        _check_apart(self)
        for what in ARGUMENTS:
            _check_function(what, getattr(self, what))
        check_laws(self.laws, self.state)
        for what in ("symbols", "long_names"):
            for name in getattr(self, what):
                if name not in self.state and not (what == "long_names" and name == "error"):
                    known = ", ".join(map(repr, self.state))
                    raise ProblemError(what, f"must be of state variables ({known})", repr(name))
                label(f"{what}[{name!r}]", getattr(self, what)[name])
        for what in ("title", "references", "time"):
            if not isinstance(getattr(self, what), str):
                raise ProblemError(what, "must be text", repr(getattr(self, what))[:80])

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: functions go by the names of their modules."""
        functions = {what: getattr(self, what) for what in ARGUMENTS}
        for what, function in {**functions, **self.laws}.items():
            if callable(function):
                _check_importable(what, getattr(function, "py_func", function))
        return dict(vars(self))

    @property
    def dims(self) -> dict[str, None]:
        """Every dim that is named, in order."""
        every = [*self.state.values(), *self.parameters.values()]
        return dict.fromkeys(d for dims in every for d in dims)

    @property
    def has_code(self) -> bool:
        """Whether the functions are there."""
        return self.rhs is not None and self.error is not None

    def problem(
        self,
        *,
        phases: Any = None,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        duration: Any = None,
        **values: Any,
    ) -> DeclaredProblem:
        """A problem of this system.

        Parameters
        ----------
        phases : Phase or sequence of Phase, optional
            Of an `odekit.Phase` count `tasks`, `duration`, the two learning rates, which `rhs`
            sees as ``p.learning_rate`` and ``p.readout_learning_rate``, and `until`; see `phase`
            for parameters of a phase.
        tasks : dict of str to dict, optional
            Parameters of each task by its name, over those of the problem; one task "main" by
            default. A phase on a mixture of tasks averages `rhs` with their probabilities.
        duration : float, optional
            In place of `phases`: one phase of this length, with the learning rate 1.
        **values : array_like
            Every state variable at time 0, and parameters. Labelled arrays are swept over.

        Returns
        -------
        DeclaredProblem
        """
        from odekit.problem.phase import Phase
        from odekit.systems.outside.problem import DeclaredProblem

        given = {"main": {}} if tasks is None else tasks
        if (phases is None) == (duration is None):
            what = "neither" if phases is None else "both"
            raise ProblemError("phases", "must be given, or `duration`", what, "")
        if duration is not None:
            phases = Phase(next(iter(given), "main"), duration, 1.0)
        _check_known(self, values, self.state, self.parameters)
        return DeclaredProblem(
            self,
            state={name: values[name] for name in self.state if name in values},
            parameters={name: values[name] for name in self.parameters if name in values},
            tasks=given,
            phases=phases,
        )

    def phase(
        self,
        tasks: Any = "main",
        duration: Any = None,
        learning_rate: Any = 1.0,
        *,
        readout_learning_rate: Any = 0.0,
        until: Any = None,
        **parameters: Any,
    ) -> DeclaredPhase:
        """A phase with parameters of its own, over those of the problem and of its tasks.

        Errors keep the parameters of the tasks: they are the same function in every phase.
        """
        from odekit.systems.outside.problem import DeclaredPhase

        _check_known(self, parameters, {}, self.parameters)
        rates = {"readout_learning_rate": readout_learning_rate}
        return DeclaredPhase(
            tasks, duration, learning_rate, until=until, parameters=parameters, **rates
        )


_declared: dict[str, Declaration] = {}


def system(
    name: str,
    *,
    state: Mapping[str, Any],
    rhs: Callable[..., Any],
    error: Callable[..., Any],
    parameters: Mapping[str, Any] | None = None,
    jacobian: Callable[..., Any] | None = None,
    laws: Mapping[str, Any] | None = None,
    symbols: Mapping[str, str] | None = None,
    long_names: Mapping[str, str] | None = None,
    title: str = "",
    references: str = "",
    time: str = "steps / N",
) -> Declaration:
    """Declare a system of equations of one's own.

    Parameters
    ----------
    name : str
        By which a file's system is found again: declare it under the same name.
    state : dict of str to (str or tuple of str)
        Dims of every variable; ``()`` for a number. They become the dims of the dataset. A dim and
        the same with ``_other`` have one length. Lengths are those of the arrays of a problem.
    rhs : callable
        ``rhs(y, p, d)`` writes the derivatives: ``d.R[k, n] = ...``, or ``d.s = ...`` where ``s``
        has no dims, from ``y.R[k, n]`` and ``p.T[n, m]``. It is compiled by numba: loops, branches,
        numpy's and math's functions of numbers; lengths are ``len(y.v)``, ``y.R.shape``. What it
        does not write is NaN.
    error : callable
        ``error(y, p)`` returns a number: `generalization_error` of a task, which `until` watches.
    parameters : dict of str to (str or tuple of str), optional
        Dims of every parameter. `rhs` is also given ``p.learning_rate`` and
        ``p.readout_learning_rate`` of the phase, by its schedule; an error sees NaN there.
    jacobian : callable, optional
        ``jacobian(y, p, J)`` fills J[i, j] = ∂(dy_i/dt)/∂y_j, (n, n) zeros; numbers of the state
        count through the variables in their order, row-major. Central differences by default.
    laws : dict of str to tuple or callable, optional
        What `odekit validate` checks, by names in words: ``("conserved", {"S": 1, "I": 1})``, a
        weighted sum of all entries; ``("symmetric", "Q")``; ``("semidefinite", "Q")``;
        ``("within", "S", 0, 1)``; or a function ``(y, p)`` whose value must stay what it was.
    symbols, long_names : dict of str to str, optional
        Of state variables; in `long_names` also of ``error``.
    title, references, time : str, optional
        For the dataset: what it is, whose equations, and what the time counts.

    Returns
    -------
    Declaration
        Its `problem` makes problems for `odekit.solve`.

    Raises
    ------
    ProblemError
        If a name is taken or no plain name, or a function takes other arguments.

    Examples
    --------
    >>> import odekit as ok
    >>> def rhs(y, p, d):
    ...     d.x = p.rate * y.x * (1.0 - y.x)
    >>> def error(y, p):
    ...     return 1.0 - y.x
    >>> growth = ok.system(
    ...     "logistic growth", state={"x": ()}, parameters={"rate": ()}, rhs=rhs, error=error)
    >>> run = ok.solve(growth.problem(x=0.1, rate=1.0, duration=4.0))
    >>> print(f"{run.x.values[-1]:.6f}")
    0.858486
    """
    for what, function in (("rhs", rhs), ("error", error)):
        if function is None:
            raise ProblemError(what, f"must be a function {ARGUMENTS[what]}", "None", "")
    made = Declaration(
        name,
        state,
        {} if parameters is None else parameters,
        rhs,
        error,
        jacobian,
        {} if laws is None else laws,
        {} if symbols is None else symbols,
        {} if long_names is None else long_names,
        title,
        references,
        time,
    )
    _declared[name] = made
    return made


def declared(name: str) -> Declaration | None:
    """The system declared last under a name in this process."""
    return _declared.get(name)


# ------------------------------------------------------------------------------------------- checks


def _checked(what: str, given: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        raise ProblemError(what, "must be dims by name", repr(given)[:80], f'{what}={{"R": ...}}')
    found = {}
    for name, dims in given.items():
        where = f"{what}[{name!r}]"
        allowed = VARIABLES if what == "state" else RESERVED
        _check_name(where, name, allowed)
        if what == "parameters" and name in TAKEN:
            raise ProblemError(where, "must have another name", name, "That is an argument's.")
        found[name] = (dims,) if isinstance(dims, str) else _tuple(where, dims)
        for dim in found[name]:
            _check_name(where, dim, DIMS)
        if len(set(found[name])) < len(found[name]):
            remedy = "Call the second one ..._other."
            raise ProblemError(where, "must not name a dim twice", str(found[name]), remedy)
    return found


def _tuple(where: str, dims: Any) -> tuple[str, ...]:
    if not isinstance(dims, tuple | list):
        raise ProblemError(where, "must be a tuple of dims", repr(dims)[:80], "() for a number.")
    return tuple(dims)


def _check_name(where: str, name: object, allowed: frozenset[str]) -> None:
    plain = isinstance(name, str) and name.isidentifier() and name.isascii()
    taken = RESERVED - allowed
    bad = not plain or name in taken or keyword.iskeyword(str(name))
    if bad or str(name).startswith(("problem_", "_")):
        raise ProblemError(
            where,
            "must have plain names that nothing else in a result has",
            repr(name),
            f"Not problem_..., no underscore first, and none of {', '.join(sorted(taken))}.",
        )


def _check_apart(d: Declaration) -> None:
    """Variables, parameters and dims must not share names."""
    for name in d.state:
        if name in d.parameters or name in d.dims or name in TAKEN:
            what = "a parameter" if name in d.parameters else "a dim or an argument"
            raise ProblemError(f"state[{name!r}]", "must have a name of its own", f"that of {what}")


def _check_function(what: str, function: Any) -> None:
    if function is None:
        return
    wanted = ARGUMENTS[what]
    try:
        plain = getattr(function, "py_func", function)
        inspect.signature(plain).bind(*wanted.split(","))
    except (TypeError, ValueError):
        rule = f"must be a function of the arguments {wanted}"
        raise ProblemError(what, rule, repr(function)[:80], "") from None


def _check_importable(what: str, function: Any) -> None:
    found: Any = sys.modules.get(str(getattr(function, "__module__", "")))
    for step in str(getattr(function, "__qualname__", "")).split("."):
        found = getattr(found, step, None)
    if getattr(found, "py_func", found) is not function:
        raise ProblemError(
            what,
            "must be a function at the top of a module, for another process to import it",
            repr(function)[:80],
            "Write it there with `def`, in a file that the process can import.",
        )


def _check_known(d: Declaration, given: Mapping[str, Any], state: Dims, parameters: Dims) -> None:
    for name in given:
        if name not in state and name not in parameters:
            known = ", ".join(map(repr, [*state, *parameters])) or "none"
            rule = f"must be one of the names of {d.name!r}: {known}"
            raise ProblemError(str(name), rule, "another name", "")
