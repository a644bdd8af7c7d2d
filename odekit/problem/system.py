"""What a system of equations is to the rest of the library, and which there are.

Integrators, sweeps, stores and pictures are handed a `System` (`problem.system`) and ask nothing
else: none of them knows which one it has. The table itself is `odekit.systems`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.base.arrays import Floats, Indices
    from odekit.dataset.variable import Variable
    from odekit.problem.axes import Axis
    from odekit.problem.base import AnyProblem
    from odekit.problem.plain import Apart

FIRST = "committee"
"""The kind of problems in files and scenarios that do not name theirs."""


class Finding(NamedTuple):
    """A law, whether a result obeys it, and what was found."""

    law: str
    holds: bool
    found: str


class Measured(NamedTuple):
    """What figures may show of a result by name: in a word, as a symbol, and how to compute it."""

    word: str
    symbol: str
    of: Callable[[xr.Dataset], xr.DataArray] | None = None
    """By default it is the dataset's variable of that name."""


class Block(NamedTuple):
    """A variable of a state: its dims, and which entry of the flat state each of its entries is."""

    dims: tuple[str, ...]
    places: Indices


class Resting(NamedTuple):
    """Fixed points of a phase at m points of a sweep, for a system to say what they are.

    Attributes
    ----------
    y : ndarray, shape (m, n)
        Flat states; those of searches that failed may be anything.
    which : ndarray of int64, shape (m,)
        The points of the sweep that they are of.
    errors : ndarray, shape (m, tasks)
    free : ndarray of int64, shape (m,)
        Number of vanishing eigenvalues, entries of the state that nothing moves left out.
    still : ndarray of bool, shape (m, n)
        Entries of the state that nothing moves.
    space : callable
        From a number below m to an orthonormal basis (n, free) of what these eigenvalues act on.
    """

    y: Floats
    which: Indices
    errors: Floats
    free: Indices
    still: Any
    space: Callable[[int], Floats]


class Judgement(NamedTuple):
    """What a system says of fixed points.

    Attributes
    ----------
    names : list of str, length m
        What the field calls each; empty where it has no name.
    lowest : ndarray, shape (m,), optional
        Lowest eigenvalue of what must be positive semidefinite, over the largest.
    zeros : mapping of str to ndarray, shape (m,)
        How many of the `free` vanishing eigenvalues are of each kind that the system knows.
    """

    names: list[str]
    lowest: Floats | None
    zeros: Mapping[str, Any]


class Walk(NamedTuple):
    """How far explicit steps go that control their errors.

    Attributes
    ----------
    most : int
        Accepted steps, at most; those that take long may be fewer.
    bound, longest, rtol : float
        Time not to step over, longest step, tolerance.
    atol, floor : ndarray, shape (n,)
        Tolerances; entries below which a step must not end.
    ceiling : float
        Modulus that no entry may exceed.
    targets : ndarray, shape (rows,)
        Times at which rows are wanted, increasing.
    """

    most: int
    bound: float
    longest: float
    rtol: float
    atol: Floats
    floor: Floats
    ceiling: float
    targets: Floats


class Walked(NamedTuple):
    """Where a walk stands: time, state, derivative and next step to try, and what it took.

    `rows`, shape (rows, n), are at the first of the times that were wanted.
    """

    t: float
    y: Floats
    f: Floats
    h: float
    steps: int
    calls: int
    rows: Floats


class Equations(Protocol):
    """One phase of one trajectory, as functions of time and state."""

    refused: bool
    """Whether some part of them was out of reach since `accurate` was asked."""

    breaks: list[float]
    """Times that no step may cross."""
    has_event: bool
    """Whether the phase may end by threshold."""

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""

    def rhs_at(self, t: Floats, y: Floats) -> Floats | None:
        """Time derivatives at times (m,) and states (m, n); None where `rhs` is to be called."""

    def steps(self, t: float, y: Floats, spans: Floats, pair: Any, K: Floats) -> Floats | None:
        """Where explicit steps of these lengths from (t, y) end, shape (spans, n).

        None where `rhs` is to be called for each stage. `pair` has the coefficients A, B and C of a
        method of S stages; K, shape (S, n) or (S + 1, n), begins with the derivative at (t, y) and
        receives those of the last step's stages, and at its end if there is a row for it.
        """

    def walk(self, t: float, y: Floats, f: Floats, h: float, pair: Any, how: Walk) -> Walked | None:
        """Steps as scipy takes them from (t, y), where the derivative is f; h is the first to try.

        None where there is no compiled code for it. A step that asks for more than to be accepted
        or rejected is not taken, and ends the walk: an end that is not finite, below the floor or
        above the ceiling, or steps of no length.
        """

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""

    def event(self, y: Floats) -> float:
        """A number that is <= 0 once the phase may end."""

    def accurate(self, y: Floats) -> bool:
        """Whether the equations are as accurate there as was asked for."""

    def corners(self, atol: float, rtol: float) -> Corners | None:
        """Where the derivative jumps; None if nowhere."""


