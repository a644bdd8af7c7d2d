"""Scenarios of linear networks: ``system = "linear"``, and the tables of `odekit.LinearProblem`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from odekit.base.errors import ProblemError
from odekit.drawing.figure import FigureTable
from odekit.scenario.build import Builder
from odekit.scenario.tables import (
    FORMS,
    TABLES,
    Axis,
    ContinuationTable,
    FixedPointTable,
    Number,
    PhaseTable,
    Rate,
    ScheduleTable,
    Shape,
    Solver,
    Table,
    form,
)
from odekit.scenario.values import matrix, value, within
from odekit.systems import linear
from odekit.systems.linear import Correlations, LinearProblem, Network

Rows = list[list[Number]]
ByPath = Annotated[
    Annotated[Rows, Tag("<list>")] | Annotated[dict[str, Rows], Tag("<names>")],
    form("<list>", "<names>"),
]
ByPair = Annotated[
    Annotated[Rows, Tag("<list>")] | Annotated[dict[str, dict[str, Rows]], Tag("<names>")],
    form("<list>", "<names>"),
]


ByEdge = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Axis, Tag("<over>")]
    | Annotated[dict[str, Number], Tag("<names>")],
    form("<number>", "<over>", "<names>"),
]
Block = list[list[float]]
BlockByName = Annotated[
    Annotated[Block, Tag("<list>")] | Annotated[dict[str, Block], Tag("<names>")],
    form("<list>", "<names>"),
]


def _by_node(contexts: Any) -> str:
    """Whether contexts hold matrices, or these by node."""
    first = contexts[0] if isinstance(contexts, list) and contexts else None
    return "<names>" if isinstance(first, dict) else "<list>"


class DeepTable(Table):
    """Arguments of `odekit.linear.deep`."""

    widths: list[int]
    bias: Annotated[
        Annotated[bool, Tag("<flag>")] | Annotated[str, Tag("<text>")], form("<flag>", "<text>")
    ] = False


class MultimodalTable(Table):
    """Arguments of `odekit.linear.multimodal`."""

    inputs: dict[str, int]
    output: int
    depth: int
    fusion: int
    width: int


class PathwaysTable(Table):
    """Arguments of `odekit.linear.pathways`."""

    names: list[str]
    input: int
    hidden: int
    output: int
    depth: int = 2


class RoutingTable(Table):
    """Arguments of `odekit.linear.routing`."""

    domains: int
    offsets: list[int]
    input: int
    hidden: int
    output: int
    depth: int = 3


class NetworkTable(Table):
    """A builder, or the fields of `odekit.linear.Network`."""

    deep: DeepTable | None = None
    multimodal: MultimodalTable | None = None
    pathways: PathwaysTable | None = None
    routing: RoutingTable | None = None
    nodes: dict[str, int] | None = None
    edges: dict[str, list[str]] | None = None
    paths: dict[str, list[str]] | None = None


class NormalTable(Table):
    """Arguments of `odekit.linear.normal`; in place of a scale those of `path_scales`."""

    scale: ByEdge | None = None
    path_scales: Number | None = None
    seed: int
    imbalance: Number = 1.0
    draws: int | None = None


class OrthogonalTable(Table):
    """Arguments of `odekit.linear.orthogonal`, as those of `normal`."""

    scale: ByEdge | None = None
    path_scales: Number | None = None
    seed: int
    draws: int | None = None


class BalancedTable(Table):
    """Arguments of `odekit.linear.balanced`."""

    scale: float
    seed: int
    imbalance: float = 0.0
    draws: int | None = None
    normal: bool = False


class AlignedTable(Table):
    """Arguments of `odekit.linear.aligned`."""

    target: list[list[float]]
    strengths: (
        Annotated[
            Annotated[list[float] | list[list[float]], Tag("<list>")]
            | Annotated[dict[str, Number | list[float]], Tag("<names>")],
            form("<list>", "<names>"),
        ]
        | None
    ) = None
    path_scales: Number | None = None


class WeightsTable(Table):
    """How the weights are drawn, or their values by edge."""

    normal: NormalTable | None = None
    orthogonal: OrthogonalTable | None = None
    balanced: BalancedTable | None = None
    aligned: AlignedTable | None = None
    given: dict[str, Rows] | None = None


class ContextsTable(Table):
    """Arguments of `odekit.linear.Correlations.from_contexts`."""

    xx: Annotated[
        Annotated[list[list[float]], Tag("<list>")]
        | Annotated[list[dict[str, Block | dict[str, Block]]], Tag("<names>")],
        Discriminator(_by_node),
    ]
    yx: Annotated[
        Annotated[list[Block], Tag("<list>")]
        | Annotated[list[dict[str, dict[str, Block]]], Tag("<names>")],
        Discriminator(_by_node),
    ]
    gates: dict[str, list[float]] | None = None
    probabilities: list[float] | None = None


class OneAtATimeTable(Table):
    """Arguments of `odekit.linear.Correlations.one_at_a_time`."""

    yx: BlockByName
    xx: BlockByName
    yy: float | None = None


class SamplesTable(Table):
    """Arguments of `odekit.linear.Correlations.from_samples`."""

    inputs: dict[str, list[list[float]]]
    targets: dict[str, list[list[float]]]
    gates: dict[str, list[float]] | None = None


class CorrelationsTable(Table):
    """One task: correlations, or what they are computed from."""

    yx: ByPath | None = None
    xx: ByPair | None = None
    yy: Number | None = None
    contexts: ContextsTable | None = None
    one_at_a_time: OneAtATimeTable | None = None
    samples: SamplesTable | None = None


class LinearPhaseTable(PhaseTable):
    """A phase, with rates and decays of the edges."""

    # Wider than in the phases of committees.
    learning_rate: Annotated[
        Annotated[float, Tag("<number>")]
        | Annotated[Axis, Tag("<over>")]
        | Annotated[ScheduleTable, Tag("<times>")]
        | Annotated[dict[str, Rate], Tag("<names>")],
        form("<number>", "<over>", "<times>", "<names>"),
    ]
    weight_decay: ByEdge = 0.0  # type: ignore[assignment]


class LinearTable(Table):
    """The whole file."""

    system: Literal["linear"]
    title: str = ""
    description: str = ""
    references: list[str] = []
    network: NetworkTable
    weights: WeightsTable
    tasks: dict[str, CorrelationsTable]
    phases: list[LinearPhaseTable]
    solver: Solver = Solver()
    fixed_point: FixedPointTable = FixedPointTable()
    continuation: ContinuationTable = ContinuationTable()
    figure: FigureTable | None = None


SHAPE = Shape(LinearTable, FORMS | {"<flag>": "true or false"}, TABLES, sections={}, items={})


class LinearBuilder(Builder):
    """Builds a linear problem part by part; parts that are needed by later ones end it."""

    def problem(self, table: Any) -> Any:
        """The problem, or None if there is none to speak of."""
        network = self._part(("network",), lambda: _network(table.network))
        if network is None:
            return None
        weights = self._part(("weights",), lambda: _weights(network, table.weights, self.axes))
        tasks = {}
        for name, given in table.tasks.items():
            task = self._part(("tasks", name), lambda given=given: _task(network, given, self.axes))
            if task is not None:
                tasks[name] = task
        names = next(iter(table.tasks), "")
        phases = [self.phase(i, given, names) for i, given in enumerate(table.phases)]
        if weights is None or len(tasks) < len(table.tasks):
            return None
        try:
            return LinearProblem(network, weights, tasks, phases)
        except ProblemError as error:
            self.mistakes.blame(error, ())
            return None

    def _part(self, where: Any, build: Any) -> Any:
        with self.collect(where):
            return build()
        return None


def _only(table: Table, names: list[str]) -> str:
    """The one of several keys that is given."""
    used = [name for name in names if getattr(table, name) is not None]
    if len(used) != 1:
        rule = f"must have exactly one of {', '.join(names)}"
        raise ProblemError("", rule, ", ".join(used) or "none", "")
    return used[0]


def _network(table: NetworkTable) -> Network:
    name = _only(table, ["deep", "multimodal", "pathways", "routing", "nodes"])
    if name == "nodes":
        edges = {edge: tuple(ends) for edge, ends in (table.edges or {}).items()}
        return Network(table.nodes or {}, edges, table.paths)  # type: ignore[arg-type]
    with within(name):
        arguments = getattr(table, name).model_dump()
        network: Network = getattr(linear, name)(**arguments)
        return network


def _weights(network: Network, table: WeightsTable, axes: Any) -> Any:
    name = _only(table, ["normal", "orthogonal", "balanced", "aligned", "given"])
    with within(name):
        if name == "given":
            return {
                edge: matrix(edge, rows, network.edges[edge][::-1], axes)
                for edge, rows in (table.given or {}).items()
                if edge in network.edges
            }
        arguments = getattr(table, name)
        built = {field: value(v, axes) for field, v in vars(arguments).items()}
        if "path_scales" in built:
            built |= _sizes(network, built, "strengths" if name == "aligned" else "scale")
            del built["path_scales"]
        return getattr(linear, name)(network, **built)


def _sizes(network: Network, built: dict[str, Any], argument: str) -> dict[str, Any]:
    """Sizes of the weights, given or those of a balanced start."""
    given = [name for name in (argument, "path_scales") if built[name] is not None]
    if len(given) != 1:
        rule = f"must have exactly one of {argument}, path_scales"
        raise ProblemError("", rule, ", ".join(given) or "none", "")
    if given == [argument]:
        return {}
    with within("path_scales"):
        return {argument: linear.path_scales(network, built["path_scales"])}


def _task(network: Network, table: CorrelationsTable, axes: Any) -> Correlations:
    name = _only(table, ["yx", "contexts", "one_at_a_time", "samples"])
    if name == "samples":
        assert table.samples is not None
        with within(name):
            return Correlations.from_samples(network, **vars(table.samples))
    if name == "contexts":
        assert table.contexts is not None
        with within(name):
            return Correlations.from_contexts(network, **vars(table.contexts))
    if name == "one_at_a_time":
        assert table.one_at_a_time is not None
        with within(name):
            return Correlations.one_at_a_time(network, **vars(table.one_at_a_time))
    if table.xx is None:
        raise ProblemError("xx", "must be given with yx", "nothing", "")
    yx, xx = table.yx, table.xx
    if len(network.paths) == 1:
        (only,) = network.paths
        yx = yx if isinstance(yx, dict) else {only: yx or []}
        xx = xx if isinstance(xx, dict) else {only: {only: xx}}
    if not isinstance(yx, dict) or not isinstance(xx, dict):
        raise ProblemError("", "must have yx and xx by path", "a list", "")
    known = {
        **dict.fromkeys(yx),
        **dict.fromkeys(xx),
        **dict.fromkeys(p for r in xx.values() for p in r),
    }
    for path in known:
        if path not in network.paths:
            listed = ", ".join(map(repr, network.paths))
            raise ProblemError("yx", f"must name paths of the network ({listed})", repr(path), "")
    cross = {p: matrix(f"yx['{p}']", rows, network.ends(p)[::-1], axes) for p, rows in yx.items()}
    pairs = {
        q: {
            p: matrix(f"xx['{q}']['{p}']", rows, _ends(network, q, p), axes)
            for p, rows in row.items()
        }
        for q, row in xx.items()
    }
    return Correlations(cross, pairs, None if table.yy is None else value(table.yy, axes))


def _ends(network: Network, q: str, p: str) -> tuple[str, str]:
    a, b = network.ends(q)[0], network.ends(p)[0]
    return a, f"{b}_other" if a == b else b
