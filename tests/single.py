"""One run as the integrators see it: a sweep of one point, without the axis of points."""

from __future__ import annotations


class Single:
    """A problem's packing; attributes that are not here are those of its points."""

    def __init__(self, problem):
        self.points = problem.system.points(problem, {})

    def __getattr__(self, name):
        return getattr(self.points, name)

    def start(self):
        self.frame, y = self.points.start()
        return self.frame, y[0]

    def enter(self, index, frame, y):
        self.frame, y = self.points.enter(index, frame, y[None])
        return self.frame, y[0]

    def visible(self, y):
        return y[self.points.shown(self.frame)]

    def pack(self, *blocks):
        return self.points.pack(*(block[None] for block in blocks))[0]

    def errors(self, rows):
        return self.points.errors(rows[None])[0]
