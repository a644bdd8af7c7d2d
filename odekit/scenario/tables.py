"""The shape of a scenario file: its tables and keys, strict and closed.

A value with several forms (a number or a sweep; a list or a builder) is told apart by its type and
its keys, so that a mistake is reported for the form that was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

FORMS = {
    "<number>": "a number",
    "<text>": "a name in quotes",
    "<list>": "a list",
    "<names>": "a table of names",
    "<over>": "a sweep such as { over = 'eta', geomspace = [0.1, 3, 20] }",
    "<times>": "a schedule { times = [...], values = [...] }",
    "<outputs>": "{ geomspace = [1, 1e4, 100] }",
}
"""Forms that the values of any system may take, in words."""


def form(*allowed: str) -> Discriminator:
    """Tell which of the allowed forms a value has."""
    tables = [tag for tag in allowed if tag not in ("<number>", "<text>", "<list>", "<names>")]

    def tell(value: Any) -> str:
        if isinstance(value, dict):
            named = [tag for tag in tables if tag.strip("<>") in value]
            sweep = "<over>" in named and "<names>" in allowed
            if sweep and not isinstance(value["over"], str):
                named.remove("<over>")  # a task of that name
            if named:
                return named[0]
            return "<names>" if "<names>" in allowed or len(tables) != 1 else tables[0]
        if isinstance(value, bool):
            return "<flag>"
        kinds: dict[type, str] = {list: "<list>", str: "<text>", int: "<number>", float: "<number>"}
        return kinds.get(type(value), "<other>")

    select: Callable[[Any], str] = tell
    return Discriminator(select)


class Table(BaseModel):
    """A table of a scenario: no other keys, no conversions between types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Axis(Table):
    """Values that a number takes along a named axis of the result."""

    over: str
    values: list[float] | None = None
    linspace: list[float] | None = None
    geomspace: list[float] | None = None
    labels: list[Any] | None = None


class Times(Table):
    """Output times; `start` goes before the others, as a geomspace cannot begin at 0."""

    start: float | None = None
    linspace: list[float] | None = None
    geomspace: list[float] | None = None


class ScheduleTable(Table):
    """A number that changes within a phase."""

    times: list[float]
    values: list[float]
    interpolation: str = "linear"
    kinks: list[float] = []


Number = Annotated[
    Annotated[float, Tag("<number>")] | Annotated[Axis, Tag("<over>")],
    form("<number>", "<over>"),
]
Rate = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[ScheduleTable, Tag("<times>")],
    form("<number>", "<over>", "<times>"),
]


RateOfGroups = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[ScheduleTable, Tag("<times>")]
    | Annotated[dict[str, Rate], Tag("<names>")],
    form("<number>", "<over>", "<times>", "<names>"),
]
Share = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[str, Tag("<text>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[ScheduleTable, Tag("<times>")],
    form("<number>", "<text>", "<over>", "<times>"),
]


class ConsolidationTable(Table):
    """Arguments of `odekit.Consolidation`."""

    kind: str
    strength: Rate
    task: str | None = None


class NormalizationTable(Table):
    """Arguments of `odekit.AdaGradNorm` or `odekit.RMSNorm`."""

    kind: str
    decay: Number | None = None
    initial: Number | None = None
    epsilon: Number | None = None


OfUnits = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[list[Number], Tag("<list>")],
    form("<number>", "<over>", "<list>"),
]
"""One number, or one for each unit or output."""
Kept = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[list[Number], Tag("<list>")]
    | Annotated[ScheduleTable, Tag("<times>")],
    form("<number>", "<over>", "<list>", "<times>"),
]


class PhaseTable(Table):
    """Arguments of `odekit.Phase`."""

    tasks: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[dict[str, Share], Tag("<names>")],
        form("<text>", "<names>"),
    ]
    duration: Number
    learning_rate: RateOfGroups
    readout_learning_rate: Rate = 0.0
    until: (
        Annotated[
            Annotated[float, Tag("<number>")]
            | Annotated[Axis, Tag("<over>")]
            | Annotated[dict[str, Number], Tag("<names>")],
            form("<number>", "<over>", "<names>"),
        ]
        | None
    ) = None
    weight_decay: Rate = 0.0
    readout_weight_decay: Rate = 0.0
    batch_size: int = 1
    gradient_flow: bool = False
    frozen: list[bool] | None = None
    consolidation: ConsolidationTable | None = None
    copy_heads: dict[str, str] | None = None
    bias_learning_rate: Number = 0.0
    keep_probability: Kept = 1.0
    momentum_decay: Number | None = None
    normalization: NormalizationTable | None = None
    noise_std: dict[str, Rate] | None = None
    input_variance: dict[str, RateOfGroups] | None = None


class Solver(Table):
    """Options of `odekit.solve`."""

    t_eval: (
        Annotated[
            Annotated[list[float], Tag("<list>")] | Annotated[Times, Tag("<outputs>")],
            form("<list>", "<outputs>"),
        ]
        | None
    ) = None
    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    steady_state: float | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    max_step: float | None = None
    first_step: float | None = None


class FixedPointTable(Table):
    """Options of `odekit.fixed_point`."""

    time: float | None = None
    phase: int | None = None
    max_steps: int | None = None


class ContinuationTable(Table):
    """Options of `odekit.continuation`."""

    along: str | None = None
    between: list[float] | None = None
    at: float | None = None
    phase: int | None = None
    switch: bool | None = None
    max_points: int | None = None


class OptimiseTable(Table):
    """Options of `odekit.optimise`."""

    controls: dict[str, int] | None = None
    objective: str | dict[str, float] | None = None
    bounds: dict[str, list[float]] | None = None
    budget: dict[str, float] | None = None
    tied: dict[str, str] | None = None
    shape: str | None = None
    starts: int | None = None
    seed: int | None = None
    rtol: float | None = None
    atol: float | None = None
    tolerance: float | None = None
    max_evaluations: int | None = None
    max_seconds: float | None = None


TABLES: dict[str, type[Table]] = {
    "<over>": Axis,
    "<times>": ScheduleTable,
    "<outputs>": Times,
}
"""The table that each form is read into."""
PHASE = {"tasks": "", "duration": 1.0, "learning_rate": 0.0}
"""What stands in for the keys of a phase that have no default."""


@dataclass(frozen=True)
class Shape:
    """The scenarios of one system, and what stands in for mistakes so that the rest is checked.

    Parameters
    ----------
    table : type
        The whole file; its fields are in the order in which a scenario is written.
    forms : mapping
        Every form a value may take, in words.
    tables : mapping
        The table that each form is read into.
    sections : mapping
        Stand-ins of the sections that cannot be left out.
    items : mapping
        Stand-ins of one item of the sections that hold several.
    """

    table: type[Table]
    forms: Mapping[str, str]
    tables: Mapping[str, type[Table]]
    sections: Mapping[str, Any]
    items: Mapping[str, Any]

    def depth(self, section: str) -> int:
        """Length of the keys that are repaired alone."""
        if section in self.items:
            return 3 if isinstance(self.items[section], dict) else 2
        return 2 if section in ("solver", "fixed_point", "continuation", "optimise") else 1
