"""Gated deep linear networks.

Importing any part of it registers the equations: who has a plan has what the integrators need.
"""

from odekit_kernels.gated import equations as equations
