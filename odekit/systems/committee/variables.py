"""The variables of a committee's dataset."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache

from odekit.dataset.common import registry
from odekit.dataset.variable import Variable, coordinate

_STUDENTS = ("student", "student_other")
_EXPANSION = "expansion of the mean-squared error in two-point moments I2"

_OWN = [
    coordinate("student", "int64", "student unit", symbol="k"),
    coordinate("student_other", "int64", "student unit (second index)", symbol="l"),
    coordinate("teacher", "int64", "fixed vector", symbol="n", comment="a unit of any teacher"),
    coordinate("teacher_other", "int64", "fixed vector (second index)", symbol="m"),
    coordinate("head", "str", "readout of the student"),
    Variable(
        "Q",
        ("time", *_STUDENTS),
        "float64",
        "overlap of student units",
        "Q_kl",
        "dQ_kl/dt = eta_w (v_k A_kl + v_l A_lk) + (eta_w^2/b) v_k v_l "
        "(sum_ab c_a c_b I4(k,l,a,b) + sigma^2 J2(k,l)); Saad & Solla 1995, Goldt et al. 2019",
        comment="w_k.w_l / N",
    ),
    Variable(
        "R",
        ("time", "student", "teacher"),
        "float64",
        "overlap with fixed vectors",
        "R_kn",
        "dR_kn/dt = eta_w v_k sum_a c_a I3(k,n,a); Saad & Solla 1995, Goldt et al. 2019",
        comment="w_k.B_n / N",
    ),
    Variable(
        "T",
        ("teacher", "teacher_other"),
        "float64",
        "overlap of fixed vectors",
        "T_nm",
        "constant",
        comment="B_n.B_m / N",
    ),
    Variable(
        "readout",
        ("time", "head", "student"),
        "float64",
        "readout weights",
        "v_k",
        "dv_k/dt = eta_v sum_a c_a I2(k,a); Goldt et al. 2019",
        comment="second layer, of each head",
    ),
    Variable(
        "generalization_error",
        ("time", "task"),
        "float64",
        "generalization error",
        "epsilon_g",
        f"epsilon_g = 1/2 sum_ab c_a c_b I2(a,b), {_EXPANSION}",
    ),
    Variable(
        "misclassification",
        ("time", "task"),
        "float64",
        "misclassification",
        required=False,
        comment="chance that the output has another sign than the label, of one unit",
    ),
    Variable(
        "test_error",
        ("time", "task"),
        "float64",
        "error over the given inputs",
        required=False,
        comment="half the mean squared one, over the inputs that a simulation was given",
    ),
    Variable(
        "quadrature_nodes",
        (),
        "int64",
        "quadrature nodes",
        required=False,
        comment="most of them in one direction, for the Gaussian moments",
    ),
    Variable(
        "quadrature_error",
        (),
        "float64",
        "quadrature error",
        required=False,
        comment="largest relative change of a Gaussian moment when the nodes are doubled",
    ),
]
_GROUPS = [
    coordinate("group", "str", "group of inputs", symbol="tau"),
    Variable(
        "Q_group",
        ("time", "group", *_STUDENTS),
        "float64",
        "overlap of student units",
        "Q_kl^tau",
        "Q = sum_tau f_tau Q^tau",
        comment="over the inputs of a group, w_k.w_l / N_tau",
    ),
    Variable(
        "R_group",
        ("time", "group", "student", "teacher"),
        "float64",
        "overlap with fixed vectors",
        "R_kn^tau",
        "R = sum_tau f_tau R^tau",
        comment="over the inputs of a group, w_k.B_n / N_tau",
    ),
    Variable(
        "T_group",
        ("group", "teacher", "teacher_other"),
        "float64",
        "overlap of fixed vectors",
        "T_nm^tau",
        "constant",
        comment="over the inputs of a group, B_n.B_m / N_tau",
    ),
    Variable("group_fraction", ("group",), "float64", "fraction of the inputs", "f_tau"),
]

BEYOND: dict[str, list[Variable]] = {
    "outputs": [coordinate("output", "int64", "output of the network", symbol="o")],
    "biases": [
        Variable(
            "bias",
            ("time", "student"),
            "float64",
            "bias of student units",
            "b_k",
            "db_k/dt = eta_b E[sum_o V_ko delta_o g'(phi_k)]",
        )
    ],
    "velocities": [
        Variable(
            "velocity_Q",
            ("time", *_STUDENTS),
            "float64",
            "overlap of velocities",
            "G_(nu_k,nu_l)",
            comment="nu_k.nu_l / N",
        ),
        Variable(
            "velocity_student",
            ("time", *_STUDENTS),
            "float64",
            "overlap with student units",
            "G_(nu_k,w_l)",
            comment="of velocities (first index), nu_k.w_l / N",
        ),
        Variable(
            "velocity_teacher",
            ("time", "student", "teacher"),
            "float64",
            "overlap with fixed vectors",
            "G_(nu_k,n)",
            comment="of velocities, nu_k.B_n / N",
        ),
    ],
    "squared_gradient": [
        Variable(
            "squared_gradient",
            ("time",),
            "float64",
            "accumulated squared gradient",
            "B",
            "dB/dt = E|grad_w|^2, or decay (E|grad_w|^2 - B)",
            comment="its root divides the learning rates, where there is one",
        )
    ],
}
"""What a problem has more than overlaps and readouts: see `Problem.beyond`."""


def variables(groups: bool, beyond: Collection[str]) -> dict[str, Variable]:
    """Every variable by name; with groups of inputs Q, R and T stay what they are over all."""
    return _variables(groups, tuple(beyond))


@lru_cache
def _variables(groups: bool, beyond: tuple[str, ...]) -> dict[str, Variable]:
    own = [*_OWN, *(_GROUPS if groups else [])]
    if "outputs" in beyond:
        dims = ("time", "head", "output", "student")
        own = [replace(v, dims=dims) if v.name == "readout" else v for v in own]
    return registry([*own, *(v for name in beyond for v in BEYOND.get(name, []))])
