"""A stretch of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from odekit.base.checks import (
    as_floats,
    count,
    flag,
    is_labelled,
    label,
    mapping,
    nonnegative,
    positive,
    readonly,
)
from odekit.base.errors import ProblemError
from odekit.base.html import as_table
from odekit.base.text import brief
from odekit.problem.consolidation import Consolidation
from odekit.problem.mixture import probabilities
from odekit.problem.normalization import AdaGradNorm, RMSNorm, normalization_from
from odekit.problem.schedule import Schedule, scheduled

if TYPE_CHECKING:
    from odekit.base.given import Number, Values

Rate: TypeAlias = "Number | Schedule | Callable[[float], float]"
"""A learning rate: a number, or one for every time since the phase began."""

PENALTIES = ("weight_decay", "readout_weight_decay")
"""Numbers of a phase that are >= 0, and change its equations where they are not 0."""
BY_EDGE = ("learning_rate", "weight_decay")
"""Fields of a phase that linear networks take by edge, too."""
ROUNDING = 1e-7
"""By how much a schedule of probabilities may be above one."""
OF_TASKS = ("noise_std", "input_variance")
"""Fields of a phase that stand in place of what its tasks say."""


@dataclass(frozen=True, eq=False, repr=False)
class Phase:
    """A stretch of training on one task or on a mixture of tasks.

    Parameters
    ----------
    tasks : str or dict of str to float, callable or Schedule
        Name of the task, or the probability with which a sample comes from each task. They sum to
        one at all times; in place of one of them ``"rest"`` is what the others leave.
    duration : float
        Length in units of steps/N, > 0; with `until`, the longest the phase may last.
    learning_rate : float, callable or Schedule, or a dict of them
        η_w of the first layer, >= 0. A callable takes the time since the phase began; it is
        tabulated once, kinks and jumps included (`Schedule.from_function`). Of a linear network it
        may be a dict by edge, with a rate for each: 0 freezes an edge, which still answers. Of a
        committee with groups of inputs it may be a dict by group.
    readout_learning_rate : float, callable or Schedule
        η_v of the head, >= 0; zero keeps it fixed.
    until : float or dict of str to float, optional
        End the phase when the generalization error of its task (of every task named) is at most
        this. It is looked at eight times in every step of the integrator: dips that are shorter may
        be missed (`max_step` bounds the steps).
    weight_decay, readout_weight_decay : float, callable or Schedule
        κ_w and κ_v of the penalties (κ_w/2N) Σ|w_k|² and (κ_v/2) Σ v_k². Of a linear network
        κ_e of the penalty ½ Σ κ_e |W_e|²: one for all edges, or a dict by edge, 0 for those left
        out.
    batch_size : int
        Samples averaged in each step.
    gradient_flow : bool
        Take the limit of small learning rates at fixed η·t: the η² line is dropped.
    frozen : sequence of bool, shape (K,), optional
        True for units whose first-layer weights do not move; readouts and biases still train.
    consolidation : Consolidation, optional
        A penalty from the start of this phase on.
    copy_heads : dict of str to str, optional
        ``{"b": "a"}``: as the phase begins head b takes the value of head a.
    bias_learning_rate : float
        η_b of the biases of a committee's units, >= 0.
    keep_probability : float or array_like, shape (K,), callable or Schedule
        Dropout: the probability that a unit answers at a step, of all units or of each, 0 to 1.
        A schedule is of all units.
        Its output and both its gradients are left out otherwise.
    momentum_decay : float, optional
        γ >= 0 of the heavy ball: every weight, readout and bias has a velocity,
        ν ← (1 − γ/N) ν + its step, and moves by ν/N (torch's momentum 1 − γ/N at a rate η/N).
        Velocities begin at zero, and go on from a phase with momentum to the next.
    normalization : AdaGradNorm or RMSNorm, optional
        Divides the learning rates by the root of the first layer's mean squared gradient.
    noise_std : dict of str to float, callable or Schedule, optional
        Label noise in this phase, by task; of tasks left out their own.
    input_variance : dict of str to float, callable, Schedule or dict of them, optional
        Variance of the inputs in this phase, by task, and there of all inputs or by group; of
        tasks left out their own. Errors are those at the task's own variance.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Phase({"a": 0.7, "b": 0.3}, duration=100.0, learning_rate=0.5).mixture
    {'a': 0.7, 'b': 0.3}

    From one task to the other:

    >>> fade = ok.Schedule([0.0, 100.0], [1.0, 0.0])
    >>> phase = ok.Phase({"a": fade, "b": "rest"}, duration=100.0, learning_rate=0.5)
    >>> phase.mixture["b"](25.0)
    0.25
    """

    tasks: str | Mapping[str, Any]
    duration: Any
    learning_rate: Any
    readout_learning_rate: Any = 0.0
    until: Any = None
    weight_decay: Any = 0.0
    readout_weight_decay: Any = 0.0
    batch_size: Any = 1
    gradient_flow: bool = False
    frozen: Sequence[bool] | None = None
    consolidation: Consolidation | None = None
    copy_heads: Mapping[str, str] | None = None
    bias_learning_rate: Any = 0.0
    keep_probability: Any = 1.0
    momentum_decay: Any = None
    normalization: AdaGradNorm | RMSNorm | None = None
    noise_std: Mapping[str, Any] | None = None
    input_variance: Mapping[str, Any] | None = None

    if TYPE_CHECKING:  # what may be given; the fields hold what it was made to

        def __init__(
            self,
            tasks: str | Mapping[str, Rate],
            duration: Number,
            learning_rate: Rate | Mapping[str, Rate],
            readout_learning_rate: Rate = 0.0,
            until: Number | Mapping[str, Number] | None = None,
            weight_decay: Rate | Mapping[str, Rate] = 0.0,
            readout_weight_decay: Rate = 0.0,
            batch_size: int = 1,
            gradient_flow: bool = False,
            frozen: Sequence[bool] | None = None,
            consolidation: Consolidation | None = None,
            copy_heads: Mapping[str, str] | None = None,
            bias_learning_rate: Number = 0.0,
            keep_probability: Values = 1.0,
            momentum_decay: Number | None = None,
            normalization: AdaGradNorm | RMSNorm | None = None,
            noise_std: Mapping[str, Rate] | None = None,
            input_variance: Mapping[str, Rate | Mapping[str, Rate]] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("duration", positive("duration", self.duration))
        if not isinstance(self.tasks, str):
            put("tasks", probabilities(self.tasks, self.duration))
        put("learning_rate", _by_name("learning_rate", self.learning_rate, self._rate))
        put("weight_decay", _by_name("weight_decay", self.weight_decay, self._number))
        put(
            "readout_learning_rate", self._rate("readout_learning_rate", self.readout_learning_rate)
        )
        decay = self._number("readout_weight_decay", self.readout_weight_decay)
        put("readout_weight_decay", decay)
        put("until", _thresholds(self.until))
        put("batch_size", count("batch_size", self.batch_size, most=2**53))
        put("gradient_flow", flag("gradient_flow", self.gradient_flow))
        if self.frozen is not None:
            put("frozen", _mask(self.frozen))
        if self.consolidation is not None and not isinstance(self.consolidation, Consolidation):
            raise ProblemError(
                "consolidation", "must be a Consolidation", repr(self.consolidation), ""
            )
        put("consolidation", self._tabulated(self.consolidation))
        if self.copy_heads is not None:
            copies = {
                label("copy_heads", k): label("copy_heads", v)
                for k, v in mapping("copy_heads", self.copy_heads).items()
            }
            put("copy_heads", copies or None)
        put("bias_learning_rate", nonnegative("bias_learning_rate", self.bias_learning_rate))
        put("keep_probability", self._number("keep_probability", self.keep_probability, _kept))
        if _moves(self.keep_probability) and self.keep_probability.largest > 1.0 + ROUNDING:
            raise _not_kept(self.keep_probability.largest)
        if self.momentum_decay is not None:
            put("momentum_decay", nonnegative("momentum_decay", self.momentum_decay))
        put("normalization", _normalization(self.normalization))
        for name in OF_TASKS:
            if getattr(self, name) is not None:
                put(name, self._of_tasks(name, mapping(name, getattr(self, name))))

    def _said(self) -> list[tuple[str, str]]:
        """Names and values of what is not at its default."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        usual = {f.name: f.default for f in fields(self)}
        return [(n, brief(v)) for n, v in given.items() if not is_usual(v, usual[n])]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v}' for n, v in self._said())})"

    def _repr_html_(self) -> str:
        return as_table(type(self).__name__, self._said())

    def _rate(self, argument: str, value: Any) -> Any:
        remedy = "Learning rates have no sign; the update descends."
        return self._number(argument, value, lambda a, x: nonnegative(a, x, remedy))

    def _number(
        self, argument: str, value: Any, check: Callable[[str, Any], Any] = nonnegative
    ) -> Any:
        return scheduled(argument, value, self.duration, check)

    def _tabulated(self, held: Consolidation | None) -> Consolidation | None:
        """A consolidation whose strength is no function any more."""
        if held is None or is_labelled(held.strength) or not callable(held.strength):
            return held
        return replace(held, strength=self._number("consolidation.strength", held.strength))

    def _of_tasks(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers by task, and where inputs have groups by these too."""
        strange = [task for task in given if task not in self.mixture]
        if strange:
            rule = f"must name tasks of the phase ({', '.join(map(repr, self.mixture))})"
            raise ProblemError(name, rule, repr(strange[0]), "")
        check = _by_name if name == "input_variance" else _one
        return {t: check(f"{name}[{t!r}]", x, self._number) for t, x in given.items()}

    @property
    def mixture(self) -> dict[str, Any]:
        """Probability of every task that the phase samples."""
        return {self.tasks: 1.0} if isinstance(self.tasks, str) else dict(self.tasks)

    @property
    def rates(self) -> tuple[Any, Any]:
        """Learning rates of the two layers."""
        return self.learning_rate, self.readout_learning_rate

    @property
    def common_rates(self) -> tuple[Any, Any]:
        """The same with one for the first layer: the largest of those by name, at any time."""
        first = self.learning_rate
        if isinstance(first, Mapping):
            most = (r.largest if _moves(r) else r for r in first.values())
            first = reduce(np.maximum, most)
        return first, self.readout_learning_rate

    @property
    def every_rate(self) -> list[Any]:
        """Every learning rate, those of edges one by one."""
        return [rate for given in self.rates for rate in each(given)]

    @property
    def schedules(self) -> list[Schedule]:
        """All that changes within the phase."""
        rates = [rate for rate in self.every_rate if isinstance(rate, Schedule)]
        return [*rates, *self.moving.values()]

    @property
    def moving(self) -> dict[str, Schedule]:
        """What else than learning rates changes within the phase, by name."""
        held = None if self.consolidation is None else self.consolidation.strength
        given: dict[str, Any] = {
            **{f"tasks[{name}]": p for name, p in self.mixture.items()},
            **{name: getattr(self, name) for name in (*PENALTIES, *OF_TASKS, "keep_probability")},
            "consolidation.strength": held,
        }
        found: dict[str, Schedule] = {}
        for name, value in given.items():
            _put_schedules(name, value, found)
        return found

    @property
    def curves(self) -> list[Schedule]:
        """Schedules that `during` takes the means of."""
        by_name = self.learning_rate if isinstance(self.learning_rate, Mapping) else {}
        return [*self.moving.values(), *(r for r in by_name.values() if _moves(r))]

    def during(self, times: Any) -> Phase:
        """The phase with the means over some times in place of what is `moving`.

        So are learning rates by name; the others stay.
        """
        return self._with(lambda curve: float(curve.at(times).mean()))

    def apart(self) -> Phase:
        """The phase with a schedule of its own for each number that follows one."""
        curves = self.curves
        return self if len({*map(id, curves)}) == len(curves) else self._with(copy.copy)

    def _with(self, of: Callable[[Schedule], Any]) -> Phase:
        """The phase with something in place of each of its `curves`."""
        found = copy.copy(self)
        held = self.consolidation
        names = ("tasks", *PENALTIES, *OF_TASKS, "keep_probability")
        changed = {name: _in_place(getattr(self, name), of) for name in names}
        if isinstance(self.learning_rate, Mapping):
            changed["learning_rate"] = _in_place(self.learning_rate, of)
        if held is not None:
            changed["consolidation"] = replace(held, strength=_in_place(held.strength, of))
        for name, value in changed.items():
            object.__setattr__(found, name, value)
        return found

    @property
    def thresholds(self) -> dict[str, Any]:
        """Error at or below which each task must be for the phase to end early."""
        if self.until is None:
            return {}
        return (
            dict(self.until)
            if isinstance(self.until, dict)
            else dict.fromkeys(self.mixture, self.until)
        )


def each(value: Any) -> list[Any]:
    """Values by edge, or the one for all."""
    return list(value.values()) if isinstance(value, Mapping) else [value]


def _by_name(argument: str, value: Any, check: Callable[[str, Any], Any]) -> Any:
    """A value for all edges or groups, or one for each, checked."""
    if not isinstance(value, Mapping):
        return check(argument, value)
    return {
        label(argument, name): check(f"{argument}[{name!r}]", one)
        for name, one in mapping(argument, value).items()
    }


def _one(argument: str, value: Any, check: Callable[[str, Any], Any]) -> Any:
    return check(argument, value)


def _put_schedules(name: str, value: Any, found: dict[str, Schedule]) -> None:
    """Schedules among the values of a field, each by its name; asked of plain numbers most."""
    if type(value) is float or value is None:
        return
    if isinstance(value, Schedule):
        found[name] = value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _put_schedules(f"{name}[{key}]", one, found)


def _moves(value: Any) -> bool:
    return isinstance(value, Schedule)


def _in_place(value: Any, of: Callable[[Schedule], Any]) -> Any:
    """A field with something in place of its schedules."""
    if isinstance(value, Mapping):
        return {name: _in_place(one, of) for name, one in value.items()}
    return of(value) if isinstance(value, Schedule) else value


def _thresholds(until: Any) -> Any:
    if until is None:
        return None
    if isinstance(until, Mapping):
        return {
            label("until", k): positive(f"until[{k!r}]", v)
            for k, v in mapping("until", until).items()
        }
    return positive("until", until)


def _mask(frozen: Any) -> tuple[bool, ...]:
    given = np.asarray(frozen)
    if given.ndim != 1 or given.dtype != bool:
        raise ProblemError(
            "frozen",
            "must be one True or False for each student unit",
            repr(frozen)[:80],
            "For unit 0 of two write frozen=[True, False].",
        )
    return tuple(bool(x) for x in given)


def _not_kept(given: float) -> ProblemError:
    remedy = "Give the probability that a unit answers."
    return ProblemError("keep_probability", "must be >= 0 and <= 1", f"{given:g}", remedy)


def _kept(name: str, value: Any) -> Any:
    """A probability of all units, or of each: a system that has units looks at their number."""
    numbers = as_floats(name, value, "a probability, or one for each unit")
    if (numbers < 0).any() or (numbers > 1).any():
        raise _not_kept(numbers.ravel()[((numbers < 0) | (numbers > 1)).ravel().argmax()])
    if is_labelled(value) and numbers.ndim:
        return value
    return readonly(numbers) if numbers.ndim else float(numbers)


def _normalization(rule: Any) -> Any:
    if isinstance(rule, Mapping):
        return normalization_from(rule, "normalization.")
    if rule is not None and not isinstance(rule, AdaGradNorm | RMSNorm):
        remedy = "Write normalization=ok.AdaGradNorm(initial=1.0)."
        raise ProblemError(
            "normalization", "must be an AdaGradNorm or RMSNorm", repr(rule)[:80], remedy
        )
    return rule


def is_usual(value: Any, usual: Any) -> bool:
    """Whether a field is at its default; a labelled array never is."""
    return value is usual or (not is_labelled(value) and bool(np.all(value == usual)))
