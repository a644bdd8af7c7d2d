"""Order-parameter equations of online learning: compiled, labelled, stored.

Names are imported on first use, so that ``odekit --help`` does not wait for scipy and xarray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Consolidation": "problem",
    "OdekitError": "errors",
    "OrderParameters": "state",
    "Outcome": "status",
    "Phase": "problem",
    "Problem": "problem",
    "ProblemError": "errors",
    "ScenarioError": "errors",
    "Schedule": "schedule",
    "Status": "status",
    "StoreError": "errors",
    "Task": "problem",
    "even_angles": "initial",
    "imbalance": "initial",
    "load_scenario": "scenario",
    "measures": "",
    "open": "store",
    "plot": "",
    "polar": "initial",
    "save": "store",
    "solve": "solve",
    "teachers": "",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'odekit' has no attribute {name!r}")
    module = importlib.import_module(f"odekit.{_HOME[name] or name}")
    value = getattr(module, name) if _HOME[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from odekit import measures, plot, teachers
    from odekit.checkpoint import Checkpoint
    from odekit.errors import CheckpointError, OdekitError, ProblemError, ScenarioError, StoreError
    from odekit.initial import even_angles, imbalance, polar
    from odekit.problem import Consolidation, Phase, Problem, Task
    from odekit.scenario import load_scenario
    from odekit.schedule import Schedule
    from odekit.solve import solve
    from odekit.state import OrderParameters
    from odekit.status import Outcome, Status
    from odekit.store import open, save
