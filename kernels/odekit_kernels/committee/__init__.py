"""Committee machines: moments, right-hand sides, Jacobian."""
