"""Moments of fields with means: φ ~ N(M, C), of activations that have closed ones.

Clusters, labels and biases give fields means. The equations need, of one field, e = E[g],
p = E[g'], d = E[g'']; of a student's field k and any other, F = E[g'_k g_a], J2 = E[g'_k g'_a] and
D = E[g''_k g_a], this one as a distribution; and of two fields of any kind I2 = E[g_a g_b]. A file
here has the name of its activation's file and is there if its row says ``means=True``:

``alone(M_a, C_aa, s_a)``
    e, p and d.
``pair(M_k, M_a, C_kk, C_aa, C_ka, s_k, s_a)``
    F, J2 and D.
``product(M_a, M_b, C_aa, C_bb, C_ab, s_a, s_b)``
    I2.
``centred(C_aa, C_bb, C_ab, s_a, s_b)``
    I2 where no field has a mean.
``tilt(M_k, M_l, C_kk, C_ll, C_kl, s, same)``
    J2(k, l), and what the weight g'_k g'_l makes of the law of all fields: the `Tilt` below. With
    it E[g'_k g'_l g_a] and I4 are J2 times e and I2 of the new law (`committee.means`). NaN where
    I4 is not closed. `same` says that k and l are one field.

M and C are values (`lanes.values`): eight lanes or one trajectory, on a CPU or a device. The width
s of a field is a float and the same in all lanes. It tells what a fixed vector's g is where that
may differ from the student's: erf(x/√(2s)) for s ≥ 0, thus the sign at s = 0, and x for `STRAIGHT`,
which erf does not know of. ReLU is the same on all fields and reads no width.

Derivatives of I2 are moments too (Price 1958): J2 by C_ab, F by M_a and D/2 by C_aa.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["STRAIGHT", "Tilt"]

STRAIGHT = -1.0
"""Width of a field whose g is the identity."""


class Tilt(NamedTuple):
    """J2(k, l), and the law of fields under the weight g'_k g'_l.

    The mean of a is M_a − C_ka u_k − C_la u_l; of two fields C_ab − x_aᵀ B x_b with x_a = (C_ka,
    C_la) and B = [[kk, kl], [kl, ll]].

    Attributes
    ----------
    J2, u_k, u_l, kk, ll, kl : float or Vec8
    """

    J2: Any
    u_k: Any
    u_l: Any
    kk: Any
    ll: Any
    kl: Any
