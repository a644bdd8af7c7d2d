"""Order-parameter equations of online learning: compiled, labelled, stored.

Names are imported on first use, so that ``odekit --help`` does not wait for scipy and xarray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from odekit.base.version import __version__

importlib.import_module("odekit.systems")  # the table of systems; each is imported on first use

_HOME = {
    "AdaGradNorm": "problem.normalization",
    "Activation": "systems.committee.activations",
    "BranchEnd": "dynamics.outcomes",
    "Checkpoint": "store.checkpoint",
    "CheckpointError": "base.errors",
    "CheckpointWarning": "base.errors",
    "Consolidation": "problem.consolidation",
    "Convergence": "base.status",
    "DataProblem": "systems.data",
    "DeclaredProblem": "systems.outside.problem",
    "FluctuationWarning": "base.errors",
    "InputGroups": "systems.committee.spectra",
    "LinearProblem": "systems.linear",
    "Mixture": "systems.committee.clusters",
    "NotCompletedWarning": "base.errors",
    "OdekitError": "base.errors",
    "OrderParameters": "systems.committee.state",
    "Outcome": "base.status",
    "Phase": "problem.phase",
    "Problem": "systems.committee.problem",
    "ProblemError": "base.errors",
    "ScenarioError": "base.errors",
    "RMSNorm": "problem.normalization",
    "Schedule": "problem.schedule",
    "SpecialPoint": "dynamics.outcomes",
    "Status": "base.status",
    "StoreError": "base.errors",
    "SweepError": "base.errors",
    "Task": "systems.committee.problem",
    "compare": "verbs.compare",
    "continuation": "verbs.continuation",
    "curriculum_groups": "systems.committee.spectra",
    "data": "",
    "descend": "verbs.descend",
    "equations": "verbs.equations",
    "even_angles": "systems.committee.start",
    "fit": "verbs.fit",
    "fixed_point": "verbs.fixed_point",
    "fluctuations": "verbs.fluctuations",
    "gaussian_mixture": "systems.committee.clusters",
    "gather": "verbs.gather",
    "hidden_manifold": "systems.committee.spectra",
    "imbalance": "systems.committee.start",
    "inputs": "",
    "linear": "",
    "load_scenario": "verbs.scenario",
    "measures": "",
    "open": "store.netcdf",
    "optimise": "verbs.optimise",
    "plateaus": "verbs.plateaus",
    "plot": "",
    "polar": "systems.committee.start",
    "power_law": "systems.committee.spectra",
    "realise": "systems.committee.weights",
    "save": "store.netcdf",
    "sensitivity": "verbs.sensitivity",
    "simulate": "verbs.simulate",
    "solve": "verbs.solve",
    "spectrum": "systems.committee.spectra",
    "summary": "verbs.show",
    "system": "systems.outside.declaration",
    "task_family": "systems.committee.families",
    "teachers": "",
    "testing": "",
    "xor_mixture": "systems.committee.clusters",
}

_MAKE_DATASETS = ("continuation", "descend", "open", "simulate", "solve")
"""Once one of these is used, xarray's datasets have the accessor ``odekit``."""

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'odekit' has no attribute {name!r}")
    module = importlib.import_module(f"odekit.{_HOME[name] or name}")
    value = getattr(module, name) if _HOME[name] else module
    if name in _MAKE_DATASETS:
        importlib.import_module("odekit.accessor")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from odekit import data as data
    from odekit import inputs as inputs
    from odekit import linear as linear
    from odekit import measures as measures
    from odekit import plot as plot
    from odekit import teachers as teachers
    from odekit import testing as testing
    from odekit.base.errors import CheckpointError as CheckpointError
    from odekit.base.errors import CheckpointWarning as CheckpointWarning
    from odekit.base.errors import FluctuationWarning as FluctuationWarning
    from odekit.base.errors import NotCompletedWarning as NotCompletedWarning
    from odekit.base.errors import OdekitError as OdekitError
    from odekit.base.errors import ProblemError as ProblemError
    from odekit.base.errors import ScenarioError as ScenarioError
    from odekit.base.errors import StoreError as StoreError
    from odekit.base.errors import SweepError as SweepError
    from odekit.base.status import Convergence as Convergence
    from odekit.base.status import Outcome as Outcome
    from odekit.base.status import Status as Status
    from odekit.dynamics.outcomes import BranchEnd as BranchEnd
    from odekit.dynamics.outcomes import SpecialPoint as SpecialPoint
    from odekit.problem.consolidation import Consolidation as Consolidation
    from odekit.problem.normalization import AdaGradNorm as AdaGradNorm
    from odekit.problem.normalization import RMSNorm as RMSNorm
    from odekit.problem.phase import Phase as Phase
    from odekit.problem.schedule import Schedule as Schedule
    from odekit.store.checkpoint import Checkpoint as Checkpoint
    from odekit.store.netcdf import open as open
    from odekit.store.netcdf import save as save
    from odekit.systems.committee.activations import Activation as Activation
    from odekit.systems.committee.clusters import Mixture as Mixture
    from odekit.systems.committee.clusters import gaussian_mixture as gaussian_mixture
    from odekit.systems.committee.clusters import xor_mixture as xor_mixture
    from odekit.systems.committee.families import task_family as task_family
    from odekit.systems.committee.problem import Problem as Problem
    from odekit.systems.committee.problem import Task as Task
    from odekit.systems.committee.spectra import InputGroups as InputGroups
    from odekit.systems.committee.spectra import curriculum_groups as curriculum_groups
    from odekit.systems.committee.spectra import hidden_manifold as hidden_manifold
    from odekit.systems.committee.spectra import power_law as power_law
    from odekit.systems.committee.spectra import spectrum as spectrum
    from odekit.systems.committee.start import even_angles as even_angles
    from odekit.systems.committee.start import imbalance as imbalance
    from odekit.systems.committee.start import polar as polar
    from odekit.systems.committee.state import OrderParameters as OrderParameters
    from odekit.systems.committee.weights import realise as realise
    from odekit.systems.data import DataProblem as DataProblem
    from odekit.systems.linear import LinearProblem as LinearProblem
    from odekit.systems.outside.declaration import system as system
    from odekit.systems.outside.problem import DeclaredProblem as DeclaredProblem
    from odekit.verbs.compare import compare as compare
    from odekit.verbs.continuation import continuation as continuation
    from odekit.verbs.descend import descend as descend
    from odekit.verbs.equations import equations as equations
    from odekit.verbs.fit import fit as fit
    from odekit.verbs.fixed_point import fixed_point as fixed_point
    from odekit.verbs.fluctuations import fluctuations as fluctuations
    from odekit.verbs.gather import gather as gather
    from odekit.verbs.optimise import optimise as optimise
    from odekit.verbs.plateaus import plateaus as plateaus
    from odekit.verbs.scenario import load_scenario as load_scenario
    from odekit.verbs.sensitivity import sensitivity as sensitivity
    from odekit.verbs.show import summary as summary
    from odekit.verbs.simulate import simulate as simulate
    from odekit.verbs.solve import solve as solve
