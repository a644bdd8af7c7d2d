"""What everything else stands on: errors, checks, statuses, interrupts."""
