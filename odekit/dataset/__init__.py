"""The labelled result: variables, assembly, provenance."""
