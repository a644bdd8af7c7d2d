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


def _data() -> System:
    from odekit.systems.data.system import Data

    return Data()


def _outside() -> System:
    from odekit.systems.outside.system import Outside

    return Outside()


_systems = {"committee": _committee, "linear": _linear, "data": _data, "outside": _outside}
for _kind, _make in _systems.items():
    register(_kind, _make)
