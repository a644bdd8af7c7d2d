"""The shape of a scenario file: its tables and keys, strict and closed.

A value with several forms (a number or a sweep; a list or a builder) is told apart by its type and
its keys, so that a mistake is reported for the form that was meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

FORMS = {
    "<number>": "a number",
    "<text>": "a name in quotes",
    "<list>": "a list",
    "<names>": "a table of names",
    "<over>": "a sweep such as { over = 'eta', geomspace = [0.1, 3, 20] }",
    "<times>": "a schedule { times = [...], values = [...] }",
    "<activation>": "{ name = 'tanh', accuracy = 1e-6 }",
    "<outputs>": "{ geomspace = [1, 1e4, 100] }",
    "<polar>": "{ polar = { radius = ..., angles = ... } }",
    "<embed>": "{ embed = { readout = [...], task = ..., tasks = ... } }",
    "<imbalance>": "{ imbalance = { scale = ..., gain = ... } }",
    "<rotated>": "{ rotated = { units = ..., overlap = ... } }",
    "<shared>": "{ shared = { units = ..., common = ... } }",
    "<random>": "{ random = { units = ..., input_dim = ..., seed = ... } }",
}
"""Every form a value may take, in words."""


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
    """A learning rate that changes within a phase."""

    times: list[float]
    values: list[float]
    interpolation: str = "linear"


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


class ImbalanceArgs(Table):
    """Arguments of `odekit.imbalance`."""

    scale: Number
    gain: Number


class Imbalance(Table):
    """The weight scale of one layer at a given layer imbalance."""

    imbalance: ImbalanceArgs


Scale = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[Imbalance, Tag("<imbalance>")],
    form("<number>", "<over>", "<imbalance>"),
]
Scales = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[list[Number], Tag("<list>")]
    | Annotated[Imbalance, Tag("<imbalance>")],
    form("<number>", "<over>", "<list>", "<imbalance>"),
]
Angles = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[list[Number], Tag("<list>")],
    form("<number>", "<over>", "<list>"),
]


class PolarArgs(Table):
    """Arguments of `odekit.polar`."""

    radius: Scale
    angles: Angles


class Polar(Table):
    """A readout in (hyper)spherical coordinates."""

    polar: PolarArgs


class EmbedArgs(Table):
    """Arguments of `odekit.teachers.embed`."""

    readout: list[Number]
    task: int
    tasks: int = 2


class Embed(Table):
    """One teacher's readout over the fixed vectors of all teachers."""

    embed: EmbedArgs


class RotatedArgs(Table):
    """Arguments of `odekit.teachers.rotated`."""

    units: int
    overlap: Annotated[
        Annotated[float, Tag("<number>")]
        | Annotated[Axis, Tag("<over>")]
        | Annotated[list[list[float]], Tag("<list>")],
        form("<number>", "<over>", "<list>"),
    ]
    tasks: int = 2


class SharedArgs(Table):
    """Arguments of `odekit.teachers.shared`."""

    units: int
    common: int
    tasks: int = 2


class RandomArgs(Table):
    """Arguments of `odekit.teachers.random`."""

    units: int
    input_dim: int
    seed: int
    norm: Number = 1.0


class Rotated(Table):
    """Teachers rotated against each other."""

    rotated: RotatedArgs


class Shared(Table):
    """Teachers with units in common."""

    shared: SharedArgs


class Random(Table):
    """One teacher of random units."""

    random: RandomArgs


Teacher = Annotated[
    Annotated[int, Tag("<number>")]
    | Annotated[list[list[Number]], Tag("<list>")]
    | Annotated[Rotated, Tag("<rotated>")]
    | Annotated[Shared, Tag("<shared>")]
    | Annotated[Random, Tag("<random>")],
    form("<number>", "<list>", "<rotated>", "<shared>", "<random>"),
]
Head = Annotated[
    Annotated[list[Number], Tag("<list>")] | Annotated[Polar, Tag("<polar>")],
    form("<list>", "<polar>"),
]
Readout = Annotated[
    Annotated[list[Number], Tag("<list>")] | Annotated[Embed, Tag("<embed>")],
    form("<list>", "<embed>"),
]


class Draw(Table):
    """Arguments of `odekit.OrderParameters.draw`."""

    student: int
    teacher: Teacher
    weight_std: Scales
    input_dim: int
    seed: int
    draws: int | None = None


class State(Table):
    """The overlaps at time 0: given, or drawn."""

    Q: list[list[Number]] | None = None
    R: list[list[Number]] | None = None
    T: Teacher | None = None
    draw: Draw | None = None


class TaskTable(Table):
    """Arguments of `odekit.Task`."""

    readout: Readout
    noise_std: Number = 0.0
    head: str | None = None


class ConsolidationTable(Table):
    """Arguments of `odekit.Consolidation`."""

    kind: str
    strength: Number
    task: str | None = None


class PhaseTable(Table):
    """Arguments of `odekit.Phase`."""

    tasks: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[dict[str, Number], Tag("<names>")],
        form("<text>", "<names>"),
    ]
    duration: Number
    learning_rate: Rate
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
    weight_decay: Number = 0.0
    readout_weight_decay: Number = 0.0
    batch_size: int = 1
    gradient_flow: bool = False
    frozen: list[bool] | None = None
    consolidation: ConsolidationTable | None = None
    copy_heads: dict[str, str] | None = None


class ActivationTable(Table):
    """Arguments of `odekit.Activation.shipped`."""

    name: str
    nodes: int | None = None
    accuracy: float | None = None
    slope: float | None = None


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


class FigureTable(Table):
    """What the picture of a sweep shows: measures against the sweep's axes."""

    measures: list[str]
    x: str
    y: str | None = None
    hue: str | None = None
    column: str | None = None
    mean: list[str] = []
    levels: list[float] = []
    labels: dict[str, str] = {}


class ScenarioTable(Table):
    """The whole file."""

    system: Literal["committee"] = "committee"
    title: str = ""
    description: str = ""
    references: list[str] = []
    activation: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[ActivationTable, Tag("<activation>")],
        form("<text>", "<activation>"),
    ] = "erf"
    state: State
    heads: dict[str, Head]
    tasks: dict[str, TaskTable]
    phases: list[PhaseTable]
    solver: Solver = Solver()
    figure: FigureTable | None = None


TABLES: dict[str, type[Table]] = {
    "<over>": Axis,
    "<times>": ScheduleTable,
    "<outputs>": Times,
    "<activation>": ActivationTable,
    "<polar>": Polar,
    "<embed>": Embed,
    "<imbalance>": Imbalance,
    "<rotated>": Rotated,
    "<shared>": Shared,
    "<random>": Random,
}
"""The table that each form is read into."""
