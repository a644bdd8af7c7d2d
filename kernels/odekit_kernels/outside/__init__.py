"""Systems of equations that a user declares: their functions in lanes, and for one trajectory.

Importing any part of it registers the equations: who has a plan has what the integrators need.
"""

from odekit_kernels.outside import equations as equations
