"""A committee that learns to decide from rewards alone; with one unit it is the RL perceptron.

An episode has D decisions, the sign of sum_k v_k lambda_k each, right when it is the teacher's;
with n of them right it earns reward[n], which multiplies the mean of sign times input. The file is
all there is to this system of equations: policy_episodes.py solves it and simulates the rule.
"""

import math

import odekit as ok


def dot(A, i, v):
    total = 0.0
    for j in range(len(v)):
        total += A[i, j] * v[j]
    return total


def form(v, A, w):
    total = 0.0
    for i in range(len(v)):
        total += v[i] * dot(A, i, w)
    return total


def error(y, p):  # of one decision
    size = math.sqrt(form(y.readout, y.Q, y.readout) * form(p.u, p.T, p.u))
    return math.acos(max(-1.0, min(1.0, form(y.readout, y.R, p.u) / size))) / math.pi


def rhs(y, p, d):
    P, D, ways, more, less, square = 1.0 - error(y, p), len(p.reward) - 1, 1.0, 0.0, 0.0, 0.0
    for n in range(D + 1):  # expected rewards: with one decision right, with it wrong, squared
        square += ways * P**n * (1.0 - P) ** (D - n) * p.reward[n] ** 2
        if n < D:
            chance = ways * (D - n) / D * P**n * (1.0 - P) ** (D - 1 - n)
            more, less = more + chance * p.reward[n + 1], less + chance * p.reward[n]
            ways *= (D - n) / (n + 1)
    v, u, eta, K = y.readout, p.u, p.learning_rate, len(y.readout)
    a = (more + less) / math.sqrt(2.0 * math.pi * form(v, y.Q, v))
    b = (more - less) / math.sqrt(2.0 * math.pi * form(u, p.T, u))
    for k in range(K):
        X = a * dot(y.Q, k, v) + b * dot(y.R, k, u)
        d.readout[k] = p.readout_learning_rate * X
        for n in range(len(u)):
            d.R[k, n] = eta * v[k] * b * dot(p.T, n, u)
            for l in range(K):
                d.R[k, n] += eta * v[k] * a * v[l] * y.R[l, n]
        for l in range(K):
            X_l = a * dot(y.Q, l, v) + b * dot(y.R, l, u)
            d.Q[k, l] = eta * (v[k] * X_l + v[l] * X) + eta**2 * v[k] * v[l] * square / D


policy = ok.system(
    "policy committee",
    state={"Q": ("student", "student_other"), "R": ("student", "teacher"), "readout": "student"},
    parameters={"T": ("teacher", "teacher_other"), "u": "teacher", "reward": "right"},
    rhs=rhs,
    error=error,
    laws={"Q is symmetric": ("symmetric", "Q"), "Q has roots": ("semidefinite", "Q")},
    references="arXiv:2306.10404; arXiv:2402.18361",
)
