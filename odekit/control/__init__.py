"""The search for schedules that end best: pieces of time, budgets, and what was found."""
