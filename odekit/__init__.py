"""Order-parameter equations of online learning: compiled, labelled, stored.

Names are imported on first use, so that ``odekit --help`` does not wait for scipy and xarray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activation": "activations",
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Consolidation": "problem",
    "LinearProblem": "linear",
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
    "SweepError": "errors",
    "Task": "problem",
    "compare": "comparison",
    "descend": "gradientdescent",
    "even_angles": "initial",
    "imbalance": "initial",
    "inputs": "",
    "linear": "",
    "load_scenario": "scenario",
    "measures": "",
    "open": "store",
    "plot": "",
    "polar": "initial",
    "realise": "weights",
    "save": "store",
    "simulate": "simulator",
    "solve": "solver",
    "task_family": "families",
    "teachers": "",
    "testing": "",
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
    from odekit import inputs as inputs
    from odekit import linear as linear
    from odekit import measures as measures
    from odekit import plot as plot
    from odekit import teachers as teachers
    from odekit import testing as testing
    from odekit.activations import Activation as Activation
    from odekit.checkpoint import Checkpoint as Checkpoint
    from odekit.comparison import compare as compare
    from odekit.errors import CheckpointError as CheckpointError
    from odekit.errors import OdekitError as OdekitError
    from odekit.errors import ProblemError as ProblemError
    from odekit.errors import ScenarioError as ScenarioError
    from odekit.errors import StoreError as StoreError
    from odekit.errors import SweepError as SweepError
    from odekit.families import task_family as task_family
    from odekit.gradientdescent import descend as descend
    from odekit.initial import even_angles as even_angles
    from odekit.initial import imbalance as imbalance
    from odekit.initial import polar as polar
    from odekit.linear import LinearProblem as LinearProblem
    from odekit.problem import Consolidation as Consolidation
    from odekit.problem import Phase as Phase
    from odekit.problem import Problem as Problem
    from odekit.problem import Task as Task
    from odekit.scenario import load_scenario as load_scenario
    from odekit.schedule import Schedule as Schedule
    from odekit.simulator import simulate as simulate
    from odekit.solver import solve as solve
    from odekit.state import OrderParameters as OrderParameters
    from odekit.status import Outcome as Outcome
    from odekit.status import Status as Status
    from odekit.store import open as open
    from odekit.store import save as save
    from odekit.weights import realise as realise
