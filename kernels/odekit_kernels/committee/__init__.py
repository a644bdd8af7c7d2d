"""Committees: equations, moments and the networks themselves.

Importing any part of it registers the equations: who has a plan has what the integrators need.
"""

from odekit_kernels.committee import equations as equations
