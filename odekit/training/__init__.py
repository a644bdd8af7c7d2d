"""What finite networks of every system share."""
