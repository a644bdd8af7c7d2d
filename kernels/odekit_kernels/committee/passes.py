"""What the recording of steps asks of a phase, chosen by the type of its tape.

A `tape.Tape` has the reverse pass of white inputs; a `stencil.GroupsTape`, with groups of inputs,
and a `stages.GeneralTape`, of structured problems, their Jacobians.
"""

# ruff: noqa: ARG001 - every kind of tape has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import alternatives
from odekit_kernels.committee import one, reverse, stencil
from odekit_kernels.committee.driven import drive_row
from odekit_kernels.committee.general import stages
from odekit_kernels.committee.general.stages import GeneralTape
from odekit_kernels.committee.stencil import GroupsTape
from odekit_kernels.committee.tape import Tape

__all__ = ["drive", "flow", "radius"]


def drive(t: float, tape: Any) -> None:
    """Put what follows schedules where it is at a time since the phase began."""
    _chosen(type(tape), DRIVES)(t, tape)


def flow(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, tape: Any, dy: Any) -> None:
    """Write dy/dt."""
    _chosen(type(tape), FLOWS)(y, eta_w, eta_v, system, work, tape, dy)


def radius(
    y: Any, eta_w: float, eta_v: float, enough: float, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    """`spectrum.radius_beyond` of the Jacobian; the last five are scratch memory, `by` is for n."""
    of = _chosen(type(tape), RADII)
    return of(y, eta_w, eta_v, enough, system, watch, tape, by, flat, unit, scratch, three)


def drive_nothing(t: float, tape: Any) -> None:
    """See `drive`: phases of white inputs whose numbers move have a tape of groups, of one."""


def drive_groups(t: float, tape: Any) -> None:
    """See `drive`."""
    drive_row(t, tape.driven, tape.row)


def drive_general(t: float, tape: Any) -> None:
    """See `drive`."""
    stages.drive(t, tape)


def flow_of_white(
    y: Any, eta_w: float, eta_v: float, system: Any, work: Any, tape: Any, dy: Any
) -> None:
    """See `flow`."""
    one.rhs(y, eta_w, eta_v, system, work, dy)


def flow_of_groups(
    y: Any, eta_w: float, eta_v: float, system: Any, work: Any, tape: Any, dy: Any
) -> None:
    """See `flow`."""
    stencil.flow(y, eta_w, eta_v, work, tape, dy)


def flow_of_general(
    y: Any, eta_w: float, eta_v: float, system: Any, work: Any, tape: Any, dy: Any
) -> None:
    """See `flow`."""
    stages.flow(y, eta_w, eta_v, tape, dy)


def radius_of_white(
    y: Any, eta_w: float, eta_v: float, enough: float, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    """See `radius`."""
    of = reverse.radius
    return of(y, eta_w, eta_v, enough, system, watch, tape, by, flat, unit, scratch, three)


def radius_of_groups(
    y: Any, eta_w: float, eta_v: float, enough: float, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    """See `radius`."""
    return stencil.radius(y, eta_w, eta_v, enough, tape, scratch, three)


def radius_of_general(
    y: Any, eta_w: float, eta_v: float, enough: float, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    """See `radius`."""
    return stages.radius(y, eta_w, eta_v, enough, tape, scratch, three)


DRIVES = {Tape: drive_nothing, GroupsTape: drive_groups, GeneralTape: drive_general}
FLOWS = {Tape: flow_of_white, GroupsTape: flow_of_groups, GeneralTape: flow_of_general}
RADII = {Tape: radius_of_white, GroupsTape: radius_of_groups, GeneralTape: radius_of_general}


def _chosen(kind: Any, functions: Any) -> Any:
    """By the class of a tape, or numba's type of it."""
    return functions[getattr(kind, "instance_class", kind)]


@alternatives(drive, strict=False)
def _drive(t: Any, tape: Any) -> Any:
    return _chosen(tape, DRIVES)


@alternatives(flow, strict=False)
def _flow(y: Any, eta_w: Any, eta_v: Any, system: Any, work: Any, tape: Any, dy: Any) -> Any:
    return _chosen(tape, FLOWS)


@alternatives(radius, strict=False)
def _radius(
    y: Any, eta_w: Any, eta_v: Any, enough: Any, system: Any, watch: Any, tape: Any, by: Any,
    flat: Any, unit: Any, scratch: Any, three: Any,
) -> Any:  # fmt: skip
    return _chosen(tape, RADII)
