"""Steps of SGD on finite networks."""
