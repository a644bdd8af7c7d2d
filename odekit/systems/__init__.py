"""The systems of equations there are: the only table of them."""

from __future__ import annotations

from odekit.problem.system import System, register

__all__ = ["System", "register"]


def _committee() -> System:
    from odekit.systems.committee.system import Committee

    return Committee()


def _linear() -> System:
    from odekit.systems.linear.system import Linear

    return Linear()


def _outside() -> System:
    from odekit.systems.outside.system import Outside

    return Outside()


for _kind, _make in {"committee": _committee, "linear": _linear, "outside": _outside}.items():
    register(_kind, _make)
