"""Committees, as the rest of the library sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from odekit.problem.system import Block, Finding, Judgement, Measured, Resting, System

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.base.arrays import Indices
    from odekit.dataset.variable import Variable
    from odekit.problem.axes import Axis
    from odekit.problem.plain import Apart
    from odekit.systems.committee.problem import Problem


class Committee(System):
    """Soft committee machines in the teacher-student setup."""

    kind = "committee"
    title = "Order parameters of online learning"
    references = (
        "Saad & Solla 1995, doi:10.1103/PhysRevE.52.4225; "
        "Goldt et al. 2019, arXiv:1906.08632; "
        "Lee, Goldt & Saxe 2021, arXiv:2107.04384"
    )

    def write(self, problem: Problem, apart: Apart | None) -> dict[str, Any]:
        """The problem as plain data; large arrays may be kept apart."""
        from odekit.systems.committee.plain import write

        return write(problem, apart)

    def read(self, data: Mapping[str, Any], own: Any) -> Problem:
        """Rebuild, and check, a problem; `own` is the user's own activation."""
        from odekit.systems.committee.plain import read

        return read(data, own)

    def usual(self) -> Iterator[tuple[str, Problem]]:
        """A run and a sweep of every activation that is compiled; of erf in two sizes."""
        import numpy as np
        import xarray as xr

        from odekit.problem.phase import Phase
        from odekit.systems.committee.problem import Problem, Task
        from odekit.systems.committee.state import OrderParameters
        from odekit_kernels.committee.activations import TABLE

        rates = xr.DataArray([0.4, 0.5], dims="learning_rate")
        for row in TABLE:
            for K in (2, 3) if row.name == "erf" else (2,):
                one = Problem(
                    state=OrderParameters(Q=0.5 * np.eye(K), R=0.1 * np.eye(K), T=np.eye(K)),
                    heads={"main": np.ones(K)},
                    tasks={"main": Task(np.ones(K))},
                    phases=[Phase("main", 1.0, 0.5, gradient_flow=not row.online)],
                    activation=row.name,
                )
                name = f"{row.name}, {K} units"
                if K == 2:
                    yield name, one
                yield name, one.replace_phase(0, learning_rate=rates)

    def variables(self, outline: Mapping[str, Any]) -> Mapping[str, Variable]:
        """Every variable of a dataset by name."""
        from odekit.systems.committee.variables import variables

        return variables(bool(outline.get("groups")), outline.get("beyond", ()))

    def sizes(self, problem: Problem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time, phases and a sweep."""
        K, P = problem.state.student, problem.state.teacher
        units = {"student": K, "student_other": K, "teacher": P, "teacher_other": P}
        named = {"head": len(problem.heads), "task": len(problem.tasks)}
        named |= {} if problem.outputs is None else {"output": problem.outputs}
        return {**units, **named, **({"group": len(problem.groups)} if problem.groups else {})}

    def labels(self, problem: Problem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        found = {"head": list(problem.heads), "task": list(problem.tasks)}
        return {**found, **({"group": list(problem.groups)} if problem.groups else {})}

    def constants(self, problem: Problem) -> dict[str, Any]:
        """Overlaps of the fixed vectors, and the groups of inputs."""
        if problem.groups is None:
            return {"T": problem.state.T}
        from odekit.systems.committee.seen import fractions_of, total

        T, share = problem.state.T, fractions_of(problem)
        return {"T": total(problem, T), "T_group": T, "group_fraction": share}

    def absent(self, problem: Problem) -> set[str]:
        """Variables that no run of this problem has."""
        from odekit.systems.committee.misclassified import classified

        of_quadrature = {"quadrature_nodes", "quadrature_error"}
        absent = {"test_error"} | (of_quadrature if self.in_lanes(problem) else set())
        return absent | (set() if classified(problem) else {"misclassification"})

    def points(self, problem: Problem, found: Mapping[str, Axis]) -> Any:
        """The packing of all points of a sweep."""
        from odekit.systems.committee.packing import points_of

        return points_of(problem, found)

    def layout(self, problem: Problem, points: Any, frame: Any) -> Mapping[str, Block]:
        """Where Q, R and the readouts stand in a flat state of a phase."""
        from odekit.systems.committee.field import layout

        del problem
        return layout(points, frame)

    def parts(self, problem: Problem, layout: Mapping[str, Block]) -> Mapping[str, Indices]:
        """Q, R, and every head by itself."""
        from odekit.systems.committee.resting import parts

        return parts(list(problem.heads), layout)

    def judged(self, points: Any, phase: int, frame: Any, resting: Resting) -> Judgement:
        """What fixed points are."""
        from odekit.systems.committee.resting import judged

        return judged(points, phase, frame, resting)

    @property
    def zero_kinds(self) -> Mapping[str, str]:
        """Kinds of vanishing eigenvalues that it tells apart."""
        from odekit.systems.committee.resting import ZERO_KINDS

        return ZERO_KINDS

    def field(self) -> Any:
        """The equations of a phase, which take labelled blocks too."""
        from odekit.systems.committee.field import CommitteeField

        return CommitteeField

    def sensitivities(self) -> Any:
        """What differentiates runs."""
        from odekit.systems.committee import gradients

        return gradients

    def in_lanes(self, problem: Problem) -> bool:
        """Whether the moments have closed forms."""
        from odekit.systems.committee.activations import quadrature_of

        return quadrature_of(problem) is None

    def cost(self, problem: Problem) -> int:
        """Moments I4 that a right-hand side takes, or what takes as long."""
        K = problem.state.student
        copies = sum(phase.consolidation is not None for phase in problem.phases)
        D = K + problem.state.teacher + copies * K
        if problem.activation == "linear" or all(phase.gradient_flow for phase in problem.phases):
            return K * D * (D + 1) // 6
        return K * (K + 1) * D * (D + 1) // 4

    def start_size(self, problem: Problem) -> int:
        """Numbers that one trajectory starts from."""
        K, P = problem.state.student, problem.state.teacher
        groups = problem.state.groups or 1
        return groups * (K * (K + P) + P * P) + len(problem.heads) * (problem.outputs or 1) * K

    def simulation(self) -> Any:
        """What trains finite networks of a problem."""
        from odekit.systems.committee import simulation

        return simulation

    def noise(self) -> Any:
        """What one step of SGD does to the order parameters of a finite network."""
        from odekit.systems.committee import noise

        return noise

    def words(self, problem: Problem) -> Iterator[str]:
        """The problem in a few lines."""
        from odekit.systems.committee.words import words

        return words(problem)

    def toml(self, problem: Problem) -> str:
        """The problem as a scenario's text."""
        from odekit.scenario.write import scenario_text
        from odekit.systems.committee.plain import written

        return scenario_text(written(problem), problem.core_dims)

    def final_words(self, ds: xr.Dataset) -> Iterator[str]:
        """The last row of a run, errors excepted."""
        from odekit.systems.committee.words import final_words

        return final_words(ds)

    def panels(self, ds: xr.Dataset, time: str) -> Figure:
        """The course of one run over time."""
        from odekit.systems.committee import panels

        return panels.run(ds, time)

    def beside(self, ds: xr.Dataset, dim: str | None) -> Callable[[xr.Dataset], Iterator[Any]]:
        """What marks another result over the panels of a run, or of a sweep over `dim`."""
        from odekit.systems.committee import panels

        return panels.beside(ds, dim)

    def measures(self) -> Mapping[str, Measured]:
        """Measures and variables that figures may show besides the errors."""
        from odekit.systems.committee.specialisation import MEASURES

        return MEASURES

    def aligned(self, run: xr.Dataset, sim: xr.Dataset) -> tuple[xr.Dataset, xr.DataArray]:
        """Networks with alike units in the order, and of the signs, that fit the theory best."""
        from odekit.systems.committee.alignment import relabelled

        return relabelled(run, sim)

    def laws(self, ds: xr.Dataset, problem: Problem, tolerance: float) -> Iterator[Finding]:
        """What must hold in any one result."""
        from odekit.systems.committee.laws import laws

        return laws(ds, problem, tolerance)

    def conserved(self, ds: xr.Dataset, problem: Problem) -> xr.Dataset:
        """Conserved quantities of a run, their drifts and sizes."""
        from odekit.systems.committee.conserved import conserved

        return conserved(ds, problem)

    def scenario(self, raw: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Tables of a scenario, what builds its problem, and the mistakes so far."""
        from odekit.scenario.mistakes import validate
        from odekit.systems.committee.builder import CommitteeBuilder
        from odekit.systems.committee.tables import SHAPE

        table, mistakes = validate(dict(raw), SHAPE)
        return table, CommitteeBuilder(mistakes), mistakes
