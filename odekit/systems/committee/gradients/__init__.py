"""Derivatives through runs of a committee."""