class Corners(Protocol):
    """States at which the derivative jumps, and what the flow does there."""

    def tolerance(self, size: int) -> Floats:
        """Absolute tolerance of every entry of a state."""

    def floor(self, size: int) -> Floats:
        """Entries of a state from which on `settle` has nothing to do."""

    def settle(self, t: float, y: Floats) -> Floats | None:
        """The state put at a corner that is near at a time, or on its way from it, if any is."""

    def leaving(self, y: Floats, settled: Floats) -> bool:
        """Whether a state that was at a corner has left it."""

    def when(self, solution: Any, t: float, end: float, found: Floats) -> tuple[float, Floats]:
        """When in (t, end] the corner is left, and the settled state; `found` is that at end."""


class Exact:
    """Equations in closed form."""

    refused = False

    def rhs_at(self, t: Floats, y: Floats) -> Floats | None:
        """Nothing: `rhs` is called for each."""

    def steps(self, t: float, y: Floats, spans: Floats, pair: Any, K: Floats) -> Floats | None:
        """Nothing: `rhs` is called for each stage."""

    def walk(self, t: float, y: Floats, f: Floats, h: float, pair: Any, how: Walk) -> Walked | None:
        """Nothing: steps are taken one by one."""

    def accurate(self, y: Floats) -> bool:
        """Whether the equations are as accurate there as was asked for: they are."""
        del y
        return True

    def corners(self, atol: float, rtol: float) -> Corners | None:
        """Where the derivative jumps: nowhere."""
        del atol, rtol
        return None


