"""Scenarios of committees: the tables and keys of `odekit.Problem`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Tag

from odekit.drawing.figure import FigureTable
from odekit.scenario.tables import (
    FORMS,
    PHASE,
    TABLES,
    Axis,
    ContinuationTable,
    FixedPointTable,
    Number,
    OfUnits,
    PhaseTable,
    Shape,
    Solver,
    Table,
    form,
)


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


Blocks = dict[str, list[list[Number]]]
"""Overlaps in each group of inputs."""
Overlaps = Annotated[
    Annotated[list[list[Number]], Tag("<list>")] | Annotated[Blocks, Tag("<names>")],
    form("<list>", "<names>"),
]
OfGroups = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[dict[str, Number], Tag("<names>")],
    form("<number>", "<over>", "<names>"),
]
Teacher = Annotated[
    Annotated[int, Tag("<number>")]
    | Annotated[list[list[Number]], Tag("<list>")]
    | Annotated[Blocks, Tag("<names>")]
    | Annotated[Rotated, Tag("<rotated>")]
    | Annotated[Shared, Tag("<shared>")]
    | Annotated[Random, Tag("<random>")],
    form("<number>", "<list>", "<names>", "<rotated>", "<shared>", "<random>"),
]
Entry = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[list[Number], Tag("<list>")],
    form("<number>", "<over>", "<list>"),
]
"""A number of one unit, or a row of them of one output."""
Head = Annotated[
    Annotated[list[Entry], Tag("<list>")] | Annotated[Polar, Tag("<polar>")],
    form("<list>", "<polar>"),
]
Readout = Annotated[
    Annotated[list[Entry], Tag("<list>")] | Annotated[Embed, Tag("<embed>")],
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
    teacher_groups: list[str] | None = None


class State(Table):
    """The overlaps at time 0: given, or drawn."""

    Q: Overlaps | None = None
    R: Overlaps | None = None
    T: Teacher | None = None
    draw: Draw | None = None


class TaskTable(Table):
    """Arguments of `odekit.Task`."""

    readout: Readout
    noise_std: OfUnits = 0.0
    head: str | None = None
    input_variance: OfGroups | None = None
    student_gain: OfGroups | None = None
    student_noise_std: OfGroups | None = None
    label: OfUnits = 0.0
    input_mean: list[Number] | None = None


class ActivationTable(Table):
    """Arguments of `odekit.Activation.shipped`."""

    name: str
    nodes: int | None = None
    accuracy: float | None = None
    slope: float | None = None


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
    teacher_activation: str | None = None
    groups: dict[str, Number] | None = None
    biases: list[Number] | None = None
    teacher_biases: list[Number] | None = None
    test_scale: OfUnits = 1.0
    state: State
    heads: dict[str, Head]
    tasks: dict[str, TaskTable]
    phases: list[PhaseTable]
    solver: Solver = Solver()
    fixed_point: FixedPointTable = FixedPointTable()
    continuation: ContinuationTable = ContinuationTable()
    figure: FigureTable | None = None


SHAPE = Shape(
    ScenarioTable,
    forms=FORMS
    | {
        "<activation>": "{ name = 'tanh', accuracy = 1e-6 }",
        "<polar>": "{ polar = { radius = ..., angles = ... } }",
        "<embed>": "{ embed = { readout = [...], task = ..., tasks = ... } }",
        "<imbalance>": "{ imbalance = { scale = ..., gain = ... } }",
        "<rotated>": "{ rotated = { units = ..., overlap = ... } }",
        "<shared>": "{ shared = { units = ..., common = ... } }",
        "<random>": "{ random = { units = ..., input_dim = ..., seed = ... } }",
    },
    tables=TABLES
    | {
        "<activation>": ActivationTable,
        "<polar>": Polar,
        "<embed>": Embed,
        "<imbalance>": Imbalance,
        "<rotated>": Rotated,
        "<shared>": Shared,
        "<random>": Random,
    },
    sections={
        "state": {"Q": [[1.0]], "R": [[0.0]], "T": [[1.0]]},
        "heads": {},
        "tasks": {},
        "phases": [],
    },
    items={
        "heads": [1.0],
        "tasks": {"readout": [0.0]},
        "phases": PHASE,
    },
)
"""What a scenario of a committee looks like, and what stands in for its mistakes."""
