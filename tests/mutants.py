"""Wrong terms to plant in the plain transcription of the equations, one at a time."""

from __future__ import annotations

import types
from pathlib import Path

SOURCE = Path(__file__).with_name("transcription.py").read_text()

MUTANTS = {
    "½ of ε_g dropped": (
        "result.append(0.5 * sum(",
        "result.append(1.0 * sum(",
    ),
    "½ of I2's normalisation dropped": (
        "2 / PI * asin(C[a, b] / np.sqrt((1 + C[a, a]) * (1 + C[b, b])))",
        "1 / PI * asin(C[a, b] / np.sqrt((1 + C[a, a]) * (1 + C[b, b])))",
    ),
    "1 + C_aa of I2 without its 1": (
        "asin(C[a, b] / np.sqrt((1 + C[a, a])",
        "asin(C[a, b] / np.sqrt((2 + C[a, a])",
    ),
    "R transposed in C": (
        "np.block([[Q, R], [R.T, T.astype(Q.dtype)]])",
        "np.block([[Q, R.T], [R, T.astype(Q.dtype)]])",
    ),
    "sign of R in C": (
        "np.block([[Q, R], [R.T, T.astype(Q.dtype)]])",
        "np.block([[Q, -R], [-R.T, T.astype(Q.dtype)]])",
    ),
    "cross term v_l A_lk of dQ missing": (
        "eta[k] * v[k] * A[k][l] + eta[l] * v[l] * A[l][k]",
        "2 * eta[k] * v[k] * A[k][l]",
    ),
    "one factor η_w of the η² term missing": (
        "eta[k] * eta[l] * system.inverse_batch * v[k] * v[l] * power",
        "eta[k] * system.inverse_batch * v[k] * v[l] * power",
    ),
    "1/b of the η² term missing": (
        "eta[k] * eta[l] * system.inverse_batch * v[k]",
        "eta[k] * eta[l] * v[k]",
    ),
    "I4 with indices swapped": ("g.I4(C, k, l, a, b) for", "g.I4(C, a, k, l, b) for"),
    "cross term of Λ0 with the wrong sign": (
        "+ C[a, b] * (C[a, c] * C[b, d]",
        "- C[a, b] * (C[a, c] * C[b, d]",
    ),
    "subtraction in I3 missing": (
        "C[b, c] * (1 + C[a, a]) - C[a, b] * C[a, c]",
        "C[b, c] * (1 + C[a, a])",
    ),
    "I3 with indices swapped": (
        "sum(c[a] * g.I3(C, k, b, a) for a",
        "sum(c[a] * g.I3(C, k, a, b) for a",
    ),
    "student's sign in δ": ("concatenate([-v, system.u[s]])", "concatenate([v, system.u[s]])"),
    "label noise σ in place of σ²": ("system.sigma[s] ** 2 * g.J2", "system.sigma[s] * g.J2"),
    "frozen unit that moves": (
        "    eta = eta_w * system.move\n    A = ",
        "    eta = eta_w * np.ones(K)\n    A = ",
    ),
    "frozen unit that decays": (
        "    eta = eta_w * system.move\n    for k in range(K):\n        dR",
        "    eta = eta_w * np.ones(K)\n    for k in range(K):\n        dR",
    ),
    "factor 2 of Q's decay missing": (
        "dQ[k, l] -= (eta[k] + eta[l]) * system.kappa_w * Q[k, l]",
        "dQ[k, l] -= eta[k] * system.kappa_w * Q[k, l]",
    ),
    "readout trained at the rate of the first layer": (
        "np.array([eta_v * sum(c[a] * g.I2(C, k, a)",
        "np.array([eta_w * sum(c[a] * g.I2(C, k, a)",
    ),
    "mixture without its probabilities": ("whole += p_s * part", "whole += part"),
    "every task answered by the first head": (
        "    v = heads[system.head[s]]\n    c =",
        "    v = heads[0]\n    c =",
    ),
    "pull of a consolidation towards the wrong overlap": (
        "dQ[k, l] -= eta[k] * F[k] * (Q[k, l] - R[l, anchor[k]])",
        "dQ[k, l] -= eta[k] * F[k] * (Q[k, l] - R[k, anchor[k]])",
    ),
    "pull of a consolidation without T": (
        "(R[k, n] - system.T[anchor[k], n])",
        "R[k, n]",
    ),
    "readout held at the wrong value": ("F_v * (heads[h] - v_anchor)", "F_v * heads[h]"),
}  # fmt: skip
"""Name of the term that is wrong: the text as it is, and as it is planted."""


def transcription(mutant: str | None = None) -> types.ModuleType:
    """The transcription as a module, with one term wrong."""
    text = SOURCE
    if mutant is not None:
        right, wrong = MUTANTS[mutant]
        assert text.count(right) == 1, f"{mutant}: {text.count(right)} places"
        text = text.replace(right, wrong)
    module = types.ModuleType(f"transcription of {mutant or 'all terms'}")
    exec(compile(text, f"<{module.__name__}>", "exec"), module.__dict__)
    return module