class System(ABC):
    """A system of equations: what its problems hold, how they pack, and what is shown of them.

    Attributes
    ----------
    kind : str
        Its name in files and scenarios.
    title : str
        Of its datasets, for people.
    references : str
        The papers whose equations these are.
    """

    kind: ClassVar[str]
    title: str
    references: str
    descends: ClassVar[bool] = False
    """Whether its equations take discrete steps too: `odekit.descend`."""

    # ------------------------------------------------------------------------------- the problem

    @abstractmethod
    def write(self, problem: Any, apart: Apart | None) -> dict[str, Any]:
        """The problem as plain data; large arrays may be kept apart."""

    @abstractmethod
    def read(self, data: Mapping[str, Any], own: Any) -> AnyProblem:
        """Rebuild, and check, a problem; `own` are functions of the user's that no file holds."""

    # ------------------------------------------------------------------------------- the dataset

    @abstractmethod
    def variables(self, outline: Mapping[str, Any]) -> Mapping[str, Variable]:
        """Every variable of a dataset by name; `outline` is that of a problem, or all its data."""

    @abstractmethod
    def sizes(self, problem: Any) -> dict[str, int]:
        """Length of every dim of the dataset but those of time, phases and a sweep."""

    @abstractmethod
    def labels(self, problem: Any) -> dict[str, list[str]]:
        """Coordinates that are names."""

    def constants(self, problem: Any) -> dict[str, Any]:
        """Variables that no run changes, with the sweep dims that they have."""
        del problem
        return {}

    def absent(self, problem: Any) -> set[str]:
        """Variables of the registry that no run of this problem has."""
        del problem
        return set()

    # ----------------------------------------------------------------------------- the integration

    @abstractmethod
    def points(self, problem: Any, found: Mapping[str, Axis]) -> Any:
        """The packing of all points of a sweep; of a problem without sweep dims, of one."""

    def layout(self, problem: Any, points: Any, frame: Any) -> Mapping[str, Block]:
        """Where the variables of the dataset stand in a flat state of a phase.

        By default one variable ``y``.
        """
        import numpy as np

        del problem, frame
        return {"y": Block(("entry",), np.arange(points.start()[1].shape[-1]))}

    def field(self) -> Any:
        """What makes the equations of a phase for users; None for `odekit.dynamics`' own."""
        return None

    def parts(self, problem: Any, layout: Mapping[str, Block]) -> Mapping[str, Indices]:
        """Parts of a flat state by which directions are told apart; by default its variables."""
        import numpy as np

        del problem
        return {name: np.unique(block.places) for name, block in layout.items()}

    @property
    def zero_kinds(self) -> Mapping[str, str]:
        """Kinds of vanishing eigenvalues that `judged` tells apart, and what each is."""
        return {}

    def judged(self, points: Any, phase: int, frame: Any, resting: Resting) -> Judgement:
        """What fixed points are."""
        del points, phase, frame
        return Judgement([""] * len(resting.y), None, {})

    def sensitivities(self) -> Any:
        """What differentiates runs; refuses where nothing does.

        Raises
        ------
        ProblemError
        """
        rule = "must be of a kind whose runs can be differentiated"
        raise ProblemError("problem", rule, self.title, "Committees can: `odekit.Problem`.")

    def check_flow(self, problem: Any) -> None:
        """Refuse what no integrator can follow, though discrete steps can."""
        del problem

    @abstractmethod
    def in_lanes(self, problem: Any) -> bool:
        """Whether the compiled engine has the equations."""

    @abstractmethod
    def cost(self, problem: Any) -> int:
        """Moments I4 that a right-hand side takes, at 5 ns each, or what takes as long."""

    @abstractmethod
    def start_size(self, problem: Any) -> int:
        """Numbers that one trajectory starts from."""

    def usual(self) -> Iterable[tuple[str, AnyProblem]]:
        """Small problems, runs and sweeps, that take the kernels of most, and what they are of."""
        return ()

    # ------------------------------------------------------------------------------ finite networks

    def simulation(self) -> Any:
        """What trains finite networks, as the committee's `experiment`, `courses`, `together`."""
        rule = f"must be of a system with finite networks, which {self.kind!r} lacks"
        raise ProblemError("problem", rule, self.kind, "")

    def noise(self) -> Any:
        """What jumps of finite networks do, as the committee's `scatter`, `places`, `scales`."""
        rule = f"must be of a system with finite networks, which {self.kind!r} lacks"
        raise ProblemError("run", rule, self.kind, "")

    # ---------------------------------------------------------------------------------- for people

    def toml(self, problem: Any) -> str:
        """The problem as a scenario's text."""
        rule = f"must be of a system that scenarios can say, not {self.kind!r}"
        raise ProblemError("problem", rule, type(problem).__name__, "Save a result instead.")

    def words(self, problem: Any) -> Iterable[str]:
        """The problem in a few lines."""
        del problem
        return ()

    def final_words(self, ds: xr.Dataset) -> Iterable[str]:
        """The last row of a run, errors excepted."""
        del ds
        return ()

    @abstractmethod
    def panels(self, ds: xr.Dataset, time: str) -> Figure:
        """The course of one run over time."""

    def beside(self, ds: xr.Dataset, dim: str | None) -> Callable[[xr.Dataset], Iterable[Any]]:
        """What marks another result over the panels of a run, or of a sweep over `dim`.

        A function of the other result, to the lines of `odekit.drawing.beside`.
        """
        del ds, dim
        rule = f"must be left out of a picture of kind {self.kind!r}"
        raise ProblemError("beside", rule, "other results", "Draw each by itself.")

    def measures(self) -> Mapping[str, Measured]:
        """Measures and variables that figures may show besides the errors."""
        return {}

    def aligned(self, run: xr.Dataset, sim: xr.Dataset) -> tuple[xr.Dataset, xr.DataArray]:
        """Networks with interchangeable units in the order that fits the theory best.

        Returns
        -------
        Dataset
            `sim`, relabelled.
        DataArray of bool, dims (…, replica)
            Which networks were.
        """
        del run
        return sim, sim.status != sim.status

    @abstractmethod
    def laws(self, ds: xr.Dataset, problem: Any, tolerance: float) -> Iterator[Finding]:
        """What must hold in any one result."""

    @abstractmethod
    def conserved(self, ds: xr.Dataset, problem: Any) -> xr.Dataset:
        """Conserved quantities of a run, their drifts and sizes."""

    @abstractmethod
    def scenario(self, raw: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Tables of a scenario, what builds its problem, and the mistakes so far."""


_table: dict[str, Callable[[], System]] = {}
_made: dict[str, System] = {}


def register(kind: str, make: Callable[[], System]) -> None:
    """Add a system to the table."""
    _table[kind] = make
    _made.pop(kind, None)


def kinds() -> tuple[str, ...]:
    """The names of all systems."""
    return tuple(_table)


def system_of(kind: object) -> System:
    """The system of a kind of problem.

    Raises
    ------
    ProblemError
        If there is none of that name.
    """
    if not isinstance(kind, str) or kind not in _table:
        known = ", ".join(map(repr, kinds()))
        raise ProblemError("kind", f"must be one of {known}", repr(kind)[:80], "")
    if kind not in _made:
        _made[kind] = _table[kind]()
    return _made[kind]
