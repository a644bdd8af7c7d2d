"""Gated deep linear networks."""
