"""The order parameters that a run starts from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import MAX_UNITS, agree, array, as_floats, count, is_labelled, positive
from odekit.base.errors import ProblemError
from odekit.base.html import as_table
from odekit.base.spread import spread
from odekit.base.text import brief
from odekit.systems.committee.groups import (
    confined,
    draw_groups,
    fractions,
    overlaps_of_groups,
    sizes,
)
from odekit.systems.committee.start import CORE, draw_overlaps, factor

if TYPE_CHECKING:
    from odekit.base.given import Values

PSD_TOLERANCE = 1e-6
"""Most negative eigenvalue allowed, all vectors scaled to length one: given to six digits, overlaps
pass, and so does the last row of a run, which obeys the inequalities to about its tolerance."""
MOST_DOUBLES = 2**28
"""Largest draw, 2 GiB; drawing and checking it takes several times as much."""
SYMMETRY_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class OrderParameters:
    """Overlaps of the student's weights and the fixed vectors: the state of the first layer.

    Parameters
    ----------
    Q : array_like, shape (K, K)
        Student-student overlaps w_k·w_l/N.
    R : array_like, shape (K, P)
        Student-fixed-vector overlaps w_k·B_n/N. Rows are student units.
    T : array_like, shape (P, P)
        Overlaps of the fixed vectors B_n·B_m/N: the units of every teacher.

    Each may be an `xarray.DataArray` with the dims ``(student, student_other)``,
    ``(student, teacher)``, ``(teacher, teacher_other)`` and any sweep dims besides. With groups of
    inputs each has an axis of groups, the dim ``group``, before these: overlaps w_k·w_l/N_τ over
    the inputs of one group. A T without it is that of vectors spread evenly over all groups.

    Raises
    ------
    ProblemError
        If shapes do not fit, an entry is not finite, Q or T is not symmetric, or no vectors have
        these overlaps (the joint matrix [[Q, R], [Rᵀ, T]] is not positive semidefinite).

    Examples
    --------
    >>> import odekit as ok
    >>> start = ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]])
    >>> start.student, start.teacher
    (1, 1)
    """

    Q: Any
    R: Any
    T: Any

    if TYPE_CHECKING:

        def __init__(self, Q: Values, R: Values, T: Values) -> None: ...

    def __post_init__(self) -> None:
        names = _group_names(self.Q, self.R, self.T)
        if names is not None:
            object.__setattr__(self, "_group_names", names)
        T = _square("T", self.T, ("teacher", "teacher_other"))
        Q = _square("Q", self.Q, ("student", "student_other"))
        K, P = Q.shape[-1], T.shape[-1]
        groups = _groups(Q)
        if groups is not None and _groups(T) is None:
            T = _in_every_group(T, groups)
        lead = () if groups is None else (groups,)
        R = array(
            "R",
            self.R,
            (*(("group",) if lead else ()), "student", "teacher"),
            (*lead, K, P),
            f"Here (K, P) = ({K}, {P}). Rows are student units; did you pass R transposed?",
        )
        if _groups(T) != groups:
            raise ProblemError(
                "T", "must have as many groups as Q", f"{_groups(T)} and {groups}", ""
            )
        _check_joint(Q, R, T)
        for name, value in (("Q", Q), ("R", R), ("T", T)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={brief(getattr(self, name))}" for name in ("Q", "R", "T"))
        return f"OrderParameters({said})"

    def _repr_html_(self) -> str:
        rows = [("student units K", str(self.student)), ("fixed vectors P", str(self.teacher))]
        rows += [(name, brief(getattr(self, name))) for name in ("Q", "R", "T")]
        return as_table("OrderParameters", rows)

    @property
    def student(self) -> int:
        """Number of student units K."""
        return int(self.Q.shape[-1])

    @property
    def teacher(self) -> int:
        """Number of fixed vectors P."""
        return int(self.T.shape[-1])

    @property
    def groups(self) -> int | None:
        """Number of groups of inputs; None where all are alike."""
        return _groups(self.Q)

    @classmethod
    def from_weights(cls, W: Any, B: Any, groups: Any = None) -> OrderParameters:
        """Overlaps of given weight vectors.

        Parameters
        ----------
        W : array_like, shape (K, N)
            First-layer weights of the student.
        B : array_like, shape (P, N)
            Fixed vectors.
        groups : dict of str to array_like of int, or to slice, optional
            The inputs of each group: every one of the N belongs to one.

        Warns
        -----
        UserWarning
            If K > N, as where `W` is transposed.

        Examples
        --------
        >>> import odekit as ok
        >>> ok.OrderParameters.from_weights([[2.0, 0.0]], [[0.0, 1.0]]).Q
        array([[2.]])
        """
        w = as_floats("W", W, "an array over (student, input)")
        b = as_floats("B", B, "an array over (teacher, input)")
        if w.ndim != 2 or b.ndim != 2 or w.shape[1] != b.shape[1] or not w.size or not b.size:
            raise ProblemError(
                "W",
                "must have shape (K, N) and `B` shape (P, N) with the same N",
                f"{w.shape} and {b.shape}",
                "Rows are weight vectors.",
            )
        N = w.shape[1]
        if len(w) > N:
            warnings.warn(
                f"`W` has more units (K = {len(w)}) than inputs (N = {N}): Q is then singular. "
                "Rows are weight vectors; did you pass W transposed?",
                stacklevel=2,
            )
        if groups is not None:
            Q, R, T = overlaps_of_groups(w, b, groups)
            return cls(Q=Q, R=R, T=T)
        return cls(Q=w @ w.T / N, R=w @ b.T / N, T=b @ b.T / N)

    @classmethod
    def draw(
        cls,
        student: int,
        teacher: Any,
        *,
        weight_std: Any,
        input_dim: int,
        seed: int,
        draws: int | None = None,
        groups: Mapping[str, Any] | None = None,
        teacher_groups: Sequence[str] | None = None,
    ) -> OrderParameters:
        """Overlaps of random Gaussian weights w_ki ~ N(0, weight_std²) with given fixed vectors.

        Only the overlaps are drawn (Bartlett's decomposition of their Wishart matrix), so that the
        input dimension costs nothing.

        Parameters
        ----------
        student : int
            Number of student units K.
        teacher : int or array_like, shape (P, P)
            Number of orthonormal fixed vectors, or their overlaps T (see `odekit.teachers`), which
            may be swept: one draw of the weights then serves every T.
        weight_std : float or array_like, shape (K,)
            Standard deviation σ_w of the weights, of each unit if given as an array. A labelled
            array is swept over, its dim ``student`` excepted, with the same seed at every point.
        input_dim : int
            Input dimension N, at least P.
        seed : int
        draws : int, optional
            Number of independent draws; they become the sweep dim ``draw``.
        groups : dict of str to float, optional
            Groups of inputs and their fractions, as in `Problem`; each has the nearest whole number
            of the N inputs. `teacher` may then be T in each group, shape (G, P, P).
        teacher_groups : sequence of str, optional
            The groups to which the fixed vectors are confined; T is over all inputs, so that it is
            T/Σ f there and 0 elsewhere. By default they are spread evenly.

        Returns
        -------
        OrderParameters

        Examples
        --------
        >>> import odekit as ok
        >>> start = ok.OrderParameters.draw(
        ...     student=2, teacher=2, weight_std=1e-3, input_dim=10_000, seed=7)
        >>> start.Q.shape, start.R.shape
        ((2, 2), (2, 2))
        """
        K = count("student", student)
        if isinstance(teacher, int | np.integer):
            T: Any = np.eye(count("teacher", teacher))
        else:
            T = _square("teacher", teacher, ("teacher", "teacher_other"))
        P = T.shape[-1]
        shares = None if groups is None else fractions("groups", groups)
        T = _teacher_of_groups(T, shares, teacher_groups)
        N = count("input_dim", input_dim, most=2**53)
        if N < P:
            raise ProblemError(
                "input_dim", f"must be at least the number of fixed vectors, {P}", str(N), ""
            )
        if is_labelled(weight_std) and set(weight_std.dims) - {"student"}:
            rest = {"student": K, "input_dim": N, "seed": seed, "draws": draws, "groups": shares}
            return _draw_swept(T, weight_std, rest)
        std = as_floats("weight_std", weight_std, "a number, or one for each unit")
        positive("weight_std", std.min() if std.size else 0.0)
        if std.shape not in ((), (K,)):
            raise ProblemError(
                "weight_std", f"must be a number or have shape ({K},)", str(std.shape), ""
            )
        many = None if draws is None else count("draws", draws, most=10**9)
        _check_memory("draws", (many or 1) * K * (K + P) * len(shares or "-"))
        width = np.broadcast_to(std, (K,))
        if shares is None:
            L = np.array([factor(t) for t in np.reshape(T, (-1, P, P))]).reshape(np.shape(T))
            Q, R = draw_overlaps(K, L, width, N, many, _seed(seed))
        else:
            Q, R = draw_groups(K, np.asarray(T), width, sizes(shares, N), many, _seed(seed))
        lead = () if shares is None else ("group",)
        return cls(
            Q=_label_draws(Q, None, many, (*lead, "student", "student_other")),
            R=_label_draws(R, T, many, (*lead, "student", "teacher")),
            T=T,
        )


def _teacher_of_groups(T: Any, groups: Any, names: Any) -> Any:
    """T in each group of inputs, if there are any."""
    if groups is None:
        if names is not None:
            raise ProblemError("teacher_groups", "must be left out without `groups`", repr(names))
        if _groups(T) is not None:
            raise ProblemError("teacher", "must have no axis of groups without `groups`", "one")
        return T
    if any(is_labelled(f) for f in groups.values()):
        remedy = "Draw for each of them apart."
        raise ProblemError("groups", "must be plain numbers in a draw", "a sweep", remedy)
    found = _groups(T)
    if found is not None:
        if names is not None or found != len(groups):
            rule = f"must be T over all inputs, or of {len(groups)} groups without teacher_groups"
            raise ProblemError("teacher", rule, f"T of {found} groups")
        return T
    if not is_labelled(T):
        return confined(T, groups, names)
    data = confined(T.values, groups, names)
    return _with_groups(T, data)


def _with_groups(T: Any, data: Any) -> Any:
    """Labelled overlaps with an axis of groups before their core dims."""
    import xarray as xr

    dims = (*T.dims[:-2], "group", *T.dims[-2:])
    coords = {d: T.coords[d] for d in T.dims if d in T.coords}
    return xr.DataArray(data, dims=dims, coords=coords)


def _groups(matrix: Any) -> int | None:
    """Length of the axis of groups, or None."""
    if is_labelled(matrix):
        return int(matrix.sizes["group"]) if "group" in matrix.dims else None
    return len(matrix) if np.ndim(matrix) == 3 else None


def _group_names(*matrices: Any) -> tuple[str, ...] | None:
    """Labels of groups, where a labelled array has them; all must have the same."""
    found = {
        tuple(str(x) for x in m.coords["group"].values)
        for m in matrices
        if is_labelled(m) and "group" in m.coords and m.coords["group"].dtype.kind in "UO"
    }
    if len(found) > 1:
        raise ProblemError("Q, R, T", "must have their groups in one order", str(found), "")
    return found.pop() if found else None


def _in_every_group(T: Any, groups: int) -> Any:
    """The same overlaps in each of some groups."""
    shape = (*T.shape[:-2], groups, *T.shape[-2:])
    data = np.broadcast_to(np.asarray(T)[..., None, :, :], shape)
    return _with_groups(T, data) if is_labelled(T) else data


def _draw_swept(T: Any, weight_std: Any, rest: dict[str, Any]) -> OrderParameters:
    """A draw for every point of a sweep of weight_std, and of T."""

    def one(**swept: Any) -> tuple[Any, Any]:
        drawn = OrderParameters.draw(**swept, **rest)
        return np.asarray(drawn.Q), np.asarray(drawn.R)

    lead = () if rest["draws"] is None else ("draw",)
    lead = (*lead, *(() if rest["groups"] is None else ("group",)))
    cores = [(*lead, "student", "student_other"), (*lead, "student", "teacher")]
    Q, R = spread(one, cores, CORE, teacher=T, weight_std=weight_std)
    if "draw" in lead:
        Q, R = (x.assign_coords(draw=np.arange(x.sizes["draw"])) for x in (Q, R))
    return OrderParameters(Q=Q, R=R, T=T)


def _label_draws(values: Any, T: Any, draws: int | None, core: tuple[str, ...]) -> Any:
    """Drawn overlaps with the sweep dims of T and of the draws, if there are any."""
    coords: dict[Any, Any] = {}
    if is_labelled(T):
        coords = {d: T.coords.get(d) for d in T.dims[: T.ndim - len(core)]}
    if draws is not None:
        coords["draw"] = np.arange(draws)
    if not coords:
        return values
    import xarray as xr

    known = {d: c for d, c in coords.items() if c is not None}
    return xr.DataArray(values, dims=(*coords, *core), coords=known)


def _seed(seed: object) -> int:
    return count("seed", seed, most=2**64 - 1, least=0)


def _check_memory(argument: str, doubles: int) -> None:
    if doubles > MOST_DOUBLES:
        given = f"{8 * doubles / 2**30:.0f} GiB of overlaps"
        raise ProblemError(argument, "must need at most 2 GiB", given, "Draw in parts.")


def _square(argument: str, value: Any, dims: tuple[str, ...]) -> Any:
    """A symmetric square matrix, symmetrised to the last bit."""
    rough = np.shape(value)[-2:] if is_labelled(value) else np.shape(value)
    dims = dims if _groups(value) is None else ("group", *dims)
    if len(rough) == 2 and max(rough) > MAX_UNITS:
        raise ProblemError(argument, f"must have at most {MAX_UNITS} units", str(rough), "")
    matrix = array(argument, value, dims, (None,) * len(dims), "A matrix of overlaps is square.")
    floats = np.asarray(matrix)
    if floats.shape[-1] != floats.shape[-2] or not floats.size:
        raise ProblemError(argument, "must be a square matrix", str(floats.shape), "")
    mirror = np.swapaxes(floats, -1, -2)
    scale = np.abs(floats).max(initial=0.0)
    if np.abs(floats - mirror).max(initial=0.0) > SYMMETRY_TOLERANCE * scale:
        raise ProblemError(
            argument,
            "must be symmetric",
            f"entries that differ by {np.abs(floats - mirror).max():.3g}",
            "An overlap does not depend on the order of its two vectors.",
        )
    symmetric = 0.5 * (floats + mirror)
    symmetric.setflags(write=False)
    return matrix.copy(data=symmetric) if is_labelled(matrix) else symmetric


def _check_joint(Q: Any, R: Any, T: Any) -> None:
    """Refuse overlaps that no vectors have."""
    C = joint(Q, R, T)
    diagonal = np.diagonal(C, axis1=-2, axis2=-1)
    # Scaled to unit length, small students are held to the inequalities as strictly as teachers.
    length = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    lowest = np.linalg.eigvalsh(C / (length[..., :, None] * length[..., None, :]))[..., 0]
    if (diagonal < 0).any() or (lowest < -PSD_TOLERANCE).any():
        raise ProblemError(
            "Q, R, T",
            "must be jointly positive semidefinite, as overlaps of real vectors are",
            f"[[Q, R], [Rᵀ, T]] with lowest eigenvalue {lowest.min():.3g} at unit diagonal",
            "By Cauchy–Schwarz |R_kn| <= √(Q_kk T_nn): check scales and the 1/N of each overlap.",
        )


def joint(Q: Any, R: Any, T: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The joint covariance [[Q, R], [Rᵀ, T]] of all local fields, sweep dims first."""
    if any(is_labelled(x) for x in (Q, R, T)):
        Q, R, T = _broadcast(Q, R, T)
    else:
        Q, R, T = np.asarray(Q), np.asarray(R), np.asarray(T)
    upper = np.concatenate([Q, R], axis=-1)
    lower = np.concatenate([np.swapaxes(R, -1, -2), T], axis=-1)
    return np.concatenate([upper, lower], axis=-2)


def _broadcast(Q: Any, R: Any, T: Any) -> list[np.ndarray[Any, Any]]:
    """Labelled and plain matrices brought to common sweep dims."""
    import xarray as xr

    lead = () if _groups(Q) is None else ("group",)
    core = tuple(
        (*lead, *pair)
        for pair in (
            ("student", "student_other"),
            ("student", "teacher"),
            ("teacher", "teacher_other"),
        )
    )
    labelled = [
        x if is_labelled(x) else xr.DataArray(x, dims=d)
        for x, d in zip((Q, R, T), core, strict=True)
    ]
    exclude = {d for pair in core for d in pair}
    agree("Q, R, T", labelled, exclude)
    sizes = {d: n for x in labelled for d, n in x.sizes.items() if d not in exclude}
    D = labelled[1].shape[-2] + labelled[1].shape[-1]
    _check_memory("Q, R, T", D * D * (_groups(Q) or 1) * math.prod(sizes.values()))
    spread = xr.broadcast(*labelled, exclude=exclude)
    sweep = [d for d in spread[0].dims if d not in exclude]
    return [x.transpose(*sweep, *d).values for x, d in zip(spread, core, strict=True)]
