"""Values of a committee's scenario: its state, and the builders of teachers and readouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.checks import MAX_UNITS, count
from odekit.base.errors import ProblemError
from odekit.base.spread import spread
from odekit.scenario.tables import Table
from odekit.scenario.values import Axes, matrix, value, vector, within
from odekit.systems.committee import tables as schema
from odekit.systems.committee import teachers
from odekit.systems.committee.start import CORE, imbalance, polar
from odekit.systems.committee.state import OrderParameters


def state(table: schema.State, axes: Axes, groups: Any = None) -> OrderParameters:
    """The initial state, given or drawn; `groups` are the fractions of the inputs, if any."""
    given = {name: getattr(table, name) for name in ("Q", "R", "T")}
    if table.draw is not None:
        if any(v is not None for v in given.values()):
            raise ProblemError("", "must be either Q, R and T, or `draw`", "both", "Remove one.")
        with within("draw"):
            return _draw(table.draw, axes, groups)
    for name, v in given.items():
        if v is None:
            raise ProblemError(
                name, "must be given with the other two of Q, R, T", "nothing", "Or use `draw`."
            )
    dims = {"Q": ("student", "student_other"), "R": ("student", "teacher")}
    matrices = {name: _blocks(name, given[name], core, axes, groups) for name, core in dims.items()}
    return OrderParameters(**matrices, T=_teacher("T", given["T"], axes, groups))


def of_outputs(given: Any, core: str, axes: Axes) -> Any:
    """Numbers of units, or a row of them for each output."""
    rows = [isinstance(x, list) for x in given] if isinstance(given, list) else []
    if not any(rows):
        return vector(given, core, axes)
    if not all(rows):
        raise ProblemError("", "must be numbers, or a list of them for each output", "both", "")
    return matrix("", given, ("output", core), axes)


def _blocks(name: str, given: Any, core: tuple[str, str], axes: Axes, groups: Any) -> Any:
    """A matrix of overlaps, or one for each group of inputs, in their order."""
    if not isinstance(given, dict):
        return matrix(name, given, core, axes)
    if not groups or sorted(given) != sorted(groups):
        listed = ", ".join(map(repr, groups or ())) or "none"
        rule = f"must have a matrix for every group ({listed})"
        raise ProblemError(name, rule, ", ".join(map(repr, given)), "")
    parts = {g: matrix(f"{name}.{g}", given[g], core, axes) for g in groups}
    if len({np.shape(x)[-2:] for x in parts.values()}) > 1:
        raise ProblemError(name, "must have matrices of one shape", "others", "")

    def join(**v: Any) -> list[Any]:
        return [np.array([v[f"block{i}"] for i in range(len(parts))])]

    named = {f"block{i}": x for i, x in enumerate(parts.values())}
    return spread(join, [("group", *core)], CORE, **named)[0]


def _teacher(name: str, given: Any, axes: Axes, groups: Any = None) -> Any:
    """The overlaps T of the fixed vectors."""
    if isinstance(given, dict):
        return _blocks(name, given, ("teacher", "teacher_other"), axes, groups)
    if isinstance(given, list):
        return matrix(name, given, ("teacher", "teacher_other"), axes)
    if isinstance(given, int):
        return teachers.orthonormal(count(name, given))
    with within(name):
        return value(given, axes)


def _draw(table: schema.Draw, axes: Axes, groups: Any) -> OrderParameters:
    with within("weight_std"):
        std = vector(table.weight_std, "student", axes)
    T = table.teacher
    T = T if isinstance(T, int) else _teacher("teacher", T, axes, groups)
    names = {"student", "input_dim", "seed", "draws", "teacher_groups"}
    plain = table.model_dump(include=names)
    return OrderParameters.draw(teacher=T, weight_std=std, groups=groups, **plain)


@value.register(schema.Polar)
def _polar(table: schema.Polar, axes: Axes) -> Any:
    args = table.polar
    with within("polar.radius"):
        if isinstance(args.radius, schema.Imbalance):
            radius = _imbalance(args.radius, axes, layer=1)
        else:
            radius = value(args.radius, axes)
    angles = args.angles if isinstance(args.angles, list) else [args.angles]
    with within("polar.angles"):
        swept = [value(v, axes) for v in angles]
    with within("polar"):
        return polar(radius, swept)


@value.register(schema.Imbalance)
def _imbalance(table: schema.Imbalance, axes: Axes, layer: int = 0) -> Any:
    with within("imbalance"):
        scale, gain = (_argument(table.imbalance, name, axes) for name in ("scale", "gain"))
        return imbalance(scale, gain)[layer]


def _argument(args: Table, name: str, axes: Axes) -> Any:
    with within(name):
        return value(getattr(args, name), axes)


@value.register(schema.Embed)
def _embed(table: schema.Embed, axes: Axes) -> Any:
    args = table.embed

    def build(readout: Any) -> list[Any]:
        return [teachers.embed(readout, args.task, tasks=args.tasks)]

    with within("embed"):
        count("tasks", args.tasks)
        own = vector(args.readout, "teacher", axes)
        return spread(build, [("teacher",)], CORE, readout=own)[0]


@value.register(schema.Rotated)
def _rotated(table: schema.Rotated, axes: Axes) -> Any:
    args = table.rotated

    def build(overlap: Any) -> list[Any]:
        return [teachers.rotated(args.units, overlap, tasks=args.tasks)]

    with within("rotated"):
        _check_size(args)
        overlap = _argument(args, "overlap", axes)
        return spread(build, [("teacher", "teacher_other")], CORE, overlap=overlap)[0]


@value.register(schema.Random)
def _random(table: schema.Random, axes: Axes) -> Any:
    args = table.random.model_dump(exclude={"norm"})

    def build(norm: Any) -> list[Any]:
        return [teachers.random(**args, norm=float(norm))]

    with within("random"):
        norm = _argument(table.random, "norm", axes)
        return spread(build, [("teacher", "teacher_other")], CORE, norm=norm)[0]


@value.register(schema.Shared)
def _shared(table: schema.Shared, _axes: Axes) -> Any:
    with within("shared"):
        _check_size(table.shared)
        return teachers.shared(**table.shared.model_dump())


def _check_size(args: schema.RotatedArgs | schema.SharedArgs) -> None:
    """The tasks' units together are the fixed vectors."""
    if 0 < args.units <= MAX_UNITS and args.tasks > 0:
        count("tasks", args.tasks, most=max(MAX_UNITS // args.units, 1))
