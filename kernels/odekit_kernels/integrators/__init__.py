"""Integrators of many trajectories in lanes."""
