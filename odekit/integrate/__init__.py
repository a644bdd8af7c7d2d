"""One trajectory or many, advanced through their phases."""
