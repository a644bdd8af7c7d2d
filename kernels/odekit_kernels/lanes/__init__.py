"""Many trajectories at once: the same equations in lanes, and the engine that advances them."""
