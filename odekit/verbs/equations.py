"""The equations of a problem, for whoever wants to do with them what this library does not."""

from __future__ import annotations

from odekit.dynamics.field import VectorField
from odekit.problem.base import AnyProblem


def equations(problem: AnyProblem, phase: int = 0) -> VectorField:
    """The equations of one phase of a problem, as functions of time and a flat state.

    Parameters
    ----------
    problem : Problem, LinearProblem, or one that `odekit.system` made
        With plain numbers (no sweep dims).
    phase : int
        Which phase. What a phase makes of the state as it begins (copies of heads; of units, by a
        consolidation) is made of the problem's own start.

    Returns
    -------
    VectorField
        ``rhs(t, y)`` and ``jac(t, y)``, as scipy takes them, with t since the phase began; the
        products ``jvp(t, y, v)`` = J v and ``vjp(t, y, w)`` = Jᵀ w; ``errors(y)`` of every task and
        ``errors_gradient(y)``;
        ``start``, the state as the phase begins; ``names`` of the entries of a state;
        ``unpack(y)`` and ``pack(...)`` between states and labelled arrays.

        That of a committee can also be called as ``rhs(t, Q, R, T, v)``, or with a fifth block u
        (tasks of the phase, P), for the derivatives of labelled blocks; T and u need not be those
        of the problem. Its `blocks` are the point at which the phase begins, and
        ``error(Q, R, T, v)`` is the generalization error of the phase's mixture. `odekit.testing`
        tests such functions.

    Raises
    ------
    ProblemError
        If the problem has sweep dims or no such phase, or a state or array does not fit.

    Notes
    -----
    Units of the derivatives are those of `odekit.solve`: 1/(steps/N) for committees (Saad & Solla
    1995). jvp makes the whole Jacobian, of n² numbers; so does vjp, but for committees of white
    inputs whose moments have closed forms: there it takes a reverse pass for each vector.

    Examples
    --------
    >>> import odekit as ok
    >>> from scipy.integrate import solve_ivp
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=20.0, learning_rate=1.0)],
    ... )
    >>> field = ok.equations(problem)
    >>> field.names
    ('Q[0, 0]', 'R[0, 0]', 'readout[main, 0]')
    >>> own = solve_ivp(field.rhs, (0, 20), field.start, "LSODA", jac=field.jac, rtol=1e-8)
    >>> field.unpack(own.y.T, dims=("time",)).R.values[-1].round(3)
    array([[0.976]])
    >>> field.errors(own.y[:, 0]).round(3)
    array([0.275])
    """
    make = getattr(getattr(problem, "system", None), "field", None)
    kind = None if make is None else make()
    found: VectorField = (kind or VectorField)(problem, phase)
    return found
