"""A chain of layers on samples: its answers, the gradient of its loss, and the Hessian.

h_0 = x, z_l = W_l h_{l-1}, h_l = g(z_l), the answer is z_L; the loss of a task is half the mean
over its samples of |y − z_L|². Arrays are (samples, units); a state holds the W_l, each row-major.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.data.activations import Unit


@dataclass(frozen=True)
class Batch:
    """Samples that are learnt together.

    Attributes
    ----------
    x, y : ndarray, shape (samples, inputs), (samples, outputs)
    share : ndarray, shape (samples, 1)
        Weight of each sample in the loss: those of one task sum to one.
    """

    x: Floats
    y: Floats
    share: Floats


@dataclass(frozen=True)
class Layers:
    """Shapes of the layers, and their units.

    Attributes
    ----------
    shapes : sequence of (int, int)
        (to, from) of every layer.
    unit : Unit
    """

    shapes: Sequence[tuple[int, int]]
    unit: Unit

    @property
    def size(self) -> int:
        """Numbers of a state."""
        return sum(a * b for a, b in self.shapes)

    def split(self, y: Floats) -> list[Floats]:
        """Views of the weights (…, to, from) in states (…, n)."""
        found, place = [], 0
        for a, b in self.shapes:
            found.append(y[..., place : place + a * b].reshape(*y.shape[:-1], a, b))
            place += a * b
        return found

    def forward(self, weights: Sequence[Floats], x: Floats) -> tuple[list[Floats], list[Floats]]:
        """Fields z_l of every layer, and what goes into each, h_{l-1}."""
        fields, inputs = [], [x]
        for W in weights[:-1]:
            fields.append(inputs[-1] @ W.T)
            inputs.append(self.unit.g(fields[-1]))
        return [*fields, inputs[-1] @ weights[-1].T], inputs

    def answers(self, y: Floats, x: Floats) -> Floats:
        """Answers (samples, outputs) of one state."""
        return self.forward(self.split(y), x)[0][-1]

    def loss(self, y: Floats, batch: Batch) -> float:
        """Half the mean squared error."""
        error = self.answers(y, batch.x) - batch.y
        return float(0.5 * np.sum(batch.share * error * error))

    def gradient(self, y: Floats, batch: Batch) -> Floats:
        """∂loss/∂y, by back-propagation."""
        weights = self.split(y)
        fields, inputs = self.forward(weights, batch.x)
        out = np.empty_like(y)
        into = self.split(out)
        delta = batch.share * (fields[-1] - batch.y)
        for layer in range(len(weights) - 1, -1, -1):
            np.matmul(delta.T, inputs[layer], out=into[layer])
            if layer:
                delta = (delta @ weights[layer]) * self.unit.slope(fields[layer - 1])
        return out

    def hessian(self, y: Floats, batch: Batch) -> Floats:
        """∂²loss/∂y², column by column: derivatives of the gradient along unit vectors."""
        weights = self.split(y)
        fields, inputs = self.forward(weights, batch.x)
        slopes = [self.unit.slope(z) for z in fields[:-1]]
        bends = [self.unit.bend(z) for z in fields[:-1]]
        columns = np.zeros((y.size, y.size))
        for column, direction in zip(columns, np.eye(y.size), strict=True):
            moved = self.split(direction)
            dh, changes = np.zeros_like(batch.x), []
            dinputs = [dh]
            for layer, W in enumerate(weights):
                dz = dinputs[-1] @ W.T + inputs[layer] @ moved[layer].T
                changes.append(dz)
                if layer < len(slopes):
                    dinputs.append(slopes[layer] * dz)
            delta = batch.share * (fields[-1] - batch.y)
            ddelta = batch.share * changes[-1]
            into = self.split(column)
            for layer in range(len(weights) - 1, -1, -1):
                into[layer][:] = ddelta.T @ inputs[layer] + delta.T @ dinputs[layer]
                if layer:
                    back, slope = delta @ weights[layer], slopes[layer - 1]
                    dback = ddelta @ weights[layer] + delta @ moved[layer]
                    ddelta = dback * slope + back * bends[layer - 1] * changes[layer - 1]
                    delta = back * slope
        return columns
