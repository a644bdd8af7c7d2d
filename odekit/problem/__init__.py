"""What every problem has: phases, schedules, axes of a sweep, plain data."""
