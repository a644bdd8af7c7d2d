"""Systems of equations that a user declares: their functions in lanes, and for one trajectory."""
