"""What the machine runs: arrays in, arrays out."""
