"""Grids of trajectories in chunks."""
