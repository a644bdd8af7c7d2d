"""Moments of fields with means, each of the activation whose code is the first argument.

What `activations.means` lists, and what follows from it alike for all: the moments of three and of
four fields, and how often the sign of an output is wrong. NaN for activations without closed ones,
whose moments are `quadrature.means`.
"""

# ruff: noqa: ARG001 - the ends of a chain have the arguments of its links

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner
from odekit_kernels.bivariate import arc
from odekit_kernels.committee.activations.means import STRAIGHT, Tilt
from odekit_kernels.committee.activations.means import __name__ as folder
from odekit_kernels.committee.moments import chain
from odekit_kernels.normal import distribution
from odekit_kernels.simd import choose_less, minor, root

__all__ = [
    "STRAIGHT",
    "Tilt",
    "alone",
    "centred",
    "fourth",
    "pair",
    "product",
    "third",
    "tilt",
    "tilted_covariance",
    "tilted_mean",
    "wrong_label",
    "wrong_sign",
]

TINY = 1e-140


@inner
def unknown_alone(activation: Any, M_a: Any, C_aa: Any, s_a: Any) -> Any:
    """NaN."""
    nan = np.nan * M_a
    return nan, nan, nan


@inner
def unknown_pair(
    activation: Any, M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any, s_k: Any, s_a: Any
) -> Any:
    """NaN."""
    nan = np.nan * M_k
    return nan, nan, nan


@inner
def unknown_product(
    activation: Any, M_a: Any, M_b: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: Any, s_b: Any
) -> Any:
    """NaN."""
    return np.nan * M_a


@inner
def unknown_centred(activation: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: Any, s_b: Any) -> Any:
    """NaN."""
    return np.nan * C_aa


@inner
def unknown_tilt(
    activation: Any, M_k: Any, M_l: Any, C_kk: Any, C_ll: Any, C_kl: Any, s: Any, same: Any
) -> Any:
    """NaN."""
    nan = np.nan * M_k
    return Tilt(nan, nan, nan, nan, nan, nan)


alone = chain("alone", unknown_alone, folder, __name__)
pair = chain("pair", unknown_pair, folder, __name__)
product = chain("product", unknown_product, folder, __name__)
centred = chain("centred", unknown_centred, folder, __name__)
tilt = chain("tilt", unknown_tilt, folder, __name__)


# -------------------------------------------------------------------------- three and four fields


@inner
def tilted_mean(M_a: Any, C_ka: Any, C_la: Any, w: Any) -> Any:
    """Mean of a field under the weight of a `Tilt`."""
    return M_a - C_ka * w.u_k - C_la * w.u_l


@inner
def tilted_covariance(C_ab: Any, C_ka: Any, C_la: Any, C_kb: Any, C_lb: Any, w: Any) -> Any:
    """Covariance of two fields under it."""
    return C_ab - (w.kk * C_ka + w.kl * C_la) * C_kb - (w.kl * C_ka + w.ll * C_la) * C_lb


@inner
def third(activation: int, M_a: Any, C_aa: Any, C_ka: Any, C_la: Any, s_a: float, w: Any) -> Any:
    """E[g'_k g'_l g_a], from the `tilt` w of k and l."""
    M = tilted_mean(M_a, C_ka, C_la, w)
    e, _, _ = alone(activation, M, tilted_covariance(C_aa, C_ka, C_la, C_ka, C_la, w), s_a)
    return w.J2 * e


@inner
def fourth(
    activation: int,
    M_a: Any,
    M_b: Any,
    C_aa: Any,
    C_bb: Any,
    C_ab: Any,
    C_ka: Any,
    C_la: Any,
    C_kb: Any,
    C_lb: Any,
    s_a: float,
    s_b: float,
    w: Any,
) -> Any:
    """I4 = E[g'_k g'_l g_a g_b], from the `tilt` w of k and l."""
    T_aa = tilted_covariance(C_aa, C_ka, C_la, C_ka, C_la, w)
    T_bb = tilted_covariance(C_bb, C_kb, C_lb, C_kb, C_lb, w)
    T_ab = tilted_covariance(C_ab, C_ka, C_la, C_kb, C_lb, w)
    T_a, T_b = tilted_mean(M_a, C_ka, C_la, w), tilted_mean(M_b, C_kb, C_lb, w)
    return w.J2 * product(activation, T_a, T_b, T_aa, T_bb, T_ab, s_a, s_b)


# ------------------------------------------------------------------------------- misclassification


@inner
def inverse_length(C: Any) -> Any:
    """1/√C, of what a trial stage may leave of a variance."""
    return 1.0 / root(choose_less(C, TINY, TINY, C))


@inner
def wrong_label(y: Any, M: Any, C: Any) -> Any:
    """Chance Φ(−y M/√C) that one odd, increasing unit has another sign than the label y = ±1."""
    return distribution(-y * M * inverse_length(C))


@inner
def wrong_sign(M_k: Any, M_n: Any, C_kk: Any, C_nn: Any, C_kn: Any) -> Any:
    """Chance that it has another sign than one field of a teacher, arccos(r)/π without means.

    Φ₂(h_k, −h_n; −r) + Φ₂(−h_k, h_n; −r), in which both arcs are the same.
    """
    i_k, i_n = inverse_length(C_kk), inverse_length(C_nn)
    h_k, h_n = M_k * i_k, M_n * i_n
    cosine2 = minor(C_kk, C_nn, C_kn) * (i_k * i_k) * (i_n * i_n)
    apart = distribution(h_k) * distribution(-h_n) + distribution(-h_k) * distribution(h_n)
    return apart - arc(h_k, h_n, C_kn * i_k * i_n, cosine2) * (1.0 / math.pi)
