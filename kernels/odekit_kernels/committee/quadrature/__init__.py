"""Moments of any activation at nodes."""
